import assert from "node:assert/strict";
import { join } from "node:path";
import { type FloatFormat, fromFloat32 } from "./float_formats.ts";
import { encodeHeader } from "./header.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";
import { inTempDir } from "../../tests/temporary_files.ts";

const FORMATS: readonly FloatFormat[] = ["F32", "F16", "BF16"];

Deno.test("piecesF32() gives what readF32() gives, in pieces of any size", () =>
  inTempDir(async (dir) => {
    const values = Float32Array.from({ length: 37 }, (_, i) => (i - 18) / 4);
    for (const dtype of FORMATS) {
      const path = join(dir, `${dtype}.safetensors`);
      const data = fromFloat32(dtype, values);
      await writeSafetensors(path, [
        { name: "a", dtype, shape: [37], data },
        { name: "none", dtype, shape: [0, 4], data: new Uint8Array() },
      ]);
      using file = await readSafetensors(path);
      for (const size of [1, 5, 36, 37, 38, undefined]) {
        const pieces = await Array.fromAsync(file.piecesF32("a", size), (piece) => piece.slice());
        assert.deepEqual(Float32Array.from(pieces.flatMap((piece) => [...piece])), values);
        assert.equal(pieces.length, Math.ceil(37 / (size ?? 37)));
      }
      assert.deepEqual(await Array.fromAsync(file.piecesF32("none")), []);
      assert.deepEqual(await file.readRange("a", 3, 9), data.slice(3, 9));
      assert.deepEqual(await file.readRange("a", 4, 4), new Uint8Array());
    }
  }));

Deno.test("pieces of several tensors may be read in turns", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "a.safetensors");
    const row = (name: string, first: number) => ({
      name,
      dtype: "F32" as const,
      shape: [4],
      data: fromFloat32("F32", Float32Array.from({ length: 4 }, (_, i) => first + i)),
    });
    await writeSafetensors(path, [row("a", 0), row("b", 10)]);
    using file = await readSafetensors(path);
    const all = await Promise.all(
      ["a", "b", "a"].map((name) => Array.fromAsync(file.piecesF32(name, 1), (piece) => piece[0])),
    );
    assert.deepEqual(all, [[0, 1, 2, 3], [10, 11, 12, 13], [0, 1, 2, 3]]);
  }));

Deno.test("stretches and pieces that are not there are refused", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "a.safetensors");
    await writeSafetensors(path, [
      { name: "a", dtype: "F32", shape: [1], data: new Uint8Array(4) },
      { name: "i", dtype: "I8", shape: [1], data: new Uint8Array(1) },
    ]);
    using file = await readSafetensors(path);
    for (const [begin, end] of [[0, 5], [-1, 2], [3, 2], [0.5, 1], [NaN, 1]]) {
      await assert.rejects(
        file.readRange("a", begin, end),
        /RangeError: .*"a" must lie within its 4 bytes, got/,
      );
    }
    await assert.rejects(file.readRange("b", 0, 0), /RangeError: .*"b"/);
    const pieces = (name: string, size?: number) => Array.fromAsync(file.piecesF32(name, size));
    await assert.rejects(pieces("i"), /TypeError: .*must be F32, F16 or BF16, got I8/);
    await assert.rejects(pieces("a", 0), /RangeError: .*whole number from 1, got 0/);
    file.close();
    await assert.rejects(pieces("a"), /BadResource: .*closed/);
  }));

Deno.test("a file of 384 MB is read in under 100 MB", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "large.safetensors");
    const length = 48 << 20;
    const { bytes: header } = encodeHeader([
      { name: "a", dtype: "F32", shape: [length] },
      { name: "b", dtype: "BF16", shape: [length * 2] },
    ]);
    await Deno.writeFile(path, header);
    await Deno.truncate(path, header.length + 8 * length); // sparse: it takes no room on most file systems
    {
      using file = await Deno.open(path, { write: true });
      await file.seek(-2, Deno.SeekMode.End);
      await file.write(fromFloat32("BF16", Float32Array.of(7)));
    }
    using file = await readSafetensors(path);
    const before = Deno.memoryUsage().rss;
    let most = before;
    const last: number[] = [];
    for (const name of ["a", "b"]) {
      let value = NaN;
      for await (const piece of file.piecesF32(name)) {
        value = piece[piece.length - 1];
        most = Math.max(most, Deno.memoryUsage().rss);
      }
      last.push(value);
    }
    assert.deepEqual(last, [0, 7]);
    assert.ok(
      most - before < 100e6,
      `reading must keep little in memory, got ${(most - before) / 1e6} MB more`,
    );
  }));

Deno.test("writeSafetensors() takes values in pieces of which each overwrites the one before", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "a.safetensors");
    const pieces = (count: number) =>
      async function* () {
        const bytes = new Uint8Array(3);
        for (let i = 0; i < count; i++) yield await Promise.resolve(bytes.fill(i));
      };
    await writeSafetensors(path, [{ name: "a", dtype: "U8", shape: [6], data: pieces(2) }]);
    using file = await readSafetensors(path);
    assert.deepEqual(await file.read("a"), Uint8Array.of(0, 0, 0, 1, 1, 1));
    for (const [count, got] of [[1, "3"], [3, "9 or more"]] as const) {
      const tensor = { name: "a", dtype: "U8" as const, shape: [6], data: pieces(count) };
      await assert.rejects(
        writeSafetensors(path, [tensor]),
        new RegExp(`RangeError: .*must have the 6 bytes of its shape, got ${got}`),
      );
    }
    assert.equal((await Deno.readFile(path)).length % 8, 6);
  }));
