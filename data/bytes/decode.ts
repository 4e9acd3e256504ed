/**
 * From bytes to text, in any encoding of the web's, strictly: a byte that the encoding does not allow is an
 * error that says where it is.
 *
 * @module
 */

import type { Bytes } from "./byte_source.ts";

/** The encoding of a text unless told otherwise. */
export const DEFAULT_ENCODING = "utf-8" as const;

/**
 * Makes sure that an encoding is known.
 *
 * @param encoding A label that `TextDecoder` knows, such as `utf-8`, `latin1`, `utf-16le` or `shift_jis`.
 * @returns The encoding's own name; `windows-1252` for `latin1`, as on the web.
 *
 * @throws {RangeError} When it is not.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * equal(checkEncoding("latin1"), "windows-1252");
 * ```
 */
export function checkEncoding(encoding: string): string {
  try {
    return new TextDecoder(encoding).encoding;
  } catch {
    throw new RangeError(
      "An encoding must be one that TextDecoder knows, such as utf-8, latin1, windows-1251, utf-16le or " +
        `shift_jis: got "${encoding}"`,
    );
  }
}

/** What to call a content in messages, and how it is encoded. */
export interface DecodeOptions {
  /** The content's name. */
  readonly name: string;
  /** The encoding; by default UTF-8. */
  readonly encoding?: string;
}

/**
 * Decodes a content. A byte order mark at its beginning is removed.
 *
 * @param source The bytes, in pieces of any lengths.
 * @param options The name and the encoding.
 * @returns The text, in pieces; none is empty and none ends within a character.
 *
 * @throws {RangeError} When the encoding is unknown.
 * @throws {SyntaxError} When a byte is not allowed: at its offset in the content for UTF-8, near it for others.
 */
export async function* decodeText(
  source: AsyncIterable<Bytes>,
  { name, encoding = DEFAULT_ENCODING }: DecodeOptions,
): AsyncGenerator<string> {
  const label = checkEncoding(encoding);
  const decoder = new TextDecoder(label, { fatal: true });
  let offset = 0;
  // The bytes of a character that the pieces so far have only begun; for UTF-8 alone.
  let begun: Bytes = new Uint8Array(0);
  const decode = (bytes: Bytes | undefined): string => {
    try {
      return decoder.decode(bytes, { stream: bytes !== undefined });
    } catch {
      const all = new Uint8Array([...begun, ...bytes ?? []]);
      const start = offset - begun.length;
      throw badByte(all, start, name, label);
    }
  };
  for await (const bytes of source) {
    const text = decode(bytes);
    offset += bytes.length;
    if (label === "utf-8") {
      const tail = bytes.length < 4 ? new Uint8Array([...begun, ...bytes]) : bytes;
      begun = tail.slice(tail.length - begunBytes(tail));
    }
    if (text !== "") yield text;
  }
  const rest = decode(undefined);
  if (rest !== "") yield rest;
}

function badByte(bytes: Bytes, start: number, name: string, label: string): SyntaxError {
  if (label !== "utf-8") {
    const where = `near offset ${start + firstInvalid(bytes, label)}`;
    return new SyntaxError(
      `A text must be in the encoding that is named: "${name}" has a byte ${where} that ${label} does not allow; name another encoding`,
    );
  }
  const bad = firstInvalidUtf8(bytes);
  const isUtf16 = start === 0 && (bytes[0] === 0xff && bytes[1] === 0xfe);
  const advice = isUtf16
    ? "it begins as UTF-16 does: name the encoding utf-16le"
    : "convert it, or name its encoding, for example latin1";
  return new SyntaxError(
    `A text must be UTF-8 unless told otherwise: "${name}" has an invalid byte at offset ${
      start + bad
    }; ${advice}`,
  );
}

/** Where a decoder gives up that starts with these bytes. */
function firstInvalid(bytes: Bytes, label: string): number {
  const decoder = new TextDecoder(label, { fatal: true });
  for (let i = 0; i < bytes.length; i++) {
    try {
      decoder.decode(bytes.subarray(i, i + 1), { stream: true });
    } catch {
      return i;
    }
  }
  return bytes.length;
}

/** How many bytes at the end only begin a character of valid UTF-8. */
function begunBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) === 0x80) continue;
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return needs > back ? back : 0;
  }
  return 0;
}

/**
 * The offset of the first byte that no valid UTF-8 text has there.
 *
 * @param bytes The bytes.
 * @returns The offset, or -1 when all is valid.
 */
export function firstInvalidUtf8(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length;) {
    const b = bytes[i];
    if (b < 0x80) {
      i++;
      continue;
    }
    const length = b >= 0xc2 && b <= 0xdf ? 2 : b >= 0xe0 && b <= 0xef ? 3 : b >= 0xf0 && b <= 0xf4 ? 4 : 0;
    if (length === 0) return i;
    // The second byte's range also excludes overlong forms, surrogates and what is beyond U+10FFFF.
    const low = b === 0xe0 ? 0xa0 : b === 0xf0 ? 0x90 : 0x80;
    const high = b === 0xed ? 0x9f : b === 0xf4 ? 0x8f : 0xbf;
    if (!(bytes[i + 1] >= low && bytes[i + 1] <= high)) return i;
    for (let k = 2; k < length; k++) if ((bytes[i + k] & 0xc0) !== 0x80) return i;
    i += length;
  }
  return -1;
}
