/**
 * Trains byte-level BPE (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909) and gives exactly the
 * merges and ids of Hugging Face's `BpeTrainer` with `ByteLevel.alphabet()` as its initial alphabet.
 *
 * Starting from single bytes, the pair of neighbouring tokens that occurs most often becomes a token, over
 * and over. Being exact means to follow the reference also where it is peculiar:
 *
 * - Ties go to the smaller pair of ids.
 * - Counts are kept up to date by differences only; a merged pair's own count is left standing.
 * - Two merges may spell the same token ("a" + "bc" and "ab" + "c"), which then keeps its first id. Pairs
 *   with that token may already wait in the queue with other places, so a pair can be merged twice; its rank
 *   is the later one.
 * - Training ends when the vocabulary is full, or when the most frequent pair occurs less than once or less
 *   often than `minFrequency`.
 *
 * @module
 */

import { END_OF_TEXT } from "../../files/hugging_face_names.ts";
import { BYTE_TO_CHAR, CHAR_TO_BYTE } from "./byte_level.ts";
import { MergeQueue } from "./merge_queue.ts";
import type { TokenizerJson } from "./tokenizer_json.ts";

/** Settings of {@linkcode trainBpe}. */
export interface BpeTrainerOptions {
  /** How many tokens the vocabulary has at most: special tokens, 256 bytes, and merges. */
  vocabSize: number;
  /** Pairs that occur less often are not merged; 0 by default, which merges whatever occurs. */
  minFrequency?: number;
  /**
   * Tokens that are never split and not looked for in the words; `["<|endoftext|>"]` by default. They get the
   * first ids, in this order.
   */
  specialTokens?: readonly string[];
  /** Told now and then how many tokens of how many there are. */
  onProgress?: (done: number, total: number) => void;
}

// Ids stay below this, so that a pair of ids is one exact number, ordered as the pair is.
const PAIR = 2 ** 26;

/**
 * Trains a byte-level BPE vocabulary.
 *
 * @param counts The words and how often each occurs, as {@linkcode WordCounts} has them; each word is cut
 * into its UTF-8 bytes.
 * @param options The size of the vocabulary, and settings with defaults.
 * @returns A `tokenizer.json` as Hugging Face's library would save it. The vocabulary is smaller than asked
 * for when nothing is left to merge.
 *
 * @throws {RangeError} When `vocabSize` leaves no room for the 256 bytes and the special tokens, or
 * `minFrequency` is negative, or a special token is not fit to be one, see {@linkcode checkSpecialTokens}.
 */
export async function trainBpe(
  counts: Iterable<readonly [string, number]>,
  options: BpeTrainerOptions,
): Promise<TokenizerJson> {
  const { vocabSize, minFrequency = 0, specialTokens = [END_OF_TEXT], onProgress } = options;
  checkVocabSize(vocabSize, specialTokens);
  checkSpecialTokens(specialTokens);
  if (!(minFrequency >= 0)) {
    throw new RangeError(`The minimum frequency must be at least 0: got ${minFrequency}`);
  }

  // Special tokens come first, then the bytes in the order of their characters.
  const tokens: string[] = [...specialTokens, ...[...BYTE_TO_CHAR].sort()];
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const words = new Words(counts, BYTE_TO_CHAR.map((char) => ids.get(char)!));
  const pairCounts = new Map<number, number>();
  const queue = new MergeQueue();
  let places = new Map<number, number[]>();

  /** Notes that a pair has `change` more occurrences, in the word `word`. */
  const note = (a: number, b: number, change: number, word: number) => {
    const pair = a * PAIR + b;
    pairCounts.set(pair, (pairCounts.get(pair) ?? 0) + change * words.counts[word]);
    if (change < 0) return;
    const list = places.get(pair);
    // A word's changes come together, so looking at the last place keeps the list free of doubles.
    if (list === undefined) places.set(pair, [word]);
    else if (list[list.length - 1] !== word) list.push(word);
  };
  const enqueue = () => {
    for (const [pair, list] of places) {
      const count = pairCounts.get(pair)!;
      if (count > 0) queue.push({ pair, count, places: list });
    }
    places = new Map();
  };

  for (let word = 0; word < words.size; word++) words.eachPair(word, (a, b) => note(a, b, 1, word));
  enqueue();

  // A pair's rank is that of its last merge: taking it out first moves it to the end.
  const merges = new Map<number, [string, string]>();
  let lastPause = performance.now();
  while (tokens.length < vocabSize) {
    const top = queue.pop();
    if (top === undefined) break;
    const count = pairCounts.get(top.pair)!;
    if (top.count !== count) {
      // It lost occurrences while it waited, so it queues again.
      top.count = count;
      queue.push(top);
      continue;
    }
    if (count < 1 || count < minFrequency) break;

    const a = Math.floor(top.pair / PAIR), b = top.pair % PAIR;
    const token = tokens[a] + tokens[b];
    let id = ids.get(token);
    if (id === undefined) {
      id = tokens.push(token) - 1;
      ids.set(token, id);
    }
    merges.delete(top.pair);
    merges.set(top.pair, [tokens[a], tokens[b]]);
    for (const word of top.places) words.merge(word, a, b, id, note);
    enqueue();

    if (performance.now() - lastPause > 100) {
      onProgress?.(tokens.length, vocabSize);
      // Lets timers and signals through.
      await new Promise((resolve) => setTimeout(resolve, 0));
      lastPause = performance.now();
    }
  }
  onProgress?.(tokens.length, vocabSize);
  return tokenizerJson(specialTokens, tokens, [...merges.values()]);
}

