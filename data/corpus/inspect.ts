/**
 * What is in a corpus, found in one pass: sizes, lengths, duplicates, and how sequences of it look.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { utf8Length } from "../tokenizer/byte_level.ts";
import type { Corpus } from "../document.ts";
import { DigestSet } from "./digest_set.ts";
import { documentPieces } from "../tokenizer/pieces.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** How much one source gave. */
export interface SourceSize {
  /** The source, as it was given. */
  readonly name: string;
  /** How many documents it gave. */
  readonly documents: number;
  /** Their length in UTF-8. */
  readonly bytes: number;
  /** Their length in tokens; null without a tokenizer. */
  readonly tokens: number | null;
}

/** How many documents have about the same length. */
export interface LengthBar {
  /** The least length. */
  readonly from: number;
  /** The least length that is too long: twice `from`, or 1 where that is 0. */
  readonly below: number;
  /** How many documents are that long. */
  readonly documents: number;
}

/** The lengths of documents. */
export interface Lengths {
  /** In what they are counted: tokens where there is a tokenizer, else bytes in UTF-8. */
  readonly unit: "tokens" | "bytes";
  /** The shortest. */
  readonly min: number;
  /** The mean. */
  readonly mean: number;
  /** The longest. */
  readonly max: number;
  /** By powers of two, from the shortest to the longest. */
  readonly histogram: readonly LengthBar[];
}

/** A sequence as a model is given it. */
export interface SampleSequence {
  /** Its token ids. */
  readonly ids: readonly number[];
  /** The ids decoded, special tokens included. */
  readonly text: string;
}

/** What {@linkcode inspectCorpus} finds. */
export interface CorpusInspection {
  /** How many documents there are. */
  readonly documents: number;
  /** Their length in UTF-8. */
  readonly bytes: number;
  /** Their length in tokens, without those that separate them; null without a tokenizer. */
  readonly tokens: number | null;
  /** How many different ids occur; null without a tokenizer. */
  readonly usedIds: number | null;
  /** Documents that repeat an earlier one to the letter: how many, and their length in UTF-8. */
  readonly duplicates: { readonly documents: number; readonly bytes: number };
  /** How long documents are. */
  readonly lengths: Lengths;
  /** What each source gave, in the order in which they first came. */
  readonly sources: readonly SourceSize[];
  /** The first sequences. */
  readonly sequences: readonly SampleSequence[];
}

/** How {@linkcode inspectCorpus} looks at a corpus. */
export interface InspectOptions {
  /** Counts tokens; without it there are bytes only. */
  readonly tokenizer?: Tokenizer;
  /** How many sequences to give; 3 by default. */
  readonly sequences?: number;
  /** How many tokens a sequence has; 128 by default. */
  readonly seqLen?: number;
  /** Told after every piece of 64 KiB or less how much was read. */
  readonly onProgress?: (documents: number, bytes: number) => void;
}

/** Tokenizers that need a text whole are given pieces of so many UTF-16 units. */
const LONG_PIECE = 1 << 20;

/**
 * Reads a corpus once and tells what is in it. Memory grows by 16 to 32 bytes for each different document and
 * not with their length. Documents are told apart by 64 bits of SHA-256: among ten million different ones two
 * are taken for the same with a chance of 3 in a million.
 *
 * Sequences are as a trainer packs them: documents one after another, between them the token that ends a
 * text; but from the corpus's beginning, in order, and with nothing set aside for validation.
 *
 * A document of more than 1 Mi UTF-16 units is tokenised in pieces, also where the tokenizer is not plain
 * byte-level BPE; then a token or two may differ at each cut.
 *
 * @param corpus The documents.
 * @param options The tokenizer, and how many sequences of which length to give.
 *
 * @throws {RangeError} When the corpus has no document, or the vocabulary no token for a part of a text.
 *
 * @example Count documents and find duplicates
 * ```ts
 * import { inspectCorpus } from "./inspect.ts";
 *
 * const corpus = ["one", "two", "one"].map((text, i) => ({ name: `${i}`, text, part: 0 }));
 * const { documents, bytes, duplicates } = await inspectCorpus(corpus);
 * console.assert(documents === 3 && bytes === 9 && duplicates.documents === 1);
 * ```
 */
