import assert from "node:assert/strict";
import { join } from "node:path";
import { convertTensors } from "./convert_tensors.ts";
import { fromFloat32 } from "./float_formats.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";

/** Writes values as F32, converts them, and reads the result. */
async function converted(values: readonly number[], dtype: "F32" | "F16" | "BF16"): Promise<Float32Array> {
  const dir = await Deno.makeTempDir();
  try {
    const [from, to] = [join(dir, "from.safetensors"), join(dir, "to.safetensors")];
    const data = fromFloat32("F32", Float32Array.from(values));
    await writeSafetensors(from, [{ name: "w", dtype: "F32", shape: [values.length], data }]);
    using file = await readSafetensors(from);
    await writeSafetensors(to, convertTensors(file, ["w"], dtype));
    using result = await readSafetensors(to);
    assert.equal(result.tensors.get("w")?.dtype, dtype);
    return await result.readF32("w");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("convertTensors() rounds to nearest, ties to even, and keeps what is not finite", async () => {
  const special = [Infinity, -Infinity, NaN, -0];
  assert.deepEqual(
    await converted([2049, 2051, 1e-9, ...special], "F16"),
    Float32Array.of(2048, 2052, 0, ...special),
  );
  assert.deepEqual(await converted([257, 259, ...special], "BF16"), Float32Array.of(256, 260, ...special));
  const exact = [1 / 3, 3.4e38, 1e-45, ...special];
  assert.deepEqual(await converted(exact, "F32"), Float32Array.from(exact));
});

Deno.test("convertTensors() refuses by name what a format cannot hold", async () => {
  assert.deepEqual(await converted([65519.9, -65519.9], "F16"), Float32Array.of(65504, -65504));
  for (const value of [65520, -1e30]) {
    await assert.rejects(
      converted([0, value], "F16"),
      new RegExp(
        `RangeError: The values of "w" must be below 65520 to be written as F16, got -?\\d.*; choose bf16`,
      ),
    );
  }
  const largest = 255 * 2 ** 120;
  assert.deepEqual(await converted([255.25 * 2 ** 120], "BF16"), Float32Array.of(largest));
  await assert.rejects(converted([255.5 * 2 ** 120], "BF16"), /RangeError: .*"w".*BF16.*choose f32/);
  assert.throws(
    () => convertTensors({ tensors: new Map(), piecesF32: () => (async function* () {})() }, ["x"], "F16"),
    /RangeError: .*"x"/,
  );
});
