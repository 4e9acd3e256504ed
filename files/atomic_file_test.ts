import assert from "node:assert/strict";
import { basename, join } from "node:path";
import {
  explained,
  writeAll,
  writeFileAtomically,
  writeFolderAtomically,
  writeTextAtomically,
} from "./atomic_file.ts";
import { jsonText } from "./json_file.ts";
import { inTempDir } from "../tests/temporary_files.ts";

Deno.test("writeFileAtomically() shows nothing under the name before the end", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "a");
    await writeTextAtomically(path, "old");
    await writeFileAtomically(path, async (file) => {
      await writeAll(file, new TextEncoder().encode("new"), path);
      assert.equal(await Deno.readTextFile(path), "old");
    });
    assert.equal(await Deno.readTextFile(path), "new");
    await assert.rejects(
      writeFileAtomically(path, async (file) => {
        await writeAll(file, new TextEncoder().encode("half"), path);
        throw new Error("stop");
      }),
      /stop/,
    );
    assert.equal(await Deno.readTextFile(path), "new");
    assert.equal((await Array.fromAsync(Deno.readDir(dir))).length, 1);
  }));

Deno.test("writeFolderAtomically() shows nothing under the name before the end, and leaves nothing on failure", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "new", "a");
    const names = async () => (await Array.fromAsync(Deno.readDir(join(dir, "new")))).map(({ name }) => name);
    await writeFolderAtomically(path, async (temporary) => {
      await writeTextAtomically(join(temporary, "x"), "1");
      await assert.rejects(Deno.lstat(path), Deno.errors.NotFound);
    });
    assert.equal(await Deno.readTextFile(join(path, "x")), "1");
    const unreached = () => Promise.reject(new Error("unreached"));
    await assert.rejects(
      writeFolderAtomically(path, unreached),
      /AlreadyExists: .*new or an empty.*one with x; choose/,
    );
    await assert.rejects(writeFolderAtomically(join(path, "x"), unreached), /AlreadyExists: .*got a file/);
    await Deno.remove(path, { recursive: true });
    const half = async (temporary: string) => {
      await writeTextAtomically(join(temporary, "x"), "1");
      throw new Error("stop");
    };
    await assert.rejects(writeFolderAtomically(path, half), /stop/);
    assert.deepEqual(await names(), []);
    await Deno.mkdir(path);
    await writeFolderAtomically(path, (temporary) => writeTextAtomically(join(temporary, "y"), "2"));
    assert.deepEqual(await names(), ["a"]);
    assert.equal(await Deno.readTextFile(join(path, "y")), "2");
  }));

Deno.test("writeFolderAtomically() removes what a killed process left of the folder, and no more", () =>
  inTempDir(async (dir) => {
    const names = async () => (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
    const foreign = [".tmp-b-01234567", ".tmp-model-b-01234567", ".tmp-model-notes"];
    for (const name of [...foreign, ".tmp-model-89abcdef"]) {
      await Deno.mkdir(join(dir, name, "deep"), { recursive: true });
    }
    const path = join(dir, "model");
    await writeFolderAtomically(path, async (temporary) => {
      // A second export of the same name leaves alone what the first still writes.
      await writeFolderAtomically(path, () => Promise.resolve());
      assert.ok((await names()).includes(basename(temporary)));
    });
    assert.deepEqual(await names(), [...foreign, "model"].sort());
  }));

Deno.test("a file error says what was attempted and what to do, and keeps its class and cause", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "none", "a");
    await assert.rejects(writeTextAtomically(path, ""), (error: Error) => {
      assert.ok(error instanceof Deno.errors.NotFound);
      assert.ok(error.cause instanceof Deno.errors.NotFound);
      assert.ok(error.message.startsWith(`Cannot write ${path}: `), error.message);
      assert.match(error.message, /; check that the path exists$/);
      assert.doesNotMatch(error.message, /\.tmp-/);
      return true;
    });
    const full = () => Promise.reject(new Error("No space left on device (os error 28)"));
    await assert.rejects(
      explained("Cannot write a", full),
      /^Error: Cannot write a: No space.*; free some space/,
    );
  }));

Deno.test("jsonText() rejects what JSON would silently change", () => {
  assert.equal(jsonText({ a: [1, null], b: undefined, c: 0.1 }, 0), '{"a":[1,null],"c":0.1}');
  for (const value of [NaN, -Infinity, 1n, () => 0, Symbol("s")]) {
    assert.throws(() => jsonText({ a: [{ b: value }] }), /TypeError: .*"b" must be a value of JSON/);
  }
});
