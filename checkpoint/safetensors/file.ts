/**
 * Reads safetensors files by place: whole tensors, stretches of one, or one piece after the other, so that
 * neither a file nor a large tensor is ever held in memory as a whole.
 *
 * @module
 */

import { explained } from "../../files/atomic_file.ts";
import { type FloatFormat, takeFloat32 } from "./float_formats.ts";
import type { SafetensorsDtype } from "./dtype.ts";
import { parseHeader, parseHeaderLength, type SafetensorsHeader, type TensorInfo } from "./header.ts";

/** Values of a piece unless told otherwise: 4 MiB as single precision. */
export const PIECE_VALUES = 1 << 20;

/** Where float tensors are read: a {@linkcode SafetensorsFile} or a `ModelFolder`. */
export interface FloatTensors {
  /** What there is, by name. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** A tensor's values in order, in pieces of which each may overwrite the one before. */
  piecesF32(name: string): AsyncIterable<Float32Array>;
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
    const prefix = new Uint8Array(Math.min(8, size));
    await readExactly(file, path, 0, prefix);
    const length = parseHeaderLength(prefix, size);
    const json = new Uint8Array(length);
    await readExactly(file, path, 8, json);
    const header = parseHeader(json, size - 8 - length);
    return new SafetensorsFile(path, file, header, 8 + length);
  } catch (error) {
    file.close();
    if (error instanceof SyntaxError) throw new SyntaxError(`${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** An open safetensors file. {@linkcode readSafetensors} makes it. */
export class SafetensorsFile implements Disposable, FloatTensors {
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
  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { byteOffset, byteLength } = this.#info(name);
    const bytes = new Uint8Array(byteLength);
    await this.#readInto(bytes, byteOffset);
    return bytes;
  }

  /**
   * Reads a stretch of a tensor's values.
   *
   * @param name Its name.
   * @param begin First byte, counted from the tensor's own.
   * @param end The byte after the last.
   * @returns The bytes, in memory of their own.
   * @throws {RangeError} If there is no tensor of this name, or it does not have these bytes.
   * @throws {Error} If the file is closed or can no longer be read.
   */
  async readRange(name: string, begin: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    const { byteOffset, byteLength } = this.#info(name);
    if (
      !(Number.isInteger(begin) && Number.isInteger(end) && 0 <= begin && begin <= end && end <= byteLength)
    ) {
      throw new RangeError(
        `A stretch of ${
          JSON.stringify(name)
        } must lie within its ${byteLength} bytes, got ${begin} to ${end}`,
      );
    }
    const bytes = new Uint8Array(end - begin);
    await this.#readInto(bytes, byteOffset + begin);
    return bytes;
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

  /**
   * Reads a tensor of floats as single precision, one piece after the other in memory of two pieces.
   *
   * @param name Its name.
   * @param maxValues The most values of a piece. Default: {@linkcode PIECE_VALUES}.
   * @returns The pieces in order; together they are what {@linkcode SafetensorsFile.readF32} gives. Each one is
   * overwritten by the next.
   * @throws {RangeError} If there is no tensor of this name, or `maxValues` is no whole number from 1.
   * @throws {TypeError} If its elements are of another type than `F32`, `F16` or `BF16`.
   * @throws {Error} If the file is closed or can no longer be read.
   */
  async *piecesF32(name: string, maxValues = PIECE_VALUES): AsyncGenerator<Float32Array<ArrayBuffer>> {
    const { dtype, byteOffset, byteLength } = this.#info(name);
    const format = floatFormat(dtype, name, this.path);
    if (!Number.isSafeInteger(maxValues) || maxValues < 1) {
      throw new RangeError(`The values of a piece must be a whole number from 1, got ${maxValues}`);
    }
    const size = format === "F32" ? 4 : 2;
    const bytes = new Uint8Array(Math.min(maxValues * size, byteLength));
    const floats = format === "F32" ? undefined : new Float32Array(bytes.length / size);
    for (let at = 0; at < byteLength; at += bytes.length) {
      const piece = bytes.subarray(0, Math.min(bytes.length, byteLength - at));
      await this.#readInto(piece, byteOffset + at);
      yield takeFloat32(format, piece, floats);
    }
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

  /** Reads share the file's position, so they take turns. */
  #readInto(bytes: Uint8Array, offset: number): Promise<void> {
    const result = this.#queue.then(() => {
      if (this.#closed) throw new Deno.errors.BadResource(`Cannot read ${this.path}: the file is closed`);
      return readExactly(this.#file, this.path, this.#dataStart + offset, bytes);
    });
    this.#queue = result.catch(() => {});
    return result;
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

async function readExactly(
  file: Deno.FsFile,
  path: string,
  offset: number,
  bytes: Uint8Array,
): Promise<void> {
  await explained(`Cannot read ${path}`, () => file.seek(offset, Deno.SeekMode.Start));
  let at = 0;
  while (at < bytes.length) {
    const count = await explained(`Cannot read ${path}`, () => file.read(bytes.subarray(at)));
    if (count === null) {
      throw new Deno.errors.UnexpectedEof(
        `Cannot read ${path}: it must not shrink while it is open, got its end at byte ${offset + at}`,
      );
    }
    at += count;
  }
}
