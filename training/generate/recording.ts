/**
 * The recordings behind a `Generator`: some read a piece of a prompt into the cache, another adds a token to each
 * sequence. They need no GPU.
 *
 * @module
 */
import { withoutUnusedKernels } from "../../gpu/dead_kernels.ts";
import type { Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import type { LanguageModel } from "../../models/model.ts";
import { KeyValueCache } from "../../ops/attention/key_value_cache.ts";
import { headLogits } from "../../ops/cross_entropy/cross_entropy.ts";
import { type ChosenTokens, recordTokenChoice } from "./token_choice.ts";

/** Tokens of a prompt that are read at once: the most that a prompt nearly fills, until the shortest is left. */
const PIECES = [512, 128, 32];

/** The most sequences side by side: further ones would be computed by another kernel and may round otherwise. */
const MAX_BATCH = 32;

/** Tokens before a read: a wait of Deno's takes 10 ms, in which a small model computes some. */
const READ_EVERY = 16;
const MAX_READ_EVERY = 1024;

/** Options of `Generator.create`. */
export interface GeneratorOptions {
  /**
   * Sequences that are continued side by side, from 1 to 32; further ones wait for a free place. What a sequence
   * becomes does not depend on it. Default 1.
   */
  readonly batchSize?: number;
  /** Tokens that the model sees at most, no more than its `maxSeqLen`; less needs less memory. Default that. */
  readonly contextLength?: number;
  /**
   * Tokens of a sequence that are computed, at most, before the host reads them; fewer where they take long, so that
   * text comes steadily. What a sequence becomes does not depend on it, but up to twice as many tokens are computed in
   * vain after one that ends it. Default 16.
   */
  readonly readEvery?: number;
}

/** Recorded generation, for which no GPU is needed. */
export interface RecordedGeneration {
  /** Keys and values of all sequences. */
  readonly cache: KeyValueCache;
  /** Each reads a piece of a prompt, of the length that is its key; the longest first. */
  readonly prefill: ReadonlyMap<number, Graph>;
  /** Adds a token to every sequence, and makes its inputs those of the next run. */
  readonly decode: Graph;
  /** What was chosen by `decode`. */
  readonly choice: ChosenTokens;
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
  const { batchSize = 1, contextLength = model.maxSeqLen, readEvery = READ_EVERY } = options;
  expectInteger("The batch size of a generator", batchSize, MAX_BATCH);
  expectInteger("The context length of a generator", contextLength, model.maxSeqLen);
  expectInteger("The tokens that a generator computes before they are read", readEvery, MAX_READ_EVERY);
  const cache = new KeyValueCache(batchSize, contextLength);
  const record = (batch: number, length: number, keepsWeights: boolean) => {
    const g = new Graph({ profile, parameters, keepsWeights });
    const tokens = g.input("tokens", [batch, length], "u32");
    const context = cache.context(g, batch);
    return { g, tokens, context, hidden: model.hidden(g, tokens, { context }) }; // [B, T, C]
  };
  const prefill = new Map<number, Graph>();
  const shortest = Math.min(PIECES[PIECES.length - 1], contextLength);
  for (
    const length of PIECES.filter((length) => length <= contextLength && length > shortest).concat(shortest)
  ) {
    const { g } = record(1, length, false);
    // Only the cache counts here: the last block's output and what follows are not computed.
    const kernels = g.microKernels;
    kernels.splice(0, kernels.length, ...withoutUnusedKernels(kernels, kernels.length));
    prefill.set(length, g);
  }
  const { g: decode, tokens, context: { starts }, hidden } = record(batchSize, 1, true);
  const channels = hidden.shape[2];
  const logits = headLogits(decode, hidden.reshape(batchSize, channels), model.head(decode)); // [B, V]
  const choice = recordTokenChoice(decode, { logits, tokens, starts, kept: readEvery });
  return { cache, prefill, decode, choice };
}

function expectInteger(what: string, value: number, most: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= most) return;
  throw new RangeError(`${what} must be an integer from 1 to ${most}, got ${value}`);
}
