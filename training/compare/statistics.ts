/**
 * Numbers that sum up repeated measurements.
 *
 * @module
 */

/** A few values in short. */
export interface Spread {
  /** Their mean. */
  readonly mean: number;
  /** Sample standard deviation (divided by n - 1); 0 for a single value. */
  readonly deviation: number;
  /** The smallest. */
  readonly min: number;
  /** The largest. */
  readonly max: number;
}

/**
 * A quantile of some values, between two of them where it falls there.
 *
 * @param values At least one value, in any order.
 * @param share Which quantile, from 0 to 1; default 0.5, the median.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * equal(quantile([4, 1, 2, 3]), 2.5);
 * equal(quantile([4, 1, 2, 3, 5], 0.25), 2);
 * ```
 */
export function quantile(values: readonly number[], share = 0.5): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const below = Math.floor(at);
  return sorted[below] + (at - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
}

/**
 * Mean and spread of some values.
 *
 * @param values At least one value.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * deepEqual(spreadOf([1, 3]), { mean: 2, deviation: Math.SQRT2, min: 1, max: 3 });
 * ```
 */
export function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return {
    mean,
    deviation: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0,
    min: Math.min(...values),
    max: Math.max(...values),
  };
}
