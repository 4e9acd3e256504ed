/**
 * What the bench and its child processes say to each other: one JSON document a line, a question on the child's
 * standard input, its answer on standard output.
 *
 * @module
 */
import type { Precision } from "../gpu/precision/precision.ts";

/** Sizes of a GPT. */
export interface ModelShape {
  /** Blocks. */
  readonly layers: number;
  /** Width, C. */
  readonly width: number;
  /** Heads. */
  readonly heads: number;
  /** Tokens in a sequence, T. */
  readonly seqLen: number;
  /** Sequences, B. */
  readonly batch: number;
  /** Token ids, V. */
  readonly vocab: number;
}

/** A product of an [m, k] and a [k, n] matrix. */
export interface MatmulCase {
  /** Tells the cases apart. */
  readonly kind: "matmul";
  /** Rows of A. */
  readonly m: number;
  /** Columns of A. */
  readonly k: number;
  /** Columns of B. */
  readonly n: number;
  /** Whether A lies in memory as [k, m]. */
  readonly transposedA?: boolean;
  /** Whether B lies in memory as [n, k]. */
  readonly transposedB?: boolean;
}

/** A training step, or only what its optimizer does. */
export interface ModelCase {
  /** Tells the cases apart. */
  readonly kind: "step" | "update";
  /** The model. */
  readonly model: ModelShape;
  /** By its name in `train-lm`. */
  readonly optimizer: string;
  /** How we store activations; default f32. */
  readonly precision?: Precision;
}

/** Text to token ids, on one thread. */
export interface TokenizerCase {
  /** Tells the cases apart. */
  readonly kind: "tokenizer";
  /** What a `tokenizer.json` holds. */
  readonly tokenizer: string;
  /** The texts of a run. */
  readonly texts: readonly string[];
  /** Whether each run begins with a new tokenizer, which has met no word yet. */
  readonly cold: boolean;
}

/** Greedy generation with a cache of keys and values. */
export interface GenerationCase {
  /** Tells the cases apart. */
  readonly kind: "generation";
  /** The model; T is its longest sequence, and B how many are continued side by side. */
  readonly model: ModelShape;
  /** Tokens of each prompt. */
  readonly promptTokens: number;
  /** Tokens that are added to each. */
  readonly tokens: number;
}

/** What a child may be asked to measure. */
export type Case = MatmulCase | ModelCase | TokenizerCase | GenerationCase;

/** What a child says once it is ready to measure, its results checked. */
export interface Ready {
  /** Seconds of the first run, compilation included; absent where that means nothing. */
  readonly first?: number;
  /** Seconds of a run once it is warm, where running it only to know would take long. */
  readonly once?: number;
  /** Floating-point operations or bytes in a run, where the child is who knows. */
  readonly work?: number;
  /** Losses of the first steps on one batch. */
  readonly losses?: readonly number[];
  /** SHA-256 of all token ids as 32-bit little-endian numbers, in hexadecimal digits. */
  readonly ids?: string;
  /** Largest relative error of the result. */
  readonly error?: number;
}

/** A question. Cases that are prepared are told apart by an id. */
export type Question =
  | { readonly ask: "hello" }
  | { readonly ask: "ceilings" }
  | { readonly ask: "prepare"; readonly id: number; readonly case: Case }
  | { readonly ask: "time"; readonly id: number; readonly count: number }
  | { readonly ask: "release"; readonly id: number };

/** An answer: a value, or why there is none. */
export type Answer = { readonly value: unknown } | { readonly error: string };
