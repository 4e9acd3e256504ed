/**
 * The split into training and validation text, by content alone.
 *
 * A document of up to 65,536 UTF-16 units (64 KiB of ASCII) is on one side as a whole, by a hash of its
 * content. A longer one is read as a book, whose sections count as documents: it is cut at paragraph
 * boundaries into blocks of 1 to 8 KiB, and each block's hash says which side it is on. So it is with each
 * part of a {@linkcode Book} too, and with a corpus that is one document, however short.
 *
 * So the same document, or the same block, is on the same side wherever and however often it appears, in
 * whatever order files come, and a corpus that grows keeps its validation text. Where a block ends depends
 * on the paragraph that ends it, so after an insertion the old boundaries soon come back.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { Corpus, Document } from "../document.ts";
import { characterCut, PART_LENGTH } from "../formats/text_parts.ts";
import { lastSafeCut } from "../tokenizer/byte_level.ts";
import type { Book } from "./gutenberg.ts";
import { hash32 } from "../../ops/random.ts";

/** The share of the text that is validation unless told otherwise. */
export const DEFAULT_VALIDATION_FRACTION = 0.05;

/** A longer document than this many UTF-16 units is cut into blocks. */
const MAX_WHOLE = 1 << 16;
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

/** A document, or a part of one, with what the split takes as its units. */
interface Divided {
  readonly document: Document;
  /** Its blocks, or the whole text. */
  units(): Iterable<string>;
}

/** Tells for every document whether it stays whole, for which it looks at the one that follows. */
async function* divide(corpus: Corpus): AsyncGenerator<Divided> {
  let held: Document | undefined;
  let documents = 0, whole = false;
  const give = ({ text }: Document, whole: boolean): Divided["units"] => () =>
    whole ? (text === "" ? [] : [text]) : cutBlocks(text);
  for await (const document of corpus) {
    if (held !== undefined) {
      if (held.part === 0) whole = isShort(held) && document.part === 0;
      yield { document: held, units: give(held, whole) };
    }
    if (document.part === 0) documents++;
    held = document;
  }
  if (held === undefined) return;
  if (held.part === 0) whole = isShort(held) && documents > 1;
  yield { document: held, units: give(held, whole) };
}

function isShort(document: Document): boolean {
  return document.text.length <= MAX_WHOLE && (document as Partial<Book>).isBook !== true;
}

/** What one pass over a corpus tells about it. */
export interface CorpusScan {
  /** SHA-256 over the content and its division into documents, in hexadecimal. */
  readonly digest: string;
  /** Its length in UTF-8. */
  readonly bytes: number;
  /** How many documents it has. */
  readonly documents: number;
  /** A document or block is validation when its hash is below this, a number of up to 2^32. */
  readonly threshold: number;
}

/**
 * Reads a corpus once: its digest, its size, and the threshold that splits it.
 *
 * The threshold is the fraction of 2^32. Where that takes nothing of a corpus of at least two different
 * documents or blocks, it is raised just so far that one of them is validation.
 *
 * @param corpus The documents.
 * @param validationFraction The share of the text to set aside, from 0 to below 1; 0.05 by default, and 0
 * for none at all.
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
  const digest = new CorpusDigest();
  const wanted = validationFraction * 2 ** 32;
  let bytes = 0, documents = 0, lowest = Infinity, highest = -Infinity;
  for await (const { document, units } of divide(withText(corpus))) {
    if (document.part === 0) documents++;
    bytes += digest.add(document);
    // Once something is below the threshold it stays as it is, whatever comes.
    for (const unit of wanted > 0 && lowest >= wanted ? units() : []) {
      const hash = blockHash(unit);
      lowest = Math.min(lowest, hash);
      highest = Math.max(highest, hash);
    }
  }
  const raised = lowest >= wanted && lowest < highest;
  return { digest: digest.toHex(), bytes, documents, threshold: raised ? lowest + 1 : wanted };
}

/**
 * The documents of a corpus, of which at least one has text.
 *
 * @param corpus The documents.
 *
 * @throws {RangeError} At the end, when there was nothing but white space.
 */
