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
 * That sets about the share aside that was asked for where there are many documents or blocks, more than 1024
 * of them, and of fewer maybe a third in place of a twentieth. Where what fewer give is off by more than half of
 * what was asked for, or one side has nothing,
 *
 * 1. those with the lowest hashes are set aside, as many as come closest to the share, at least one and not all;
 * 2. and if that is as far off, as with three documents of 46 KB, all documents are cut into blocks, of at most
 *    half of what is to be set aside, but between 1 and 8 KiB, and of these the lowest are taken.
 *
 * That depends on the content alone as well. But a small corpus that grows may get another split, and so did
 * small corpora with this rule: since it changes what a run trains on, it changes the corpus's digest too, by
 * which a run that is resumed finds that its data is not what it was. Where the rule changes nothing, the digest
 * is that of the content.
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { Corpus, Document } from "../document.ts";
import { characterCut, PART_LENGTH } from "../formats/text_parts.ts";
import { lastSafeCut } from "../tokenizer/byte_level.ts";
import { blockHash, cutBlocks, MAX_BLOCK } from "./blocks.ts";
import type { Book } from "./gutenberg.ts";

/** The share of the text that is validation unless told otherwise. */
export const DEFAULT_VALIDATION_FRACTION = 0.05;

/** A longer document than this many UTF-16 units is cut into blocks. */
const MAX_WHOLE = 1 << 16;
/** The most documents and blocks of which the share is looked at. */
const FEW = 1024;
/** What blocks of a small corpus are at most, in UTF-16 units, where a share of it is smaller. */
const SMALL_BLOCK = 1024;

/** A document, or a part of one, with what the split takes as its units. */
interface Divided {
  readonly document: Document;
  /** Its blocks, or the whole text. */
  units(): Iterable<string>;
}

/**
 * Tells for every document whether it stays whole, for which it looks at the one that follows. None does where the
 * length of blocks is given.
 */
