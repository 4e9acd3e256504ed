/**
 * The keys of a folder of derived files that can always be made again.
 *
 * A name in the cache is a hash of everything that the content was made from, so a file that is there is the
 * right one, and another version of this code, whose format is another, finds none and makes its own beside
 * it. The folder may be deleted at any time.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** Changes when what is made from the same input changes, so that old entries are no longer found. */
const FORMAT = 2;

/**
 * The SHA-256 digest of a text's UTF-8.
 *
 * @param text The text.
 * @returns 64 hexadecimal digits.
 */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Makes an entry's key from everything that decides its content.
 *
 * @param kind What the entry is, which starts its name.
 * @param inputs Digests and settings.
 */
export function cacheKey(kind: string, inputs: Readonly<Record<string, unknown>>): string {
  return `${kind}-${sha256(JSON.stringify({ FORMAT, kind, ...inputs })).slice(0, 32)}`;
}
