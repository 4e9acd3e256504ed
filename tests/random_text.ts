/** Random texts and pieces of them, the same for the same seed. */
import { hash32, hashCombine } from "../ops/random.ts";

/** A source of random integers. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = hash32(seed + 1);
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    this.#state = hash32(this.#state + 0x9e3779b9);
    return this.#state % limit;
  }

  /** One of several. */
  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  /** A text of letters of one to four bytes, quotes, escapes, blanks and line ends. */
  text(length: number): string {
    const letters = [..."aAbB01 \t\n\n,;\"'\\{}éßЖ日本語😀\ufeff\u0085\u2028"];
    return Array.from({ length }, () => this.of(letters)).join("");
  }

  /** The bytes in pieces of random lengths. */
  *pieces(bytes: Uint8Array<ArrayBuffer>, longest: number): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + this.below(longest);
      yield bytes.subarray(at, end);
      at = end;
    }
  }
}

/** What a generator gives, as an asynchronous iterable. */
export async function* later<T>(items: Iterable<T>): AsyncGenerator<T> {
  for (const item of items) {
    await Promise.resolve();
    yield item;
  }
}

/** A text of paragraphs of 50 to 850 letters. */
export function paragraphs(seed: number, count: number): string {
  return Array.from({ length: count }, (_, i) => {
    const length = 10 + hashCombine(seed, i) % 160;
    return Array.from({ length }, (_, k) => (hashCombine(seed, i, k) % 9999).toString(36)).join(" ") + "\n\n";
  }).join("");
}