/**
 * Makes sure that a vocabulary has room for what it must have.
 *
 * @param vocabSize The number of token ids.
 * @param specialTokens The special tokens.
 *
 * @throws {RangeError} When it has no room for the 256 bytes and the special tokens, or is no integer.
 */
export function checkVocabSize(vocabSize: number, specialTokens: readonly string[]): void {
  const smallest = specialTokens.length + 256;
  if (Number.isInteger(vocabSize) && vocabSize >= smallest && vocabSize <= PAIR) return;
  throw new RangeError(
    `The vocabulary size must be an integer of at least ${smallest} (256 bytes and ${specialTokens.length} special tokens): got ${vocabSize}`,
  );
}

/**
 * Makes sure that special tokens are fit to be such.
 *
 * @param tokens The special tokens.
 *
 * @throws {RangeError} When one is empty, there twice, or a character of the byte-level alphabet.
 */
export function checkSpecialTokens(tokens: readonly string[]): void {
  tokens.forEach((token, i) => {
    if (token === "" || CHAR_TO_BYTE.has(token) || tokens.indexOf(token) < i) {
      throw new RangeError(
        `Special tokens must be different from each other and from the characters of single bytes: got ${
          JSON.stringify(token)
        }; write it as "<|name|>", once`,
      );
    }
  });
}

/** All words as token ids, one after another in one array; merging shortens a word in its place. */
class Words {
  readonly counts: number[] = [];
  readonly #ids: Int32Array;
  readonly #starts: number[] = [];
  readonly #lengths: number[] = [];

  constructor(counts: Iterable<readonly [string, number]>, byteIds: readonly number[]) {
    const encoder = new TextEncoder();
    let ids = new Int32Array(1 << 16);
    let end = 0;
    for (const [word, count] of counts) {
      const bytes = encoder.encode(word);
      if (end + bytes.length > ids.length) {
        const larger = new Int32Array(2 * (end + bytes.length));
        larger.set(ids);
        ids = larger;
      }
      this.counts.push(count);
      this.#starts.push(end);
      this.#lengths.push(bytes.length);
      for (const byte of bytes) ids[end++] = byteIds[byte];
    }
    this.#ids = ids;
  }

  get size(): number {
    return this.counts.length;
  }

  eachPair(word: number, visit: (a: number, b: number) => void): void {
    const start = this.#starts[word], last = start + this.#lengths[word] - 1;
    for (let i = start; i < last; i++) visit(this.#ids[i], this.#ids[i + 1]);
  }

  /** Replaces every pair (a, b) in a word, from left to right, and notes which pairs that ends and begins. */
  merge(
    word: number,
    a: number,
    b: number,
    id: number,
    note: (a: number, b: number, change: number, word: number) => void,
  ): void {
    const ids = this.#ids, start = this.#starts[word], end = start + this.#lengths[word];
    let to = start;
    for (let from = start; from < end; from++) {
      if (ids[from] !== a || from + 1 >= end || ids[from + 1] !== b) {
        ids[to++] = ids[from];
        continue;
      }
      if (to > start) {
        note(ids[to - 1], a, -1, word);
        note(ids[to - 1], id, 1, word);
      }
      from++;
      if (from + 1 < end) {
        note(b, ids[from + 1], -1, word);
        note(id, ids[from + 1], 1, word);
      }
      ids[to++] = id;
    }
    this.#lengths[word] = to - start;
  }
}

/** The parts of a tokenizer.json around a vocabulary, as Hugging Face's library writes them. */
function tokenizerJson(
  specialTokens: readonly string[],
  tokens: readonly string[],
  merges: [string, string][],
): TokenizerJson {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      // Not by assignment: a token may be called __proto__.
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
}
