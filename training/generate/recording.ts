/**
 * The recordings behind a `Generator`: one reads a piece of a prompt into the cache, the other adds a token to each
 * sequence. They need no GPU.
 *
 * @module
 */
import { withoutUnusedKernels } from "../../gpu/dead_kernels.ts";
import type { Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { LanguageModel } from "../../models/model.ts";
import { KeyValueCache } from "../../ops/attention/key_value_cache.ts";
import { headLogits } from "../../ops/cross_entropy/cross_entropy.ts";

/** Tokens of a prompt that are read at once. */
export const PIECE = 32;

/** The most sequences side by side: further ones would be computed by another kernel and may round otherwise. */
const MAX_BATCH = 32;

/** Options of `Generator.create`. */
export interface GeneratorOptions {
  /**
   * Sequences that are continued side by side, from 1 to 32; further ones wait for a free place. What a sequence
   * becomes does not depend on it. Default 1.
   */
  readonly batchSize?: number;
  /** Tokens that the model sees at most, no more than its `maxSeqLen`; less needs less memory. Default that. */
  readonly contextLength?: number;
}

/** Recorded generation, for which no GPU is needed. */
export interface RecordedGeneration {
  /** Keys and values of all sequences. */
  readonly cache: KeyValueCache;
  /** Reads a piece of a prompt. */
  readonly prefill: Graph;
  /** Adds a token to every sequence. */
  readonly decode: Graph;
  /** Logits after `decode`, [1, B, V] in blocks of columns. */
  readonly logits: readonly Tensor[];
}

/**
 * Records generation.
 *
 * @param profile The adapter that it is for.
 * @param model The model.
 * @param parameters Its parameters.
 * @param options See {@linkcode GeneratorOptions}.
 * @throws {RangeError} If an option is out of range or a tensor is too large for the adapter.
 */
export function recordGeneration(
  profile: Profile,
  model: LanguageModel,
  parameters: ParameterStore,
  options: GeneratorOptions = {},
): RecordedGeneration {
  const { batchSize = 1, contextLength = model.maxSeqLen } = options;
  expectInteger("The batch size of a generator", batchSize, MAX_BATCH);
  expectInteger("The context length of a generator", contextLength, model.maxSeqLen);
  const cache = new KeyValueCache(batchSize, contextLength);
  const record = (batch: number, length: number) => {
    const g = new Graph({ profile, parameters });
    const tokens = g.input("tokens", [batch, length], "u32");
    return { g, hidden: model.hidden(g, tokens, { context: cache.context(g, batch) }) }; // [B, T, C]
  };
  const { g: prefill } = record(1, Math.min(PIECE, contextLength));
  // Only the cache counts here: the last block's output and what follows are not computed.
  const kernels = prefill.microKernels;
  kernels.splice(0, kernels.length, ...withoutUnusedKernels(kernels, kernels.length));
  const { g: decode, hidden } = record(batchSize, 1);
  const [, , channels] = hidden.shape;
  const logits = headLogits(decode, hidden.reshape(batchSize, channels), model.head(decode)); // [B, V]
  return { cache, prefill, decode, logits: logits.map((block) => decode.collect(block)) };
}

function expectInteger(what: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return;
  throw new RangeError(`${what} must be an integer from 1 to ${most}, got ${value}`);
}
