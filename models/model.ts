/**
 * What a model is to the rest of the toolkit: a recipe that records a forward pass over token ids.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Initializer } from "../gpu/parameters.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { SequenceContext } from "../ops/attention/key_value_cache.ts";
import { fillNormal, fillUniform } from "../ops/random.ts";

/** Where tokens stand and what they see, for {@linkcode LanguageModel.hidden}. */
export interface HiddenOptions {
  /** Where the tokens stand in sequences that are continued; default: each begins one. */
  readonly context?: SequenceContext;
  /**
   * u32 [B, T]: the first position that each may attend to, such as the start of its document; default 0. Positions
   * count on from the row's beginning all the same.
   */
  readonly starts?: Tensor;
}

/** A language model. */
export interface LanguageModel {
  /** The content of config.json, in Hugging Face's own keys. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Number of token ids, V. */
  readonly vocabSize: number;
  /** The longest sequence. */
  readonly maxSeqLen: number;
  /**
   * Records the layers up to the final normalisation.
   *
   * @param g The graph to record in.
   * @param tokens u32 [B, T].
   * @param options Where the tokens stand and what they see.
   * @returns Hidden states [B, T, C].
   */
  hidden(g: Graph, tokens: Tensor, options?: HiddenOptions): Tensor;
  /**
   * The output head's weight.
   *
   * @returns [V, C].
   */
  head(g: Graph): Tensor;
}

/** Starting values from a normal distribution with mean 0. */
export function normal(std: number): Initializer {
  return (values, seed) => fillNormal(values, seed, std);
}

/** Starting values from a uniform distribution over [-bound, bound). */
export function uniform(bound: number): Initializer {
  return (values, seed) => fillUniform(values, seed, bound);
}

/** One starting value for all. */
export function constant(value: number): Initializer {
  return (values) => void values.fill(value);
}