export async function* withText(corpus: Corpus): AsyncGenerator<Document> {
  let any = false, visible = false;
  for await (const document of corpus) {
    any = true;
    visible ||= /\S/.test(document.text);
    yield document;
  }
  if (visible) return;
  throw new RangeError(
    `A corpus must hold text: got ${
      any ? "nothing but white space" : "no document"
    }; name files that have some`,
  );
}

/** SHA-256 over documents: each part's digest, chained to what came before it. */
class CorpusDigest {
  readonly #encoder = new TextEncoder();
  #buffer = new Uint8Array(1 << 16);
  #chain: Uint8Array = new Uint8Array(32);

  /** Takes a document or part in, and gives its length in UTF-8. */
  add({ text, part }: Document): number {
    // No text needs more than three bytes for a UTF-16 unit.
    if (this.#buffer.length < 3 * text.length) this.#buffer = new Uint8Array(3 * text.length);
    const { written } = this.#encoder.encodeInto(text, this.#buffer);
    const digest = createHash("sha256").update(this.#buffer.subarray(0, written)).digest();
    const kind = Uint8Array.of(part === 0 ? 0 : 1);
    this.#chain = createHash("sha256").update(this.#chain).update(digest).update(kind).digest();
    return written;
  }

  toHex(): string {
    return new Uint8Array(this.#chain).toHex();
  }
}

/** A piece of a run, which is a stretch of one document that is on one side as a whole. */
export interface RunPiece {
  /** The text. */
  readonly text: string;
  /** Which side it is on. */
  readonly validation: boolean;
  /** Whether it begins a run, rather than going on where the piece before it ended. */
  readonly first: boolean;
}

/**
 * Divides a corpus into runs, in order, each in pieces.
 *
 * A stretch of 8 Mi UTF-16 units in which `cut` finds no place, such as one without white space, is cut between
 * two characters 8 Mi after the piece's start, where the tokens may differ from those of the whole. Pieces start
 * at the ends of documents, blocks and pieces before them, so that place depends on the text alone, and not on
 * how much of it is read at a time; every shorter stretch stays in one piece, however it is read.
 *
 * @param corpus The documents.
 * @param threshold What {@linkcode scanCorpus} gave.
 * @param options `pieceLength`: the length from which on a piece is given out, in UTF-16 units; 65,536 by
 * default. `cut`: where a piece of a longer run ends, given its text; by default {@linkcode lastSafeCut},
 * where a byte-level tokenizer gives the tokens of the whole.
 */
export async function* splitRuns(
  corpus: Corpus,
  threshold: number,
  options: { pieceLength?: number; cut?: (text: string) => number } = {},
): AsyncGenerator<RunPiece> {
  const { pieceLength = 65536, cut: findCut = lastSafeCut } = options;
  let text = "";
  let validation = false;
  let first = true;
  // How much must have gathered before it is worth looking for a cut again.
  let wanted = pieceLength;
  for await (const { document, units } of divide(corpus)) {
    let joined = document.part > 0;
    for (const unit of units()) {
      const side = blockHash(unit) < threshold;
      if (!joined || side !== validation) {
        if (text.length > 0) yield { text, validation, first };
        [text, validation, first, wanted, joined] = ["", side, true, pieceLength, true];
      }
      text += unit;
      if (text.length < wanted) continue;
      const cut = findCut(text) || (text.length >= PART_LENGTH ? characterCut(text, PART_LENGTH) : 0);
      if (cut === 0) {
        wanted = Math.min(text.length * 2, PART_LENGTH);
        continue;
      }
      yield { text: text.slice(0, cut), validation, first };
      [text, first, wanted] = [text.slice(cut), false, pieceLength];
    }
  }
  if (text.length > 0) yield { text, validation, first };
}
