/**
 * Token ids that come piece by piece, with those in memory that are still needed.
 *
 * @module
 */

import type { TokenArray, TokenReader } from "./token_ids.ts";

/** A stretch of token ids that grows at its end and is let go at its beginning. Dispose of it when done. */
export class TokenWindow implements TokenReader, AsyncDisposable {
  readonly #source: AsyncIterator<TokenArray>;
  /** Pieces that are held, and the place of the first id of each. */
  #pieces: { readonly start: number; readonly ids: TokenArray }[] = [];
  #length = 0;
  #ended = false;

  /**
   * Begins with nothing.
   *
   * @param pieces The ids, one piece after the other.
   */
  constructor(pieces: AsyncIterable<TokenArray>) {
    this.#source = pieces[Symbol.asyncIterator]();
  }

  /** How many ids have come so far, those that were let go included. */
  get length(): number {
    return this.#length;
  }

  /**
   * Waits until there are at least so many ids, or there are no more.
   *
   * @param length How many, from the very first on.
   */
  async fill(length: number): Promise<void> {
    while (this.#length < length && !this.#ended) {
      const { done, value } = await this.#source.next();
      if (done) this.#ended = true;
      else {
        this.#pieces.push({ start: this.#length, ids: value });
        this.#length += value.length;
      }
    }
  }

  /**
   * Lets go of the ids before a place.
   *
   * @param place The first that is still needed.
   */
  release(place: number): void {
    this.#pieces = this.#pieces.filter(({ start, ids }) => start + ids.length > place);
  }

  /**
   * Reads ids that lie side by side.
   *
   * @param start The place of the first.
   * @param target What to fill with them, all of it.
   * @throws {RangeError} When they are not all there.
   */
  read(start: number, target: Uint32Array): void {
    const end = start + target.length;
    const first = this.#pieces[0]?.start ?? this.#length;
    if (start < first || end > this.#length) {
      throw new RangeError(`Tokens must be read from ${first} to ${this.#length}: got ${start} to ${end}`);
    }
    for (const { start: place, ids } of this.#pieces) {
      const part = ids.subarray(Math.max(0, start - place), Math.max(0, end - place));
      if (part.length > 0) target.set(part, Math.max(0, place - start));
    }
  }

  /** Ends the source. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source.return?.();
  }
}
