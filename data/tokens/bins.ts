/**
 * Data that is tokenised already: files of bare token ids, such as nanoGPT's `train.bin` and `val.bin`.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import type { TokenDataset } from "./dataset.ts";
import { DEFAULT_VALIDATION_FRACTION } from "../corpus/split.ts";
import { TokenFiles } from "./files.ts";
import { bytesPerToken, readTokens, type TokenIds, tokenRange } from "./token_ids.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** How many ids are looked at together. */
const CHUNK = 1 << 18;

/** Options of {@linkcode openTokenFiles}. */
export interface TokenFilesOptions {
  /** Files with the training text's ids; several are one text. */
  train: readonly string[];
  /** Files with the validation text's ids. By default it is the end of the training files. */
  validation?: readonly string[];
  /** The tokenizer that made the ids: by its vocabulary they are 16-bit, or 32-bit where that is above 65,536. */
  tokenizer: Tokenizer;
  /** Without validation files, the share of all ids, at the end, that is set aside; 0.05 by default. */
  validationFraction?: number;
}

/**
 * Opens files of token ids as a dataset. They are read once, to see that the tokenizer knows every id and to
 * tell the digest.
 *
 * @param options The files and their tokenizer.
 *
 * @throws {RangeError} When an id is not in the vocabulary, or a file is cut short.
 * @throws {Error} If a file cannot be read, with what to do about it.
 */
export async function openTokenFiles(options: TokenFilesOptions): Promise<TokenDataset> {
  const { tokenizer, validationFraction = DEFAULT_VALIDATION_FRACTION } = options;
  const width = bytesPerToken(tokenizer.vocabSize);
  const open: TokenFiles[] = [];
  const close = () => open.forEach((files) => files.close());
  try {
    open.push(await TokenFiles.open(options.train, width));
    const [all] = open;
    let train: TokenIds = all;
    let validation: TokenIds;
    if (options.validation !== undefined) {
      open.push(await TokenFiles.open(options.validation, width));
      validation = open[1];
    } else {
      const cut = Math.floor(all.length * (1 - validationFraction));
      train = tokenRange(all, 0, cut);
      validation = tokenRange(all, cut, all.length);
    }
    const digest = createHash("sha256").update(`token ids, ${train.length} and ${validation.length}:`);
    const [first, second] = [train, validation].map((ids) => lookThrough(ids, tokenizer, digest));
    return {
      train,
      validation,
      trainBytes: first.bytes,
      validationBytes: second.bytes,
      documents: first.ends + second.ends,
      corpusDigest: digest.digest("hex"),
      cached: false,
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Checks ids, adds them to a digest, and tells their length as text and how often a text ends. */
function lookThrough(
  ids: TokenIds,
  { vocabSize, byteLengths, eosId }: Tokenizer,
  digest: Hash,
): { bytes: number; ends: number } {
  let bytes = 0, ends = 0;
  for (let start = 0; start < ids.length; start += CHUNK) {
    const chunk = new Uint32Array(Math.min(CHUNK, ids.length - start));
    readTokens(ids, start, chunk);
    digest.update(new Uint8Array(chunk.buffer));
    for (const [i, id] of chunk.entries()) {
      if (id >= vocabSize) {
        throw new RangeError(
          `Token ids must be below ${vocabSize}, the tokenizer's vocabulary: id ${
            start + i
          } is ${id}; give the tokenizer that made them`,
        );
      }
      bytes += byteLengths[id];
      if (id === eosId) ends++;
    }
  }
  return { bytes, ends };
}
