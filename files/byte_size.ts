/**
 * Sizes in bytes as Hugging Face writes them: decimal units, `2GB` or `500MB`.
 *
 * @module
 */

const UNITS: Readonly<Record<string, number>> = { TB: 1e12, GB: 1e9, MB: 1e6, KB: 1e3 };

/**
 * Reads a size.
 *
 * @param text A number, which may have a fraction, and `KB`, `MB`, `GB` or `TB` in any case: powers of 1000.
 * @returns The size in whole bytes, rounded down.
 * @throws {RangeError} If it is written in another way, or comes to less than a byte.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * equal(parseByteSize("1.5GB"), 1_500_000_000);
 * ```
 */
export function parseByteSize(text: string): number {
  const [, number, unit] = /^\s*(\d+(?:\.\d+)?)\s*([KMGT]B)\s*$/i.exec(text) ?? [];
  const bytes = unit === undefined ? NaN : Math.floor(Number(number) * UNITS[unit.toUpperCase()]);
  if (!(bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(
      `A size must be a number and KB, MB, GB or TB, such as 500MB, got ${JSON.stringify(text)}`,
    );
  }
  return bytes;
}