async function* divide(corpus: Corpus, blockLength?: number): AsyncGenerator<Divided> {
  let held: Document | undefined;
  let documents = 0, whole = false;
  const give = ({ text }: Document, whole: boolean): Divided["units"] => () =>
    whole && blockLength === undefined ? (text === "" ? [] : [text]) : cutBlocks(text, blockLength);
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

/** What {@linkcode scanCorpus} tells about a corpus. */
export interface CorpusScan {
  /**
   * SHA-256 over the content and its division into documents, in hexadecimal; and over the split where that is not
   * the usual one.
   */
  readonly digest: string;
  /** Its length in UTF-8. */
  readonly bytes: number;
  /** How many documents it has. */
  readonly documents: number;
  /** A document or block is validation when its hash is below this, a number of up to 2^32. */
  readonly threshold: number;
  /**
   * How long a block is at most, in UTF-16 units, where all documents are cut into such; not given where short
   * ones stay whole and blocks have their usual length.
   */
  readonly blockLength?: number;
}

/** How a corpus is split. */
export type Split = Pick<CorpusScan, "threshold" | "blockLength">;

/**
 * Reads a corpus: its digest, its size, and the split, see this module. It is read once, and once more where few
 * documents must be cut into blocks.
 *
 * The threshold is the fraction of 2^32 for a large corpus. Where that takes nothing of one of at least two
 * different documents or blocks, it is raised just so far that one of them is validation.
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
  const found: Unit[] = [];
  let bytes = 0, documents = 0, lowest = Infinity, highest = -Infinity;
  for await (const { document, units } of divide(withText(corpus))) {
    if (document.part === 0) documents++;
    bytes += digest.add(document);
    // Of many, once something is below the threshold it stays as it is, whatever comes.
    for (const text of wanted > 0 && (found.length <= FEW || lowest >= wanted) ? units() : []) {
      const unit = { hash: blockHash(text), length: text.length };
      lowest = Math.min(lowest, unit.hash);
      highest = Math.max(highest, unit.hash);
      if (found.length <= FEW) found.push(unit);
    }
  }
  const usual = { threshold: lowest >= wanted && lowest < highest ? lowest + 1 : wanted };
  const split = wanted === 0 || found.length > FEW
    ? usual
    : await splitFew(corpus, found, usual, validationFraction);
  return { digest: digest.toHex(split === usual ? undefined : split), bytes, documents, ...split };
}

/** A document or block as the split looks at it. */
interface Unit {
  readonly hash: number;
  /** In UTF-16 units. */
  readonly length: number;
}

/** The split of a small corpus, which is the usual one where that will do. */
async function splitFew(corpus: Corpus, units: Unit[], usual: Split, fraction: number): Promise<Split> {
  const total = units.reduce((sum, { length }) => sum + length, 0);
  const wanted = fraction * total;
  const isFar = (threshold: number) => {
    const held = units.reduce((sum, { hash, length }) => hash < threshold ? sum + length : sum, 0);
    return held === 0 || held === total || Math.abs(held - wanted) > Math.min(wanted, total - wanted) / 2;
  };
  if (!isFar(usual.threshold)) return usual;
  const threshold = nearestThreshold(units, wanted);
  if (threshold !== undefined && !isFar(threshold)) return sameSplit({ threshold }, usual);
  const blockLength = Math.min(Math.max(2 ** Math.floor(Math.log2(wanted / 2)), SMALL_BLOCK), MAX_BLOCK);
  const blocks: Unit[] = [];
  for await (const { units } of divide(corpus, blockLength)) {
    for (const text of units()) blocks.push({ hash: blockHash(text), length: text.length });
  }
  const ofBlocks = nearestThreshold(blocks, wanted);
  return ofBlocks === undefined ? usual : { threshold: ofBlocks, blockLength };
}

/** The second of two splits where they are the same. */
function sameSplit(split: Split, usual: Split): Split {
  return split.threshold === usual.threshold ? usual : split;
}

/**
 * The threshold that comes closest to a length, with something on each side; `undefined` where all hashes are the
 * same.
 */
function nearestThreshold(units: readonly Unit[], wanted: number): number | undefined {
  const sorted = units.toSorted((a, b) => a.hash - b.hash);
  let held = 0, nearest = Infinity, threshold: number | undefined;
  for (const [i, { hash, length }] of sorted.entries()) {
    held += length;
    // What is the same is on the same side, and something is on the other.
    if (i + 1 === sorted.length || sorted[i + 1].hash === hash) continue;
    if (Math.abs(held - wanted) < nearest) [nearest, threshold] = [Math.abs(held - wanted), hash + 1];
  }
  return threshold;
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

  /** The digest, also of a split where one is given. */
  toHex(split?: Split): string {
    const content = new Uint8Array(this.#chain).toHex();
    if (split === undefined) return content;
    const { threshold, blockLength = MAX_BLOCK } = split;
    return createHash("sha256").update(`${content} split at ${threshold} in ${blockLength}`).digest("hex");
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
 * @param split What {@linkcode scanCorpus} gave.
 * @param options `pieceLength`: the length from which on a piece is given out, in UTF-16 units; 65,536 by
 * default. `cut`: where a piece of a longer run ends, given its text; by default {@linkcode lastSafeCut},
 * where a byte-level tokenizer gives the tokens of the whole.
 */
export async function* splitRuns(
  corpus: Corpus,
  { threshold, blockLength }: Split,
  options: { pieceLength?: number; cut?: (text: string) => number } = {},
): AsyncGenerator<RunPiece> {
  const { pieceLength = 65536, cut: findCut = lastSafeCut } = options;
  let text = "";
  let validation = false;
  let first = true;
  // How much must have gathered before it is worth looking for a cut again.
  let wanted = pieceLength;
  for await (const { document, units } of divide(corpus, blockLength)) {
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
