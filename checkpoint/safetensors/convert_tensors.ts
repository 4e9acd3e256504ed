/**
 * Tensors of a checkpoint in another float format, converted piece by piece while they are written.
 *
 * @module
 */

import { type FloatFormat, fromFloat32 } from "./float_formats.ts";
import type { FloatTensors, TensorToWrite } from "./safetensors.ts";

/** Magnitudes from here on round to infinity. */
const OVERFLOW: Readonly<Record<FloatFormat, number>> = { F32: Infinity, F16: 65520, BF16: 255.5 * 2 ** 120 };

/**
 * Tensors to write in one float format, rounded to nearest, ties to even.
 *
 * @param source Where they are; it must stay open until they are written.
 * @param names Which of them, in this order.
 * @param dtype The format.
 * @returns The tensors. Writing one throws a {@linkcode RangeError} with its name if a finite value of it would
 * become infinite; infinities and NaNs stay what they are.
 * @throws {RangeError} If the source has no tensor of a name.
 */
export function convertTensors(
  source: FloatTensors,
  names: Iterable<string>,
  dtype: FloatFormat,
): TensorToWrite[] {
  return Array.from(names, (name) => {
    const info = source.tensors.get(name);
    if (info === undefined) {
      throw new RangeError(`A tensor to convert must exist, got ${JSON.stringify(name)}`);
    }
    return { name, dtype, shape: info.shape, data: () => convertedPieces(source, name, dtype) };
  });
}

async function* convertedPieces(
  source: FloatTensors,
  name: string,
  dtype: FloatFormat,
): AsyncGenerator<Uint8Array> {
  const overflow = OVERFLOW[dtype];
  for await (const piece of source.piecesF32(name)) {
    for (const value of dtype === "F32" ? [] : piece) {
      if (Math.abs(value) >= overflow && Number.isFinite(value)) {
        throw new RangeError(
          `The values of ${JSON.stringify(name)} must be below ${overflow} to be written as ${dtype}, ` +
            `got ${value}; choose ${dtype === "F16" ? "bf16 or f32" : "f32"}`,
        );
      }
    }
    yield fromFloat32(dtype, piece);
  }
}
