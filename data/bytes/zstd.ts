/**
 * Zstandard (RFC 8878) as a stream: the frames are told apart here, so that a cut or damaged file is found out,
 * and decompressed by `fzstd`; `xxhash-wasm` checks what they hold. (Deno's own decompressor takes a cut file
 * for a whole one and refuses a file of several frames.)
 *
 * @module
 */

import { type Bytes, joined } from "./byte_source.ts";

// Variables, so that importing this module loads nothing: only reading a .zst file does.
const FZSTD: string = "npm:fzstd@0.1.1";
const XXHASH: string = "npm:xxhash-wasm@1.1.0";

const FRAME_MAGIC = 0xfd2fb528;
/** The largest window that is decompressed, as in the zstd command without --long. */
const WINDOW_BYTES = 128 << 20;

/**
 * Decompresses Zstandard frames, one after another; skippable ones are skipped.
 *
 * @param source The compressed bytes.
 * @returns The content, in pieces.
 *
 * @throws {SyntaxError} When the bytes end within a frame, are damaged or are something else, saying at which
 * offset.
 * @throws {RangeError} When a frame needs a window of more than 128 MiB or a dictionary.
 */
export async function* unzstd(source: AsyncIterable<Bytes>): AsyncGenerator<Bytes> {
  const { Decompress } = (await import(FZSTD)) as typeof import("npm:fzstd@0.1.1");
  const { create64 } = await ((await import(XXHASH)) as typeof import("npm:xxhash-wasm@1.1.0")).default();
  await using reader = new ExactReader(source);
  for (;;) {
    const frameOffset = reader.offset;
    const magic = await reader.take(4, true);
    if (magic === null) return;
    const kind = littleEndian(magic);
    if (kind >>> 4 === 0x184d2a5) {
      await reader.skip(littleEndian(await reader.take(4)));
      continue;
    }
    if (kind !== FRAME_MAGIC) throw new SyntaxError(`no frame begins at offset ${frameOffset}`);
    const { header, hasChecksum, contentSize } = await readHeader(reader);
    const hash = create64();
    let length = 0;
    let pieces: Bytes[] = [];
    const frame = new Decompress((piece) => pieces.push(piece as Bytes));
    let input = joined([magic, header]);
    for (let last = false; !last;) {
      const offset = reader.offset;
      const head = await reader.take(3);
      const word = head[0] | head[1] << 8 | head[2] << 16;
      last = (word & 1) === 1;
      const type = word >> 1 & 3;
      // A run of one byte is stored as that byte.
      const data = await reader.take(type === 1 ? 1 : word >> 3);
      const checksum = await reader.take(last && hasChecksum ? 4 : 0);
      pieces = [];
      try {
        frame.push(joined([input, head, data, checksum]), last);
      } catch (cause) {
        throw new SyntaxError(`it is damaged near offset ${offset} (${(cause as Error).message})`);
      }
      input = new Uint8Array(0);
      for (const piece of pieces) {
        hash.update(piece);
        length += piece.length;
        if (piece.length > 0) yield piece;
      }
      if (!last) continue;
      const matches = !hasChecksum || Number(hash.digest() & 0xffffffffn) === littleEndian(checksum);
      if (!matches || (contentSize !== null && length !== contentSize)) {
        throw new SyntaxError(
          `it is damaged: the frame at offset ${frameOffset} does not match its checksum`,
        );
      }
    }
  }
}

/** What a frame's header says. */
interface FrameHeader {
  /** The header without the magic number. */
  readonly header: Bytes;
  /** Whether a checksum follows the last block. */
  readonly hasChecksum: boolean;
  /** The length of what the frame holds; null where it is not given. */
  readonly contentSize: number | null;
}

/** A frame's header without the magic number; section 3.1.1.1 of the RFC. */
async function readHeader(reader: ExactReader): Promise<FrameHeader> {
  const descriptor = await reader.take(1);
  const flags = descriptor[0];
  const isSingle = (flags & 32) !== 0;
  const sizeBytes = [isSingle ? 1 : 0, 2, 4, 8][flags >> 6];
  const window = await reader.take(isSingle ? 0 : 1);
  const dictionary = await reader.take([0, 1, 2, 4][flags & 3]);
  const size = await reader.take(sizeBytes);
  if (dictionary.some((byte) => byte !== 0)) {
    throw new RangeError("it needs a dictionary; compress it without one");
  }
  // Sizes of two bytes count from 256.
  const contentSize = sizeBytes === 0
    ? null
    : size.reduceRight((sum, byte) => sum * 256 + byte, 0) + (sizeBytes === 2 ? 256 : 0);
  const windowBytes = isSingle ? contentSize! : 2 ** (10 + (window[0] >> 3)) * (1 + (window[0] & 7) / 8);
  if (windowBytes > WINDOW_BYTES) {
    throw new RangeError(
      `its window must be at most 128 MiB, got ${Math.ceil(windowBytes / 2 ** 20)} MiB; ` +
        "compress it without --long or --ultra",
    );
  }
  return {
    header: joined([descriptor, window, dictionary, size]),
    hasChecksum: (flags & 4) !== 0,
    contentSize,
  };
}

function littleEndian(bytes: Bytes): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
}

/** Reads exactly as many bytes as are asked for. */
class ExactReader implements AsyncDisposable {
  offset = 0;
  readonly #source: AsyncIterator<Bytes>;
  #held: Bytes = new Uint8Array(0);

  constructor(source: AsyncIterable<Bytes>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  take(count: number): Promise<Bytes>;
  take(count: number, mayEnd: true): Promise<Bytes | null>;
  async take(count: number, mayEnd = false): Promise<Bytes | null> {
    const pieces = [this.#held];
    let length = this.#held.length;
    while (length < count) {
      const { done, value } = await this.#source.next();
      if (done) {
        if (mayEnd && length === 0) return null;
        throw new SyntaxError(`it is cut short: it ends within a frame, after ${this.offset + length} bytes`);
      }
      pieces.push(value);
      length += value.length;
    }
    const all = pieces.length === 1 ? this.#held : joined(pieces);
    this.#held = all.subarray(count);
    this.offset += count;
    return all.subarray(0, count);
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0; left -= 65536) await this.take(Math.min(left, 65536));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source.return?.();
  }
}
