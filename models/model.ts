/**
 * What a model is to the rest of the toolkit: a recipe that records a forward pass over token ids.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Initializer } from "../gpu/parameters.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { fillNormal } from "../ops/random.ts";

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
   * @param starts u32 [B, T]: the first position that each may attend to; default 0. Positions count on from
   * the row's beginning all the same.
   * @returns Hidden states [B, T, C].
   */
  hidden(g: Graph, tokens: Tensor, starts?: Tensor): Tensor;
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

/** One starting value for all. */
export function constant(value: number): Initializer {
  return (values) => void values.fill(value);
}
