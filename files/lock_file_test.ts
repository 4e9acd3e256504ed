import { deepEqual, rejects } from "node:assert/strict";
import { join } from "node:path";
import { holdFolder, LOCK_FILE } from "./lock_file.ts";

Deno.test("holdFolder() lets one in at a time, says who is in, and leaves nothing behind", async () => {
  const dir = await Deno.makeTempDir();
  try {
    {
      using _lock = await holdFolder(dir, "the folder");
      await rejects(holdFolder(dir, "the folder"), {
        name: "Busy",
        message: new RegExp(`and process ${Deno.pid} since 2\\d{3}-.* does; wait for it`),
      });
    }
    deepEqual(await Array.fromAsync(Deno.readDir(dir)), []);
    using _again = await holdFolder(dir, "the folder");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("holdFolder() takes over what a killed process left", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(dir, LOCK_FILE), "process 1 since 2001-01-01T00:00:00.000Z\n".repeat(3));
    using _lock = await holdFolder(dir, "the folder");
    await rejects(holdFolder(dir, "the folder"), new RegExp(`and process ${Deno.pid} since [^ ]* does`));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
