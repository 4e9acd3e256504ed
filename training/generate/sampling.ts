/**
 * Choosing the next token from logits, as `transformers` does it and in its order: repetition penalty,
 * temperature, top-k, top-p (arXiv 1904.09751), min-p (arXiv 2407.01082), then a draw from what is left. No GPU: a
 * `Generator` does the same there, see `token_choice.ts`.
 *
 * @module
 */
import { uniform } from "../../ops/random.ts";

/** How tokens are chosen. */
export interface SamplingOptions {
  /** Divides the logits; 0 always takes the likeliest token. Default 0.8. */
  readonly temperature?: number;
  /** Only the k likeliest tokens, and those as likely as the last of them; 0 for all. Default 0. */
  readonly topK?: number;
  /** Only the likeliest tokens whose probabilities add up to this; in (0, 1]. Default 1. */
  readonly topP?: number;
  /** Only tokens at least this many times as likely as the likeliest; in [0, 1]. Default 0. */
  readonly minP?: number;
  /**
   * For each token that occurred before, a positive logit is divided by this and a negative one multiplied with it
   * (arXiv 1909.05858); above 0, and 1 changes nothing. Default 1.
   */
  readonly repetitionPenalty?: number;
}

/** Tokens that may come next. */
export interface TokenDistribution {
  /** Their ids, in order. */
  readonly ids: Uint32Array;
  /** The probability of each. */
  readonly probabilities: Float64Array;
}

/**
 * Checks sampling options.
 *
 * @throws {RangeError} If one is out of range.
 */
export function checkSampling(options: SamplingOptions): void {
  const { temperature = 0.8, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new RangeError(`The temperature must be a number of at least 0, got ${temperature}`);
  }
  if (!(Number.isInteger(topK) && topK >= 0)) {
    throw new RangeError(`top-k must be an integer of at least 0, got ${topK}`);
  }
  if (!(topP > 0 && topP <= 1)) throw new RangeError(`top-p must be in (0, 1], got ${topP}`);
  if (!(minP >= 0 && minP <= 1)) throw new RangeError(`min-p must be in [0, 1], got ${minP}`);
  if (!(repetitionPenalty > 0 && repetitionPenalty < Infinity)) {
    throw new RangeError(`The repetition penalty must be a number above 0, got ${repetitionPenalty}`);
  }
}

/**
 * Draws a token id.
 *
 * @param logits One for each id.
 * @param options See {@linkcode SamplingOptions}.
 * @param seed Seed of the sequence of draws.
 * @param index Which draw of the sequence; the same seed and index give the same token.
 * @param previous The tokens before, for the repetition penalty; ids without a logit are ignored.
 * @throws {RangeError} If an option is out of range, a logit is NaN or infinite, or none is finite.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * equal(sampleToken([0, 3, 1], { temperature: 0 }, 1, 0), 1);
 * ```
 */
export function sampleToken(
  logits: ArrayLike<number>,
  options: SamplingOptions,
  seed: number,
  index: number,
  previous: Iterable<number> = [],
): number {
  const { ids, probabilities } = tokenDistribution(logits, options, previous);
  let left = uniform(seed, index);
  for (let i = 0; i < ids.length; i++) if ((left -= probabilities[i]) < 0) return ids[i];
  return ids[ids.length - 1];
}

/**
 * The tokens among which {@linkcode sampleToken} draws.
 *
 * @param logits One for each id.
 * @param options See {@linkcode SamplingOptions}.
 * @param previous The tokens before, for the repetition penalty; ids without a logit are ignored.
 * @throws {RangeError} If an option is out of range, a logit is NaN or infinite, or none is finite.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * deepEqual([...tokenDistribution([0, 3, 1, 2], { topK: 2 }).ids], [1, 3]);
 * ```
 */
export function tokenDistribution(
  logits: ArrayLike<number>,
  options: SamplingOptions,
  previous: Iterable<number> = [],
): TokenDistribution {
  checkSampling(options);
  const { temperature = 0.8, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1 } = options;
  const scores = repetitionPenalty === 1 ? logits : penalized(logits, repetitionPenalty, previous);
  const best = likeliest(scores);
  if (temperature === 0) return { ids: Uint32Array.of(best), probabilities: Float64Array.of(1) };
  const top = scores[best];
  const weights = Float64Array.from(scores, (score) => Math.exp((score - top) / temperature));
  let ids = Uint32Array.from(weights, (_, id) => id);
  if (topK > 0 && topK < ids.length) ids = largest(weights, ids, topK);
  if (topP < 1) ids = nucleus(weights, ids, topP);
  // The likeliest has the weight 1.
  if (minP > 0) ids = ids.filter((id) => weights[id] >= minP);
  if (ids.length < weights.length) ids.sort();
  const total = sumOf(weights, ids);
  return { ids, probabilities: Float64Array.from(ids, (id) => weights[id] / total) };
}

function penalized(logits: ArrayLike<number>, penalty: number, previous: Iterable<number>): Float32Array {
  const scores = Float32Array.from(logits);
  for (const id of new Set(previous)) {
    if (id < scores.length) scores[id] = scores[id] < 0 ? scores[id] * penalty : scores[id] / penalty;
  }
  return scores;
}

/** The id of the largest logit, the first of equals. */
function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i])) {
      throw new RangeError("The logits must be numbers, got NaN; the model's weights are broken");
    }
    if (logits[i] > logits[best]) best = i;
  }
  if (Number.isFinite(logits[best])) return best;
  throw new RangeError(
    `The largest logit must be finite, got ${
      logits[best]
    } of ${logits.length}; the model's weights are broken`,
  );
}

/** The fewest ids of the largest weights that have the share `topP` of all of theirs. */
function nucleus(weights: Float64Array, ids: Uint32Array, topP: number): Uint32Array<ArrayBuffer> {
  const wanted = topP * sumOf(weights, ids);
  // A few tokens mostly hold that share; to put a whole vocabulary in order takes long.
  for (let count = 64;; count *= 8) {
    const order = largest(weights, ids, count);
    let sum = 0;
    const last = order.findIndex((id) => (sum += weights[id]) >= wanted);
    if (last >= 0 || order.length === ids.length) return order.slice(0, last >= 0 ? last + 1 : undefined);
  }
}

/** The ids of the `count` largest weights and of all that equal the last of them, the largest first. */
function largest(weights: Float64Array, ids: Uint32Array, count: number): Uint32Array<ArrayBuffer> {
  const order = (a: number, b: number) => weights[b] - weights[a] || a - b;
  if (count >= ids.length) return Uint32Array.from(ids).sort(order);
  const least = kthLargest(Float64Array.from(ids, (id) => weights[id]), count);
  return Uint32Array.from(ids).filter((id) => weights[id] >= least).sort(order);
}

/** The value that has k - 1 values before it from the largest down (Hoare's selection). Reorders the values. */
function kthLargest(values: Float64Array, k: number): number {
  let [first, last] = [0, values.length - 1];
  while (first < last) {
    const pivot = values[(first + last) >> 1];
    let [i, j] = [first, last];
    while (i <= j) {
      while (values[i] > pivot) i++;
      while (values[j] < pivot) j--;
      if (i <= j) {
        const value = values[i];
        values[i++] = values[j];
        values[j--] = value;
      }
    }
    if (k - 1 <= j) last = j;
    else if (k - 1 >= i) first = i;
    else break;
  }
  return values[k - 1];
}

function sumOf(weights: Float64Array, ids: Uint32Array): number {
  let sum = 0;
  for (const id of ids) sum += weights[id];
  return sum;
}
