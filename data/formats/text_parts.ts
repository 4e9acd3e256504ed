/**
 * Long texts in parts.
 *
 * @module
 */

import type { Document } from "../document.ts";

/** How long a part is at most, in UTF-16 units. */
export const PART_LENGTH: number = 8 << 20;

/**
 * Makes a document of a text: one, or several parts when it is longer than a part may be. CRLF becomes LF.
 *
 * @param name The document's name.
 * @param pieces The text, in pieces of any lengths.
 * @param limit How long a part is at most, in UTF-16 units, at least 2; 8 Mi by default. A part ends after
 * blank lines where there are some, else after a line, else between two characters.
 * @returns The parts; none when the text is empty.
 */
export async function* textParts(
  name: string,
  pieces: AsyncIterable<string> | Iterable<string>,
  limit: number = PART_LENGTH,
): AsyncGenerator<Document> {
  let held = "";
  let part = 0;
  for await (const piece of withLf(pieces)) {
    held += piece;
    while (held.length > limit) {
      const cut = cutLength(held, limit);
      yield { name, text: held.slice(0, cut), part: part++ };
      held = held.slice(cut);
    }
  }
  if (held.length > 0) yield { name, text: held, part };
}

/** The text with LF for every CRLF. */
async function* withLf(pieces: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string> {
  // A CR at the end of a piece may be half of a CRLF.
  let carriage = "";
  for await (const piece of pieces) {
    const text = carriage + piece;
    carriage = text.endsWith("\r") ? "\r" : "";
    yield (carriage ? text.slice(0, -1) : text).replaceAll("\r\n", "\n");
  }
  yield carriage;
}

/** How much of a text that is longer than the limit is its first part. */
function cutLength(text: string, limit: number): number {
  for (let i = text.lastIndexOf("\n\n", limit - 2); i > 0; i = text.lastIndexOf("\n\n", i - 1)) {
    // Blank lines are over only when another line's text begins.
    if (text[i + 2] !== "\n") return i + 2;
  }
  const line = text.lastIndexOf("\n", limit - 1) + 1;
  if (line > 0) return line;
  return characterCut(text, limit);
}

/**
 * Where to cut a text so that no character is divided.
 *
 * @param text The text.
 * @param end Where it would be cut, in UTF-16 units.
 * @returns `end`, or one less when a surrogate pair is there.
 */
export function characterCut(text: string, end: number): number {
  return (text.charCodeAt(end - 1) & 0xfc00) === 0xd800 ? end - 1 : end;
}
