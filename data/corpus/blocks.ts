/**
 * Blocks of a text that end where they would end in any text that they stand in, and their hashes.
 *
 * @module
 */

import { hash32 } from "../../ops/random.ts";
import { lastSafeCut } from "../tokenizer/byte_level.ts";

/** A block is at most this many UTF-16 units long. */
export const MAX_BLOCK = 8192;
/** And at least its share in that, the last of a document aside. */
const MIN_SHARE = 1 / 8;

/**
 * Hashes a block's content to 32 bits; white space at its end doesn't count.
 *
 * @param block The text.
 * @returns An unsigned 32-bit integer.
 */
export function blockHash(block: string): number {
  let end = block.length;
  while (end > 0 && block.charCodeAt(end - 1) <= 0x20) end--;
  return hashRange(block, 0, end);
}

function hashRange(text: string, start: number, end: number): number {
  let h = end - start;
  // FNV-1a's step over UTF-16 units, evened out at the end.
  for (let i = start; i < end; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return hash32(h);
}

/**
 * Cuts a text into blocks, of about 1 to 8 KiB unless told otherwise. Joined, they are the text again.
 *
 * A block ends after the blank lines that follow a paragraph; a paragraph that is too long for a block is cut
 * after a line, else before white space, else between two characters.
 *
 * @param text The text.
 * @param most How long a block is at most, in UTF-16 units; 8192 by default. All but the last have an eighth of it
 * at least.
 */
export function* cutBlocks(text: string, most = MAX_BLOCK): Generator<string> {
  const least = most * MIN_SHARE;
  // Blank lines may hold spaces; the boundary is before the next line's indentation.
  const boundary = /\n(?:[ \t]*\n)+/g;
  let start = 0;
  let paragraph = 0;
  while (start < text.length) {
    const match = boundary.exec(text);
    const end = match === null ? text.length : match.index + match[0].length;
    while (end - start > most) {
      // What came before the long paragraph is a block of its own if it is long enough for one.
      const cut = paragraph - start >= least ? paragraph : forcedCut(text, start, most);
      yield text.slice(start, cut);
      start = cut;
      paragraph = Math.max(paragraph, start);
    }
    // One paragraph in four may end a block.
    const chosen = end - start >= least && (hashRange(text, paragraph, end) & 3) === 0;
    if (end > start && (chosen || end === text.length)) {
      yield text.slice(start, end);
      start = end;
    }
    paragraph = end;
  }
}

/** Where to cut a paragraph that fills a block. */
function forcedCut(text: string, start: number, most: number): number {
  const piece = text.slice(start, start + most);
  const line = piece.lastIndexOf("\n") + 1;
  if (line >= most * MIN_SHARE) return start + line;
  const space = lastSafeCut(piece);
  if (space >= most * MIN_SHARE) return start + space;
  const low = text.charCodeAt(start + most) & 0xfc00;
  return start + most - (low === 0xdc00 ? 1 : 0);
}
