/**
 * Reads and writes safetensors files, the format of Hugging Face checkpoints. Reading goes by place (see
 * `file.ts`), and writing streams, so that no file is ever held in memory as a whole.
 *
 * @module
 */

import { writeAll, writeFileAtomically } from "../../files/atomic_file.ts";
import { encodeHeader } from "./header.ts";
import { type TensorToWrite, valuesOf } from "./memory.ts";

export { SAFETENSORS_DTYPES, type SafetensorsDtype, tensorBytes } from "./dtype.ts";
export { type FloatTensors, PIECE_VALUES, readSafetensors, SafetensorsFile } from "./file.ts";
export { MAX_HEADER_BYTES, type SafetensorsHeader, type TensorInfo } from "./header.ts";
export {
  encodeSafetensors,
  type ParsedSafetensors,
  parseSafetensors,
  type TensorData,
  type TensorToWrite,
} from "./memory.ts";

/**
 * Writes a safetensors file, one tensor after the other. The file appears under its name when it is complete;
 * after an error (a full disk, values that cannot be read) what was there before is still there.
 *
 * @param path The file; its folder must exist. An existing file is replaced.
 * @param tensors The tensors, in any order; all of them (an async iterable to its end) are collected before the
 * first is asked for its values, since the header comes first.
 * @param metadata Free text by key. Default: no metadata. Python's transformers expects `{ format: "pt" }`.
 * @throws {TypeError} If a name is repeated or reserved.
 * @throws {RangeError} If a shape is not allowed or the values have another size than it says.
 * @throws {Error} If the file cannot be written, with what to do about it (a `Deno.errors` class where there is
 * one).
 *
 * @example Write and read a file
 * ```ts
 * import { readSafetensors, writeSafetensors } from "./safetensors.ts";
 * import { fromFloat32 } from "./float_formats.ts";
 * import assert from "node:assert/strict";
 *
 * const path = await Deno.makeTempFile();
 * const values = Float32Array.of(1, 2, 3, 4);
 * const data = () => fromFloat32("F32", values);
 * await writeSafetensors(path, [{ name: "a", dtype: "F32", shape: [2, 2], data }]);
 *
 * using file = await readSafetensors(path);
 * assert.deepEqual(await file.readF32("a"), values);
 * ```
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorToWrite> | AsyncIterable<TensorToWrite>,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const { bytes, ordered } = encodeHeader(await Array.fromAsync(tensors), metadata);
  await writeFileAtomically(path, async (file) => {
    await writeAll(file, bytes, path);
    for (const { tensor, byteLength } of ordered) {
      for await (const piece of valuesOf(tensor, byteLength)) await writeAll(file, piece, path);
    }
  });
}
