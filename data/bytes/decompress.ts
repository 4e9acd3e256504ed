/**
 * Decompression of streams: gzip (RFC 1952) and Zstandard.
 *
 * @module
 */

import type { Bytes } from "./byte_source.ts";
import { throughNode } from "./node_stream.ts";
import { unzstd } from "./zstd.ts";

/** How a content is compressed. */
export type Compression = "gz" | "zst";

/**
 * Decompresses a content.
 *
 * @param source The compressed bytes: one or more gzip members or Zstandard frames.
 * @param compression How they are compressed.
 * @param name What to call the content in messages.
 * @returns The content, in pieces.
 *
 * @throws {SyntaxError} When the bytes are cut short, damaged or something else.
 * @throws {RangeError} When they ask for more memory than a decompressor should take.
 */
export async function* decompress(
  source: AsyncIterable<Bytes>,
  compression: Compression,
  name: string,
): AsyncGenerator<Bytes> {
  let compressed = 0;
  // Only what the decompressor throws is about the compression, not what the source does.
  let failure: { error: unknown } | undefined;
  const input = async function* () {
    try {
      for await (const bytes of source) {
        compressed += bytes.length;
        yield bytes;
      }
    } catch (error) {
      failure = { error };
      throw error;
    }
  };
  const output = compression === "zst"
    ? unzstd(input())
    : throughNode(input(), (await import("node:zlib")).createGunzip()) as AsyncGenerator<Bytes>;
  try {
    yield* output;
  } catch (error) {
    throw failure ? failure.error : explained(error, compression, name, compressed);
  }
}

function explained(error: unknown, compression: Compression, name: string, compressed: number): unknown {
  const { code, message } = error as { code?: string; message: string };
  if (!(error instanceof SyntaxError || error instanceof RangeError || code?.startsWith("Z_"))) return error;
  const what = code === undefined
    ? message
    : code === "Z_BUF_ERROR"
    ? `it is cut short: it ends after ${compressed} bytes`
    : `it is damaged, or something else (${message})`;
  const text = `Cannot read "${name}" as ${compression === "gz" ? "gzip" : "Zstandard"}: ${what}`;
  return error instanceof RangeError ? new RangeError(text) : new SyntaxError(`${text}; fetch it again`);
}

/**
 * Tells by its first bytes how a content is compressed.
 *
 * @param source The content.
 * @returns The compression, null for none, and the content again from its beginning.
 */
export async function sniffCompression(
  source: AsyncIterable<Bytes>,
): Promise<{ compression: Compression | null; bytes: AsyncIterable<Bytes> }> {
  const iterator = source[Symbol.asyncIterator]();
  const first: Bytes[] = [];
  let head: number[] = [];
  while (head.length < 4) {
    const { done, value } = await iterator.next();
    if (done) break;
    first.push(value);
    head = [...head, ...value.subarray(0, 4)];
  }
  const starts = (...magic: number[]) => magic.every((byte, i) => head[i] === byte);
  const compression = starts(0x1f, 0x8b) ? "gz" : starts(0x28, 0xb5, 0x2f, 0xfd) ? "zst" : null;
  const bytes = async function* () {
    try {
      yield* first;
      yield* { [Symbol.asyncIterator]: () => iterator };
    } finally {
      await iterator.return?.();
    }
  };
  return { compression, bytes: bytes() };
}
