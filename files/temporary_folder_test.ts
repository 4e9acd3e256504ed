import { deepEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { inTempDir } from "../tests/temporary_files.ts";
import { LOCK_FILE } from "./lock_file.ts";
import { holdTemporaryFolder } from "./temporary_folder.ts";

Deno.test("holdTemporaryFolder() removes what killed processes left, and nothing that is held or is no such folder", () =>
  inTempDir(async (dir) => {
    const names = async () => (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
    await Deno.mkdir(join(dir, ".tmp-other-dead", "deep"), { recursive: true });
    await Deno.writeTextFile(join(dir, ".tmp-other-dead", LOCK_FILE), "process 1\n");
    await Deno.mkdir(join(dir, ".tmp-without-a-lock"));
    await Deno.writeTextFile(join(dir, ".tmp-file"), "");
    const rest = [".tmp-file", ".tmp-without-a-lock"];
    {
      await using first = await holdTemporaryFolder(join(dir, "a"));
      ok(first.path.startsWith(join(dir, ".tmp-a-")));
      await Deno.writeTextFile(join(first.path, "x"), "1");
      {
        await using second = await holdTemporaryFolder(join(dir, "a"));
        deepEqual(
          await names(),
          [...rest, ...[first, second].map(({ path }) => path.slice(dir.length + 1))].sort(),
        );
      }
    }
    deepEqual(await names(), rest);
  }));
