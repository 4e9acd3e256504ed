/**
 * A fingerprint of a model's weights, by which a run records what it started from.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { fromFloat32 } from "./safetensors/float_formats.ts";
import type { FloatTensors } from "./safetensors/safetensors.ts";

/**
 * SHA-256 of the names, shapes and values of float tensors. Neither their order, nor the files they are in, nor a
 * format that holds the same values changes it.
 *
 * @param source The tensors.
 * @returns The digest as 64 hexadecimal digits.
 * @throws {TypeError} If a tensor is not of floats.
 * @throws {Error} If a file can no longer be read.
 */
export async function weightsDigest(source: FloatTensors): Promise<string> {
  const hash = createHash("sha256");
  for (const name of [...source.tensors.keys()].sort()) {
    hash.update(JSON.stringify([name, source.tensors.get(name)!.shape]));
    for await (const piece of source.piecesF32(name)) hash.update(fromFloat32("F32", piece));
  }
  return hash.digest("hex");
}
