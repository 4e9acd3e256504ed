/**
 * Tokenising many texts at once: what a worker does, or the calling thread where there is none.
 *
 * @module
 */

import { utf8Length } from "../tokenizer/byte_level.ts";
import type { TokenArray } from "./token_ids.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** The tokens of some texts. */
export interface EncodedTexts {
  /** The ids of all texts, one after the other; 32-bit where the vocabulary needs it. */
  readonly ids: TokenArray;
  /** How many ids each text has. */
  readonly counts: readonly number[];
  /** The length of each text in UTF-8. */
  readonly bytes: readonly number[];
}

/**
 * Tokenises texts, each on its own.
 *
 * @param tokenizer The tokenizer.
 * @param texts The texts.
 *
 * @throws {RangeError} When the vocabulary has no token for a part of a text.
 */
export function encodeTexts(tokenizer: Tokenizer, texts: readonly string[]): EncodedTexts {
  const encoded = texts.map((text) => tokenizer.encode(text));
  const counts = encoded.map((ids) => ids.length);
  const total = counts.reduce((a, b) => a + b, 0);
  const ids = tokenizer.vocabSize > 65536 ? new Uint32Array(total) : new Uint16Array(total);
  let at = 0;
  for (const part of encoded) {
    ids.set(part, at);
    at += part.length;
  }
  return { ids, counts, bytes: texts.map(utf8Length) };
}
