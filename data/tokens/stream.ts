/**
 * Token ids of a corpus while it is read.
 *
 * @module
 */

import { type RunPiece, type Split, splitRuns, withText } from "../corpus/split.ts";
import type { Corpus } from "../document.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { bytesPerToken, type TokenArray } from "./token_ids.ts";
import { type EncodedItem, startTokenizers } from "./parallel.ts";

/** A corpus shorter than this in UTF-8 is tokenised before workers have started. */
const WORTH_WORKERS = 1 << 20;
/** How long a piece is at most where the tokenizer's words are not known, in UTF-16 units. */
const BLIND_PIECE = 4 << 20;

/** How a corpus is tokenised. */
export interface TokenStreamOptions {
  /** The tokenizer. */
  readonly tokenizer: Tokenizer;
  /** How long the corpus is in UTF-8; unknown by default. */
  readonly bytes?: number;
  /** How many workers, 0 for none; by default one for each core, and none for less than 1 MiB of text. */
  readonly workers?: number;
}

/**
 * The runs of a corpus with their tokens, see {@linkcode splitRuns}.
 *
 * @param corpus The documents.
 * @param options The tokenizer and its workers, and the split.
 * @throws {RangeError} When the vocabulary has no token for a part of a text.
 */
export async function* encodeRuns(
  corpus: Corpus,
  { tokenizer, bytes = Infinity, workers, ...split }: TokenStreamOptions & Split,
): AsyncGenerator<EncodedItem<RunPiece>> {
  const pieces = tokenizer.takesPieces
    ? {}
    : { pieceLength: BLIND_PIECE, cut: (text: string) => text.length };
  using tokenizers = await startTokenizers(tokenizer, bytes < WORTH_WORKERS ? 0 : workers);
  yield* tokenizers.encode(splitRuns(corpus, split, pieces));
}

/** The token that goes between texts; null where the tokenizer has none. */
export function endOfText({ eosId, vocabSize }: Tokenizer): TokenArray | null {
  if (eosId === null) return null;
  return bytesPerToken(vocabSize) === 4 ? Uint32Array.of(eosId) : Uint16Array.of(eosId);
}

/**
 * All tokens of a corpus, those that `prepareTokens()` gives where nothing is held out, in pieces. The corpus is read
 * once, and memory does not grow with it.
 *
 * @param corpus The documents.
 * @param options See {@linkcode TokenStreamOptions}.
 *
 * @throws {RangeError} When the corpus has no text, at its end, or the vocabulary has no token for a part of it.
 */
export async function* streamTokens(corpus: Corpus, options: TokenStreamOptions): AsyncGenerator<TokenArray> {
  const eos = endOfText(options.tokenizer);
  let tokens = 0;
  for await (const { item, ids } of encodeRuns(withText(corpus), { ...options, threshold: 0 })) {
    if (item.first && tokens > 0 && eos !== null) yield eos;
    yield ids;
    tokens += ids.length;
  }
}
