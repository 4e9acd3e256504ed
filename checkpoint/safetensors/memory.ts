/**
 * Safetensors files in memory: from bytes to tensors and back.
 *
 * @module
 */

import type { SafetensorsDtype } from "./dtype.ts";
import { encodeHeader, parseHeader, parseHeaderLength } from "./header.ts";

/** A tensor with its values. */
export interface TensorData {
  /** Element type. */
  readonly dtype: SafetensorsDtype;
  /** Sizes of the dimensions, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /** The values: little-endian, row-major. */
  readonly data: Uint8Array;
}

/** A tensor to write: its values are asked for only when their turn comes. */
export interface TensorToWrite {
  /** Its name in the file. */
  readonly name: string;
  /** Element type. */
  readonly dtype: SafetensorsDtype;
  /** Sizes of the dimensions, outermost first; `[]` for a scalar. */
  readonly shape: readonly number[];
  /**
   * The values (little-endian, row-major), or a function that gets them, from a GPU for instance: at once, or in
   * pieces of any size, each of which may overwrite the one before.
   */
  readonly data: Uint8Array | (() => Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>);
}

/** A whole safetensors file in memory. */
export interface ParsedSafetensors {
  /** Free text by key; empty when there is none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The tensors by name, in the order of the file; their values are views of the parsed bytes. */
  readonly tensors: ReadonlyMap<string, TensorData>;
}

/**
 * Reads a safetensors file that is in memory.
 *
 * @param bytes The file.
 * @returns Its tensors, as views of `bytes`.
 * @throws {SyntaxError} If it is not a well-formed safetensors file.
 */
export function parseSafetensors(bytes: Uint8Array): ParsedSafetensors {
  const start = 8 + parseHeaderLength(bytes.subarray(0, 8), bytes.length);
  const header = parseHeader(bytes.subarray(8, start), bytes.length - start);
  const tensors = new Map<string, TensorData>();
  for (const [name, { dtype, shape, byteOffset, byteLength }] of header.tensors) {
    const begin = start + byteOffset;
    tensors.set(name, { dtype, shape, data: bytes.subarray(begin, begin + byteLength) });
  }
  return { metadata: header.metadata, tensors };
}

/**
 * Makes a safetensors file in memory. The bytes are those that Hugging Face's own library writes for the same
 * tensors.
 *
 * @param tensors The tensors, in any order.
 * @param metadata Free text by key. Default: no metadata.
 * @returns The file.
 * @throws {TypeError} If a name is repeated or reserved.
 * @throws {RangeError} If a shape is not allowed or the values have another size than it says.
 */
export async function encodeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata?: Readonly<Record<string, string>>,
): Promise<Uint8Array<ArrayBuffer>> {
  const { bytes: header, ordered } = encodeHeader(tensors, metadata);
  let at = header.length;
  const bytes = new Uint8Array(ordered.reduce((sum, row) => sum + row.byteLength, at));
  bytes.set(header);
  for (const { tensor, byteLength } of ordered) {
    for await (const piece of valuesOf(tensor, byteLength)) {
      bytes.set(piece, at);
      at += piece.length;
    }
  }
  return bytes;
}

/** The values piece by piece; no piece is given out that goes past the size of the tensor's shape. */
export async function* valuesOf(
  { name, data }: TensorToWrite,
  byteLength: number,
): AsyncGenerator<Uint8Array> {
  const values = typeof data === "function" ? await data() : data;
  const isIterable = typeof values === "object" && values !== null && Symbol.asyncIterator in values;
  let written = 0;
  for await (const piece of isIterable ? values : [values]) {
    if (!(piece instanceof Uint8Array)) {
      throw new TypeError(`The data of ${JSON.stringify(name)} must be a Uint8Array, got ${typeof piece}`);
    }
    written += piece.length;
    if (written > byteLength) throw wrongSize(name, byteLength, `${written} or more`);
    yield piece;
  }
  if (written !== byteLength) throw wrongSize(name, byteLength, `${written}`);
}

function wrongSize(name: string, byteLength: number, got: string): RangeError {
  return new RangeError(
    `The data of ${JSON.stringify(name)} must have the ${byteLength} bytes of its shape, got ${got}`,
  );
}
