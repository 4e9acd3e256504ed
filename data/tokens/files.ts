/**
 * Token ids in files, read by place: never more of them in memory than are asked for.
 *
 * Such a file holds ids and nothing else, as nanoGPT's `train.bin` does: 16-bit unsigned little-endian, or
 * 32-bit for a vocabulary of more than 65,536 ids. Several files, one after the other, are one text.
 *
 * @module
 */

import { explained } from "../../files/atomic_file.ts";
import type { BytesPerToken, TokenReader } from "./token_ids.ts";

/** A file of ids that is open for reading. */
export interface OpenTokenFile {
  /** The file. */
  readonly file: Deno.FsFile;
  /** Its path, for messages. */
  readonly path: string;
}

/** One file of ids. */
interface Part extends OpenTokenFile {
  /** The place of its first id among all. */
  readonly start: number;
  /** And the place after its last. */
  readonly end: number;
}

/** Files of token ids that are open. Close it, or declare it with `using`. */
export class TokenFiles implements TokenReader, Disposable {
  readonly length: number;
  readonly #parts: readonly Part[];
  readonly #width: BytesPerToken;
  #scratch = new Uint8Array(4096);
  #closed = false;

  private constructor(parts: readonly Part[], width: BytesPerToken) {
    this.#parts = parts;
    this.#width = width;
    this.length = parts.at(-1)?.end ?? 0;
  }

  /**
   * Opens files.
   *
   * @param paths The files, in the order of their ids.
   * @param width The bytes of an id.
   * @throws {RangeError} When a file is cut short: its size must be a multiple of the width.
   * @throws {Error} If one cannot be opened, with what to do about it.
   */
  static async open(paths: readonly string[], width: BytesPerToken): Promise<TokenFiles> {
    const files: OpenTokenFile[] = [];
    try {
      for (const path of paths) {
        files.push({ path, file: await explained(`Cannot read ${path}`, () => Deno.open(path)) });
      }
      return await TokenFiles.of(files, width);
    } catch (error) {
      for (const { file } of files) file.close();
      throw error;
    }
  }

  /**
   * Takes files that are open.
   *
   * @param files The files, in the order of their ids; {@linkcode TokenFiles.close} closes them.
   * @param width The bytes of an id.
   * @throws {RangeError} When a file is cut short: its size must be a multiple of the width.
   */
  static async of(files: readonly OpenTokenFile[], width: BytesPerToken): Promise<TokenFiles> {
    const parts: Part[] = [];
    for (const { file, path } of files) {
      const { size } = await file.stat();
      if (size % width !== 0) {
        throw new RangeError(
          `A file of token ids must hold ${width} bytes for each, all of them: "${path}" has ${size} bytes; it is cut short or of another kind`,
        );
      }
      const start = parts.at(-1)?.end ?? 0;
      parts.push({ file, path, start, end: start + size / width });
    }
    return new TokenFiles(parts, width);
  }

  read(start: number, target: Uint32Array): void {
    let done = 0;
    for (let i = this.#partAt(start); done < target.length; i++) {
      const part = this.#parts[i];
      const at = start + done;
      const count = Math.min(target.length - done, part.end - at);
      const bytes = this.#readBytes(part, (at - part.start) * this.#width, count * this.#width);
      const ids = this.#width === 2
        ? new Uint16Array(bytes.buffer, 0, count)
        : new Uint32Array(bytes.buffer, 0, count);
      // Every platform that Deno runs on is little-endian, as the files are.
      target.set(ids, done);
      done += count;
    }
  }

  /** The file that has the id at a place. */
  #partAt(place: number): number {
    let low = 0, high = this.#parts.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (place < this.#parts[middle].end) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #readBytes({ file, path }: Part, offset: number, length: number): Uint8Array<ArrayBuffer> {
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(length);
    const bytes = this.#scratch.subarray(0, length);
    file.seekSync(offset, Deno.SeekMode.Start);
    for (let filled = 0; filled < length;) {
      const count = file.readSync(bytes.subarray(filled));
      if (count === null) {
        throw new RangeError(
          `A file of token ids must not become shorter while it is used: "${path}" did; start again`,
        );
      }
      filled += count;
    }
    return bytes;
  }

  /** Closes the files. Closing twice does nothing. */
  close(): void {
    if (!this.#closed) { for (const { file } of this.#parts) file.close(); }
    this.#closed = true;
  }

  /** Closes the files at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
