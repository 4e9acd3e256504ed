import assert from "node:assert/strict";
import { join } from "node:path";
import { type FloatFormat, fromFloat32 } from "./safetensors/float_formats.ts";
import { readSafetensors, writeSafetensors } from "./safetensors/safetensors.ts";
import { weightsDigest } from "./weights_digest.ts";

Deno.test("weightsDigest() depends on names, shapes and values, and on nothing else", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const path = join(dir, "a.safetensors");
    const digest = async (
      dtype: FloatFormat,
      ...rows: [name: string, shape: number[], values: number[]][]
    ) => {
      const tensors = rows.map(([name, shape, values]) => {
        return { name, dtype, shape, data: fromFloat32(dtype, Float32Array.from(values)) };
      });
      await writeSafetensors(path, tensors);
      using file = await readSafetensors(path);
      return await weightsDigest(file);
    };
    const first = await digest("F32", ["a", [2], [1, 2]], ["b", [1], [3]]);
    assert.match(first, /^[0-9a-f]{64}$/);
    assert.equal(await digest("F16", ["b", [1], [3]], ["a", [2], [1, 2]]), first);
    const others = [
      await digest("F32", ["a", [2], [1, 2]], ["b", [1], [4]]),
      await digest("F32", ["a", [2, 1], [1, 2]], ["b", [1], [3]]),
      await digest("F32", ["a", [2], [1, 2]], ["c", [1], [3]]),
      await digest("F32", ["a", [1], [1]], ["b", [2], [2, 3]]),
    ];
    assert.equal(new Set([first, ...others]).size, 5);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
