/**
 * Reads and writes safetensors files, the format of Hugging Face checkpoints. Reading takes one tensor at a
 * time by its place in the file, and writing streams, so that no file is ever held in memory as a whole.
 *
 * @module
 */

import { explained, writeAll, writeFileAtomically } from "./atomic_file.ts";
import { type FloatFormat, takeFloat32 } from "./float_formats.ts";
import type { SafetensorsDtype } from "./safetensors_dtype.ts";
import {
  encodeHeader,
  parseHeader,
  parseHeaderLength,
  type SafetensorsHeader,
} from "./safetensors_header.ts";
import type { TensorInfo } from "./safetensors_header.ts";

export { SAFETENSORS_DTYPES, type SafetensorsDtype, tensorBytes } from "./safetensors_dtype.ts";
export { MAX_HEADER_BYTES, type SafetensorsHeader, type TensorInfo } from "./safetensors_header.ts";

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
  /** The values (little-endian, row-major), or a function that gets them, from a GPU for instance. */
  readonly data: Uint8Array | (() => Uint8Array | Promise<Uint8Array>);
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
    bytes.set(await valuesOf(tensor, byteLength), at);
    at += byteLength;
  }
  return bytes;
}

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
      await writeAll(file, await valuesOf(tensor, byteLength), path);
    }
  });
}

/**
 * Opens a safetensors file: reads and checks its header, and leaves the values where they are.
 *
 * @param path The file.
 * @returns The open file; close it, or declare it with `using`.
 * @throws {SyntaxError} If it is not a well-formed safetensors file, or cut short.
 * @throws {Deno.errors.NotFound} If there is no such file.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await explained(`Cannot read ${path}`, () => Deno.open(path, { read: true }));
  try {
    const { size, isDirectory } = await explained(`Cannot read ${path}`, () => file.stat());
    if (isDirectory) {
      throw new Deno.errors.IsADirectory(`Cannot read ${path}: it must be a file, got a folder`);
    }
    const prefix = await readExactly(file, path, 0, Math.min(8, size));
    const length = parseHeaderLength(prefix, size);
    const header = parseHeader(await readExactly(file, path, 8, length), size - 8 - length);
    return new SafetensorsFile(path, file, header, 8 + length);
  } catch (error) {
    file.close();
    if (error instanceof SyntaxError) throw new SyntaxError(`${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** An open safetensors file. {@linkcode readSafetensors} makes it. */
export class SafetensorsFile implements Disposable {
  /** Where it is. */
  readonly path: string;
  /** Free text by key; empty when there is none. */
  readonly metadata: ReadonlyMap<string, string>;
  /** What there is, by name, in the order of the values in the file. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #file: Deno.FsFile;
  readonly #dataStart: number;
  #queue: Promise<unknown> = Promise.resolve();
  #closed = false;

  /**
   * Takes over an open file; {@linkcode readSafetensors} does it for you.
   *
   * @param path Where the file is.
   * @param file The file, open for reading; it belongs to this object from now on.
   * @param header Its parsed header.
   * @param dataStart Where in the file the values start.
   */
  constructor(path: string, file: Deno.FsFile, header: SafetensorsHeader, dataStart: number) {
    this.path = path;
    this.metadata = header.metadata;
    this.tensors = header.tensors;
    this.#file = file;
    this.#dataStart = dataStart;
  }

  /**
   * Reads the values of a tensor.
   *
   * @param name Its name.
   * @returns Little-endian, row-major values, in memory of their own.
   * @throws {RangeError} If there is no tensor of this name.
   * @throws {Error} If the file is closed or can no longer be read.
   */
  read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    // Reads share the file's position, so they take turns.
    const result = this.#queue.then(() => {
      const { byteOffset, byteLength } = this.#info(name);
      if (this.#closed) throw new Deno.errors.BadResource(`Cannot read ${this.path}: the file is closed`);
      return readExactly(this.#file, this.path, this.#dataStart + byteOffset, byteLength);
    });
    this.#queue = result.catch(() => {});
    return result;
  }

  /**
   * Reads a tensor of floats as single precision.
   *
   * @param name Its name.
   * @returns The values; `F16` and `BF16` are widened exactly.
   * @throws {RangeError} If there is no tensor of this name.
   * @throws {TypeError} If its elements are of another type than `F32`, `F16` or `BF16`.
   * @throws {Error} If the file is closed or can no longer be read.
   */
  async readF32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const format = floatFormat(this.#info(name).dtype, name, this.path);
    return takeFloat32(format, await this.read(name));
  }

  /** Closes the file; reads that have not started fail. Closing twice does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#file.close();
  }

  /** Closes the file at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (info !== undefined) return info;
    const names = [...this.tensors.keys()];
    const known = names.slice(0, 5).map((known) => JSON.stringify(known)).join(", ");
    throw new RangeError(
      `Cannot read ${
        JSON.stringify(name)
      } from ${this.path}: it must be one of the file's ${names.length} tensors` +
        ` (${known}${names.length > 5 ? ", …" : ""})`,
    );
  }
}

function floatFormat(dtype: SafetensorsDtype, name: string, path: string): FloatFormat {
  if (dtype === "F32" || dtype === "F16" || dtype === "BF16") return dtype;
  throw new TypeError(
    `Cannot read ${
      JSON.stringify(name)
    } from ${path} as floats: its dtype must be F32, F16 or BF16, got ${dtype}`,
  );
}

async function valuesOf({ name, data }: TensorToWrite, byteLength: number): Promise<Uint8Array> {
  const values = typeof data === "function" ? await data() : data;
  if (!(values instanceof Uint8Array)) {
    throw new TypeError(`The data of ${JSON.stringify(name)} must be a Uint8Array, got ${typeof values}`);
  }
  if (values.length !== byteLength) {
    throw new RangeError(
      `The data of ${
        JSON.stringify(name)
      } must have the ${byteLength} bytes of its shape, got ${values.length}`,
    );
  }
  return values;
}

async function readExactly(
  file: Deno.FsFile,
  path: string,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  await explained(`Cannot read ${path}`, () => file.seek(offset, Deno.SeekMode.Start));
  let at = 0;
  while (at < length) {
    const count = await explained(`Cannot read ${path}`, () => file.read(bytes.subarray(at)));
    if (count === null) {
      throw new Deno.errors.UnexpectedEof(
        `Cannot read ${path}: it must not shrink while it is open, got its end at byte ${offset + at}`,
      );
    }
    at += count;
  }
  return bytes;
}