export async function inspectCorpus(corpus: Corpus, options: InspectOptions = {}): Promise<CorpusInspection> {
  const { tokenizer, sequences = 3, seqLen = 128, onProgress } = options;
  const total = { documents: 0, bytes: 0, tokens: 0 };
  const duplicates = { documents: 0, bytes: 0 };
  const seen = new DigestSet();
  const used = new Uint8Array(tokenizer?.vocabSize ?? 0);
  const lengths = new LengthCounts();
  const sources = new Map<string, { documents: number; bytes: number; tokens: number }>();
  const sample: number[] = [];
  const keep = (ids: readonly number[]) => {
    for (let i = 0; i < ids.length && sample.length < sequences * seqLen; i++) sample.push(ids[i]);
  };

  let hash = createHash("sha256");
  let document: { source: string; bytes: number; tokens: number } | undefined;
  const endDocument = () => {
    if (document === undefined) return;
    const { source, bytes, tokens } = document;
    const from = sources.get(source) ?? { documents: 0, bytes: 0, tokens: 0 };
    sources.set(source, from);
    for (const sum of [total, from]) {
      sum.documents++;
      sum.bytes += bytes;
      sum.tokens += tokens;
    }
    lengths.add(tokenizer === undefined ? bytes : tokens);
    if (!seen.add(hash.digest().readBigUInt64LE(0))) {
      duplicates.documents++;
      duplicates.bytes += bytes;
    }
  };

  const pieceLength = tokenizer === undefined || tokenizer.takesPieces ? undefined : LONG_PIECE;
  for await (const piece of documentPieces(corpus, pieceLength)) {
    if (piece.first) {
      endDocument();
      hash = createHash("sha256");
      if (document !== undefined && tokenizer?.eosId != null) keep([tokenizer.eosId]);
      document = { source: piece.document.source ?? "", bytes: 0, tokens: 0 };
    }
    hash.update(piece.text);
    document!.bytes += utf8Length(piece.text);
    const ids = tokenizer?.encode(piece.text) ?? [];
    document!.tokens += ids.length;
    for (const id of ids) used[id] = 1;
    keep(ids);
    onProgress?.(total.documents, total.bytes + document!.bytes);
  }
  endDocument();
  if (total.documents === 0) {
    throw new RangeError("A corpus must hold text: got no document; name files that have some");
  }

  const counted = <T>(value: T): T | null => tokenizer === undefined ? null : value;
  return {
    ...total,
    tokens: counted(total.tokens),
    usedIds: counted(used.reduce((sum, is) => sum + is, 0)),
    duplicates,
    lengths: { unit: tokenizer === undefined ? "bytes" : "tokens", ...lengths.summary() },
    sources: [...sources].map(([name, sums]) => ({ name, ...sums, tokens: counted(sums.tokens) })),
    sequences: tokenizer === undefined ? [] : cutSequences(sample, sequences, seqLen, tokenizer),
  };
}

function cutSequences(ids: number[], count: number, length: number, tokenizer: Tokenizer): SampleSequence[] {
  const whole = Math.min(count, Math.ceil(ids.length / length));
  return Array.from({ length: whole }, (_, i) => {
    const sequence = ids.slice(i * length, (i + 1) * length);
    return { ids: sequence, text: tokenizer.decode(sequence) };
  });
}

/** Counts lengths by powers of two. */
class LengthCounts {
  #count = 0;
  #sum = 0;
  #min = Infinity;
  #max = 0;
  readonly #bars: number[] = [];

  add(length: number): void {
    this.#count++;
    this.#sum += length;
    this.#min = Math.min(this.#min, length);
    this.#max = Math.max(this.#max, length);
    // A normaliser may leave a text no token; it goes to the shortest bar, from 0 to below 1.
    const bar = length === 0 ? 0 : 1 + Math.floor(Math.log2(length));
    this.#bars[bar] = (this.#bars[bar] ?? 0) + 1;
  }

  summary(): Omit<Lengths, "unit"> {
    const shortest = this.#bars.findIndex((documents) => documents > 0);
    const histogram = Array.from(this.#bars, (documents = 0, bar) => {
      return { from: bar === 0 ? 0 : 2 ** (bar - 1), below: 2 ** bar, documents };
    }).slice(shortest);
    return { min: this.#min, mean: this.#sum / this.#count, max: this.#max, histogram };
  }
}
