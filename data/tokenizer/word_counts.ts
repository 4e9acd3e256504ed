/**
 * Counting the words of a corpus, which is all that BPE training needs of it.
 *
 * @module
 */

import { flatCopy, utf8Length, wordPattern } from "./byte_level.ts";
import type { Corpus } from "../document.ts";
import { documentPieces } from "./pieces.ts";

/**
 * How many different words are counted unless told otherwise. Counting and training take about 800 bytes for
 * each (of some ten letters) at their peak, so both stay below 500 MB.
 */
export const DEFAULT_MAX_WORDS: number = 500_000;

/**
 * How often each word occurs, by GPT-2's word pattern. Memory grows with the different words only, and no
 * further than `maxWords` of them: when there are more, the rarest are dropped until three quarters of
 * `maxWords` remain or fewer. Up to then counts are exact, as Hugging Face's are, which keeps all words; after
 * that, a word that was dropped and comes again counts from 1, so only rare words can have too low a count.
 */
export class WordCounts {
  readonly #pattern = wordPattern();
  readonly #counts = new Map<string, number>();
  readonly #maxWords: number;
  #dropped = 0;

  /**
   * Starts with no words.
   *
   * @param maxWords How many different words are kept; {@linkcode DEFAULT_MAX_WORDS} by default.
   *
   * @throws {RangeError} When it is not an integer from 1 to 16,000,000, near which a JavaScript `Map` is full.
   */
  constructor(maxWords: number = DEFAULT_MAX_WORDS) {
    if (!Number.isInteger(maxWords) || maxWords < 1 || maxWords > 16e6) {
      throw new RangeError(`The most words to count must be an integer from 1 to 16000000: got ${maxWords}`);
    }
    this.#maxWords = maxWords;
  }

  /**
   * Counts the words of a text. Texts are counted independently: no word spans two of them.
   *
   * @param text Any length; a long text may be given in pieces that are cut where white space begins.
   */
  add(text: string): void {
    const counts = this.#counts;
    for (const word of text.match(this.#pattern) ?? []) {
      const count = counts.get(word);
      if (count !== undefined) counts.set(word, count + 1);
      else {
        if (counts.size >= this.#maxWords) this.#dropRarest();
        counts.set(flatCopy(word), 1);
      }
    }
  }

  /** How many different words there are. */
  get size(): number {
    return this.#counts.size;
  }

  /** How many occurrences of words were counted and then dropped with them; 0 when all counts are exact. */
  get dropped(): number {
    return this.#dropped;
  }

  /** The words with their counts, in the order in which they first came. */
  [Symbol.iterator](): IterableIterator<[string, number]> {
    return this.#counts.entries();
  }

  #dropRarest(): void {
    for (let rare = 1; this.#counts.size > this.#maxWords * 3 / 4; rare++) {
      for (const [word, count] of this.#counts) {
        if (count > rare) continue;
        this.#counts.delete(word);
        this.#dropped += count;
      }
    }
  }
}

/** What {@linkcode countWords} counts. */
export interface CountedCorpus {
  /** The words. */
  readonly counts: WordCounts;
  /** How many documents there are. */
  readonly documents: number;
  /** Their length in UTF-8. */
  readonly bytes: number;
}

/**
 * Counts the words of a corpus, in one pass and in pieces, so standard input and texts of any length will do.
 *
 * @param corpus The documents.
 * @param options How many different words are kept (`maxWords`), and who is told after every piece of 64 KiB
 * or less how many documents and bytes were read.
 *
 * @throws {RangeError} When there is nothing but white space.
 */
export async function countWords(
  corpus: Corpus,
  options: { maxWords?: number; onProgress?: (documents: number, bytes: number) => void } = {},
): Promise<CountedCorpus> {
  const counts = new WordCounts(options.maxWords);
  let documents = 0, bytes = 0;
  for await (const { text, first } of documentPieces(corpus)) {
    if (first) documents++;
    bytes += utf8Length(text);
    counts.add(text);
    options.onProgress?.(documents, bytes);
  }
  if (![...counts].some(([word]) => /\S/.test(word))) {
    throw new RangeError(
      `A corpus must hold text: got ${
        documents === 0 ? "no document" : "nothing but white space"
      }; name files that have some`,
    );
  }
  return { counts, documents, bytes };
}
