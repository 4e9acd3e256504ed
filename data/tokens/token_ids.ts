/**
 * Token ids, in arrays or wherever else they can be read by place.
 *
 * @module
 */

/** Token ids: 16-bit where the vocabulary allows. */
export type TokenArray = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** Token ids that are somewhere else than in an array. */
export interface TokenReader {
  /** How many there are. */
  readonly length: number;
  /**
   * Reads ids that lie side by side.
   *
   * @param start The place of the first.
   * @param target What to fill with them, all of it.
   * @throws {RangeError} When they are not all there.
   */
  read(start: number, target: Uint32Array): void;
}

/** Token ids of any kind. */
export type TokenIds = Uint16Array | Uint32Array | TokenReader;

/** The width of an id in a file. */
export type BytesPerToken = 2 | 4;

/**
 * The width that a vocabulary needs.
 *
 * @param vocabSize How many ids there are.
 */
export function bytesPerToken(vocabSize: number): BytesPerToken {
  return vocabSize > 65536 ? 4 : 2;
}

/**
 * Copies ids that lie side by side.
 *
 * @param ids Where they are.
 * @param start The place of the first.
 * @param target What to fill with them, all of it.
 *
 * @throws {RangeError} When they are not all there.
 */
export function readTokens(ids: TokenIds, start: number, target: Uint32Array): void {
  if (!(start >= 0 && start + target.length <= ids.length)) {
    throw new RangeError(
      `Tokens must be read from 0 to ${ids.length}: got ${start} to ${start + target.length}`,
    );
  }
  if (ids instanceof Uint16Array || ids instanceof Uint32Array) {
    target.set(ids.subarray(start, start + target.length));
  } else ids.read(start, target);
}

/**
 * A stretch of token ids as token ids of their own; nothing is copied.
 *
 * @param ids The ids.
 * @param start The place of the first.
 * @param end The place after the last.
 */
export function tokenRange(ids: TokenIds, start: number, end: number): TokenReader {
  return { length: end - start, read: (at, target) => readTokens(ids, start + at, target) };
}
