/**
 * What a model is to the rest of the toolkit: a recipe that records a forward pass over token ids.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Initializer } from "../gpu/parameters.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { SequenceContext } from "../ops/key_value_cache.ts";
import { fillNormal, fillUniform } from "../ops/random.ts";

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
   * @param context Where the tokens stand in sequences that are continued; default: each begins one.
   * @returns Hidden states [B, T, C].
   */
  hidden(g: Graph, tokens: Tensor, context?: SequenceContext): Tensor;
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
