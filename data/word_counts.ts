/**
 * Counting the words of a corpus, which is all that BPE training needs of it.
 *
 * @module
 */

import { flatCopy, wordPattern } from "./byte_level.ts";

/** How often each word occurs, by GPT-2's word pattern. Memory grows with the different words only. */
export class WordCounts {
  readonly #pattern = wordPattern();
  readonly #counts = new Map<string, number>();

  /**
   * Counts the words of a text. Texts are counted independently: no word spans two of them.
   *
   * @param text Any length; a long text may be given in pieces that are cut where white space begins.
   */
  add(text: string): void {
    const counts = this.#counts;
    for (const word of text.match(this.#pattern) ?? []) {
      const count = counts.get(word);
      if (count === undefined) counts.set(flatCopy(word), 1);
      else counts.set(word, count + 1);
    }
  }

  /** How many different words there are. */
  get size(): number {
    return this.#counts.size;
  }

  /** The words with their counts, in the order in which they first came. */
  [Symbol.iterator](): IterableIterator<[string, number]> {
    return this.#counts.entries();
  }
}
