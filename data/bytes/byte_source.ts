/**
 * Places that bytes come from: files, standard input, and whatever else has their shape.
 *
 * @module
 */

/** A piece of a content. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** Something with bytes: a file, an address, standard input. */
export interface ByteSource {
  /** What to call it in messages. */
  readonly name: string;
  /** The name whose extensions tell the format: a path without query or credentials. */
  readonly path: string;
  /** Whether its first bytes, and not its name, tell the compression. */
  readonly sniff: boolean;
  /** Reads the whole content in order, in pieces. */
  stream(): AsyncIterable<Bytes>;
  /** Opens the content for reading any range of it. */
  openRanges(): Promise<ByteRanges>;
}

/** A content of known length of which any range can be read. */
export interface ByteRanges extends Disposable {
  /** The length in bytes. */
  readonly byteLength: number;
  /**
   * Reads a range.
   *
   * @param start The first byte.
   * @param end The byte after the last; by default the content's length.
   */
  slice(start: number, end?: number): Promise<ArrayBuffer>;
}

/** How many bytes a piece of a file has. */
const PIECE_BYTES = 1 << 18;

/** How much is kept in memory at most of what must be read at random and cannot be. */
const BUFFER_BYTES = 256 << 20;

/** A file on disk. */
export class FileSource implements ByteSource {
  readonly name: string;
  readonly path: string;
  readonly sniff = false;

  /** @param path The file. */
  constructor(path: string) {
    this.name = this.path = path;
  }

  async *stream(): AsyncGenerator<Bytes> {
    using file = await Deno.open(this.path);
    for (;;) {
      const bytes = new Uint8Array(PIECE_BYTES);
      const read = await file.read(bytes);
      if (read === null) return;
      yield bytes.subarray(0, read);
    }
  }

  async openRanges(): Promise<ByteRanges> {
    const file = await Deno.open(this.path);
    const { size } = await file.stat();
    const slice = async (start: number, end = size) => {
      const bytes = new Uint8Array(end - start);
      await file.seek(start, Deno.SeekMode.Start);
      for (let filled = 0; filled < bytes.length;) {
        const read = await file.read(bytes.subarray(filled));
        if (read === null) throw new SyntaxError(`"${this.name}" became shorter while it was read`);
        filled += read;
      }
      return bytes.buffer;
    };
    // One at a time: a file has one position.
    let last: Promise<unknown> = Promise.resolve();
    return {
      byteLength: size,
      slice: (start, end) => {
        const next = last.then(() => slice(start, end));
        last = next.catch(() => {});
        return next;
      },
      [Symbol.dispose]: () => file.close(),
    };
  }
}

/** Standard input, which can be read once. */
export class StdinSource implements ByteSource {
  readonly name = "standard input";
  readonly path: string;
  readonly sniff = true;
  #used = false;

  /** @param extension What a file with this content would end in, such as `.jsonl`; empty for text. */
  constructor(extension: string) {
    this.path = `-${extension}`;
  }

  async *stream(): AsyncGenerator<Bytes> {
    if (this.#used) {
      throw new TypeError(
        "Standard input can be read only once, and what is asked for needs a second pass: " +
          "write it into a file and give that",
      );
    }
    this.#used = true;
    let empty = true;
    for await (const bytes of Deno.stdin.readable) {
      empty &&= bytes.length === 0;
      yield bytes;
    }
    if (empty) {
      throw new RangeError("Standard input must hold text: got nothing; pipe a text into the command");
    }
  }

  openRanges(): Promise<ByteRanges> {
    return bufferRanges(this.stream(), this.name);
  }
}

/**
 * Keeps a content in memory, for a format that needs more than one pass over it.
 *
 * @param bytes The content.
 * @param name What to call it in messages.
 *
 * @throws {RangeError} When it is longer than 256 MiB.
 */
export async function bufferRanges(bytes: AsyncIterable<Bytes>, name: string): Promise<ByteRanges> {
  const pieces: Bytes[] = [];
  let length = 0;
  for await (const piece of bytes) {
    pieces.push(piece);
    length += piece.length;
    if (length > BUFFER_BYTES) {
      throw new RangeError(
        `A Parquet file that cannot be read at random must have at most ${BUFFER_BYTES >> 20} MiB: ` +
          `"${name}" has more; save it as an uncompressed .parquet file on disk and give that`,
      );
    }
  }
  const { buffer } = joined(pieces);
  return {
    byteLength: length,
    slice: (start, end) => Promise.resolve(buffer.slice(start, end)),
    [Symbol.dispose]: () => {},
  };
}

/** Pieces as one. */
export function joined(pieces: readonly Bytes[]): Bytes {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
