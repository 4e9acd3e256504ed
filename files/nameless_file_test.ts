import { deepEqual, equal } from "node:assert/strict";
import { join } from "node:path";
import { inTempDir } from "../tests/temporary_files.ts";
import { openNamelessFile } from "./nameless_file.ts";

const namesIn = (folder: string) => Array.fromAsync(Deno.readDir(folder), ({ name }) => name);

Deno.test(
  "openNamelessFile() makes a file that no folder shows",
  { ignore: Deno.build.os === "windows" },
  () =>
    inTempDir(async (dir) => {
      const folder = join(dir, "new");
      using first = await openNamelessFile(folder);
      using second = await openNamelessFile(folder);
      deepEqual(await namesIn(folder), []);
      for (const [i, { file }] of [first, second].entries()) await file.write(Uint8Array.of(i));
      for (const [i, { file }] of [first, second].entries()) {
        await file.seek(0, Deno.SeekMode.Start);
        const bytes = new Uint8Array(1);
        equal(await file.read(bytes), 1);
        equal(bytes[0], i);
      }
      first[Symbol.dispose]();
    }),
);

Deno.test("openNamelessFile() removes what a killed process left, and no more", () =>
  inTempDir(async (dir) => {
    for (const name of [".tmp-nameless-01234567", ".tmp-other-01234567", "a"]) {
      await Deno.writeTextFile(join(dir, name), "");
    }
    {
      using _file = await openNamelessFile(dir);
    }
    deepEqual((await namesIn(dir)).sort(), [".tmp-other-01234567", "a"]);
  }));
