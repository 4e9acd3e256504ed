/**
 * The split into training and validation text, by content alone.
 *
 * A document is cut at paragraph boundaries into blocks of a few KiB, and a hash of a block's content says
 * which side it is on. So the same block is on the same side wherever and however often it appears, in
 * whatever order files come, and a corpus that grows keeps its validation blocks. Where a block ends depends
 * on the paragraph that ends it, so after an insertion the old boundaries soon come back.
 *
 * @module
 */

import type { Corpus, Document } from "./corpus.ts";
import { lastSafeCut } from "./byte_level.ts";
import { hash32 } from "../ops/random.ts";

/** The share of blocks that are validation unless told otherwise. */
export const DEFAULT_VALIDATION_FRACTION = 0.05;

/** A block is at least this many UTF-16 units long, the last of a document aside. */
const MIN_BLOCK = 1024;
/** And at most this many. */
const MAX_BLOCK = 8192;

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
 * Cuts a text into blocks of about 1 to 8 KiB. Joined, they are the text again.
 *
 * A block ends after the blank lines that follow a paragraph; a paragraph that is too long for a block is cut
 * after a line, else before white space, else between two characters.
 *
 * @param text The text.
 */
export function* cutBlocks(text: string): Generator<string> {
  // Blank lines may hold spaces; the boundary is before the next line's indentation.
  const boundary = /\n(?:[ \t]*\n)+/g;
  let start = 0;
  let paragraph = 0;
  while (start < text.length) {
    const match = boundary.exec(text);
    const end = match === null ? text.length : match.index + match[0].length;
    while (end - start > MAX_BLOCK) {
      // What came before the long paragraph is a block of its own if it is long enough for one.
      const cut = paragraph - start >= MIN_BLOCK ? paragraph : forcedCut(text, start);
      yield text.slice(start, cut);
      start = cut;
      paragraph = Math.max(paragraph, start);
    }
    // One paragraph in four may end a block.
    const chosen = end - start >= MIN_BLOCK && (hashRange(text, paragraph, end) & 3) === 0;
    if (end > start && (chosen || end === text.length)) {
      yield text.slice(start, end);
      start = end;
    }
    paragraph = end;
  }
}

/** Where to cut a paragraph that fills a block. */
function forcedCut(text: string, start: number): number {
  const piece = text.slice(start, start + MAX_BLOCK);
  const line = piece.lastIndexOf("\n") + 1;
  if (line >= MIN_BLOCK) return start + line;
  const space = lastSafeCut(piece);
  if (space >= MIN_BLOCK) return start + space;
  const low = text.charCodeAt(start + MAX_BLOCK) & 0xfc00;
  return start + MAX_BLOCK - (low === 0xdc00 ? 1 : 0);
}

/** What one pass over a corpus tells about it. */
export interface CorpusScan {
  /** SHA-256 over the content and its division into documents, in hexadecimal. */
  readonly digest: string;
  /** Its length in UTF-8. */
  readonly bytes: number;
  /** How many documents it has. */
  readonly documents: number;
  /** A block is validation when its hash is below this, a number of up to 2^32. */
  readonly threshold: number;
}

/**
 * Reads a corpus once: its digest, its size, and the threshold that splits it.
 *
 * The threshold is the fraction of 2^32. Where that takes no block of a corpus of at least two different
 * ones, it is raised just so far that one block is validation.
 *
 * @param corpus The documents.
 * @param validationFraction The share of blocks to set aside, from 0 to below 1; 0.05 by default, and 0 for
 * none at all.
 *
 * @throws {RangeError} When the fraction is out of range, or the corpus holds no text.
 */
export async function scanCorpus(
  corpus: Corpus,
  validationFraction: number = DEFAULT_VALIDATION_FRACTION,
): Promise<CorpusScan> {
  if (!(validationFraction >= 0 && validationFraction < 1)) {
    throw new RangeError(`The validation fraction must be at least 0 and below 1: got ${validationFraction}`);
  }
  const encoder = new TextEncoder();
  let chain: Uint8Array<ArrayBuffer> = new Uint8Array(32);
  let bytes = 0, documents = 0, lowest = Infinity, highest = -Infinity, visible = false;
  for await (const document of corpus) {
    if (document.part === 0) documents++;
    const data = encoder.encode(document.text);
    bytes += data.length;
    // No digest of the web platform takes its input in pieces, so each part's is chained to the last.
    const link = new Uint8Array(65);
    link.set(chain);
    link.set(new Uint8Array(await crypto.subtle.digest("SHA-256", data)), 32);
    link[64] = document.part === 0 ? 0 : 1;
    chain = new Uint8Array(await crypto.subtle.digest("SHA-256", link));
    for (const block of cutBlocks(document.text)) {
      const hash = blockHash(block);
      lowest = Math.min(lowest, hash);
      highest = Math.max(highest, hash);
    }
    visible ||= /\S/.test(document.text);
  }
  if (!visible) {
    throw new RangeError(
      `A corpus must hold text: got ${
        documents === 0 ? "no document" : "nothing but white space"
      }; name files that have some`,
    );
  }
  let threshold = validationFraction * 2 ** 32;
  if (threshold > 0 && lowest >= threshold && lowest < highest) threshold = lowest + 1;
  return { digest: chain.toHex(), bytes, documents, threshold };
}

/** A piece of a run, which is a stretch of one document whose blocks are adjacent and on the same side. */
export interface RunPiece {
  /** The text. */
  readonly text: string;
  /** Which side it is on. */
  readonly validation: boolean;
  /** Whether it begins a run, rather than going on where the piece before it ended. */
  readonly first: boolean;
}

/**
 * Divides a corpus into runs, in order, in pieces that a byte-level tokenizer can take one at a time: cut
 * only where {@linkcode lastSafeCut} allows.
 *
 * @param corpus The documents.
 * @param threshold What {@linkcode scanCorpus} gave.
 * @param pieceLength The length from which on a piece is given out, in UTF-16 units; 65,536 by default.
 * `Infinity` keeps every run in one piece, for tokenizers that cannot take text in pieces.
 */
export async function* splitRuns(
  corpus: Corpus,
  threshold: number,
  pieceLength: number = 65536,
): AsyncGenerator<RunPiece> {
  let text = "";
  let validation = false;
  let first = true;
  // How much must have gathered before it is worth looking for a cut again.
  let wanted = pieceLength;
  for await (const document of corpus as AsyncIterable<Document>) {
    let joined = document.part > 0;
    for (const block of cutBlocks(document.text)) {
      const side = blockHash(block) < threshold;
      if (!joined || side !== validation) {
        if (text.length > 0) yield { text, validation, first };
        [text, validation, first, wanted, joined] = ["", side, true, pieceLength, true];
      }
      text += block;
      if (text.length < wanted) continue;
      const cut = lastSafeCut(text);
      if (cut === 0) {
        wanted = text.length * 2;
        continue;
      }
      yield { text: text.slice(0, cut), validation, first };
      [text, first, wanted] = [text.slice(cut), false, pieceLength];
    }
  }
  if (text.length > 0) yield { text, validation, first };
}
