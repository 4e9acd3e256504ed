/**
 * Choosing the next token from logits. No GPU.
 *
 * @module
 */
import { uniform } from "../ops/random.ts";

/** How tokens are chosen. */
export interface SamplingOptions {
  /** Divides the logits; 0 always takes the likeliest token. Default 0.8. */
  readonly temperature?: number;
  /** Only the k likeliest tokens; 0 for all. Default 0. */
  readonly topK?: number;
  /** Only the likeliest tokens whose probabilities add up to this; in (0, 1]. Default 1. */
  readonly topP?: number;
}

/**
 * Checks sampling options.
 *
 * @throws {RangeError} If one is out of range.
 */
export function checkSampling({ temperature = 0.8, topK = 0, topP = 1 }: SamplingOptions): void {
  if (!(temperature >= 0)) throw new RangeError(`The temperature must be at least 0, got ${temperature}`);
  if (!(Number.isInteger(topK) && topK >= 0)) {
    throw new RangeError(`top-k must be an integer of at least 0, got ${topK}`);
  }
  if (!(topP > 0 && topP <= 1)) throw new RangeError(`top-p must be in (0, 1], got ${topP}`);
}

/**
 * Draws a token id.
 *
 * @param logits One for each id.
 * @param options See {@linkcode SamplingOptions}.
 * @param seed Seed of the sequence of draws.
 * @param index Which draw of the sequence; the same seed and index give the same token.
 * @throws {RangeError} If an option is out of range or a logit is NaN.
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
): number {
  checkSampling(options);
  const { temperature = 0.8, topK = 0, topP = 1 } = options;
  let best = 0;
  for (let i = 0; i < logits.length; i++) {
    if (Number.isNaN(logits[i])) {
      throw new RangeError("The logits must be numbers, got NaN; the model's weights are broken");
    }
    if (logits[i] > logits[best]) best = i;
  }
  if (temperature === 0) return best;
  const top = logits[best];
  const order = Array.from({ length: logits.length }, (_, i) => i);
  // Sorting is only needed to cut; equal logits keep the order of their ids.
  if (topK > 0 || topP < 1) order.sort((a, b) => logits[b] - logits[a] || a - b);
  const kept = topK > 0 ? order.slice(0, topK) : order;
  const weights = kept.map((id) => Math.exp((logits[id] - top) / temperature));
  let total = weights.reduce((a, b) => a + b, 0);
  if (topP < 1) {
    let sum = 0;
    const end = weights.findIndex((w) => (sum += w) >= topP * total) + 1;
    kept.length = weights.length = end > 0 ? end : weights.length;
    total = weights.reduce((a, b) => a + b, 0);
  }
  let left = uniform(seed, index) * total;
  for (let i = 0; i < kept.length; i++) if ((left -= weights[i]) < 0) return kept[i];
  return kept[kept.length - 1];
}
