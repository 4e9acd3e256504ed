/**
 * Learning-rate schedules: pure functions from a step to its learning rate.
 *
 * @module
 */

/** The shapes {@linkcode learningRateSchedule} knows, for validation and help texts. */
export const SCHEDULE_KINDS = ["constant", "warmup-cosine", "warmup-linear", "warmup-stable-decay"] as const;

/** The shape of a schedule. */
export type ScheduleKind = typeof SCHEDULE_KINDS[number];

/** What a schedule is made of. */
export interface ScheduleOptions {
  /** The shape. */
  kind: ScheduleKind;
  /** The highest learning rate; finite and at least 0. */
  peak: number;
  /** The number of steps of the whole run, at least 1. Later steps keep the last step's rate. */
  totalSteps: number;
  /** The number of steps that lead up to the peak, 0 to `totalSteps`. Default: 0. */
  warmupSteps?: number;
  /** The last step's rate as a fraction of the peak, 0 to 1. Default: 0.1. `"constant"` ignores it. */
  minRatio?: number;
  /** The part of the run in which `"warmup-stable-decay"` decays, 0 to 1. Default: 0.2. */
  decayFraction?: number;
}

/**
 * Makes a learning-rate schedule.
 *
 * With `T` total steps, `W` warm-up steps and `m` the minimum ratio, the rate at the 0-based step `t` is the
 * peak times
 *
 * ```text
 * all kinds, t < W       (t + 1) / W
 * constant               1
 * warmup-cosine          m + (1 - m) (1 + cos(pi p)) / 2      p = (t - F) / (T - 1 - F),  F = max(W - 1, 0)
 * warmup-linear          m + (1 - m) (1 - p)                  p as above
 * warmup-stable-decay    1                                    t < T - D,  D = min(round(decayFraction T), T - W)
 *                        m + (1 - m) (1 - q)                  q = (t - (T - D) + 1) / D
 * ```
 *
 * So step 0 of a warm-up already learns (`peak / W`, not 0), step `F` is the first at the peak, and the last
 * step, `T - 1`, has exactly `m` times the peak (unless the warm-up takes the whole run). The decay from a
 * stable phase is due to MiniCPM, {@link https://arxiv.org/abs/2404.06395}; ours is linear.
 *
 * @param options The shape and its numbers.
 * @returns The learning rate of a step. It throws a `RangeError` unless the step is an integer of at least 0.
 * @throws {RangeError} If an option is out of its range.
 *
 * @example Warm up over 2 of 5 steps, then decay to zero
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * const rate = learningRateSchedule({
 *   kind: "warmup-linear",
 *   peak: 0.6,
 *   totalSteps: 5,
 *   warmupSteps: 2,
 *   minRatio: 0,
 * });
 * deepEqual([0, 1, 4].map(rate), [0.3, 0.6, 0]);
 * ```
 */
export function learningRateSchedule(options: ScheduleOptions): (step: number) => number {
  const { kind, peak, totalSteps, warmupSteps = 0, minRatio = 0.1, decayFraction = 0.2 } = options;
  requireThat(SCHEDULE_KINDS.includes(kind), `kind must be one of ${SCHEDULE_KINDS.join(", ")}`, kind);
  requireThat(Number.isFinite(peak) && peak >= 0, "peak must be a finite number of at least 0", peak);
  requireThat(
    Number.isSafeInteger(totalSteps) && totalSteps >= 1,
    "totalSteps must be an integer of at least 1",
    totalSteps,
  );
  requireThat(
    Number.isSafeInteger(warmupSteps) && warmupSteps >= 0 && warmupSteps <= totalSteps,
    `warmupSteps must be an integer from 0 to totalSteps (${totalSteps}), so that the peak is reached`,
    warmupSteps,
  );
  requireThat(minRatio >= 0 && minRatio <= 1, "minRatio must be a number from 0 to 1", minRatio);
  requireThat(
    decayFraction >= 0 && decayFraction <= 1,
    "decayFraction must be a number from 0 to 1",
    decayFraction,
  );

  const last = totalSteps - 1;
  const firstAtPeak = Math.max(warmupSteps - 1, 0);
  const decaySteps = Math.min(Math.round(decayFraction * totalSteps), totalSteps - warmupSteps);
  // Written as m + (1 - m) x, so that x = 0 and x = 1 give the two ends without rounding.
  const between = (x: number) => minRatio + (1 - minRatio) * x;
  // A run that ends at its peak has nowhere to decay to, and 0 / 0 is not a progress.
  const progress = (step: number) => last === firstAtPeak ? 0 : (step - firstAtPeak) / (last - firstAtPeak);
  const ratios: Record<ScheduleKind, (step: number) => number> = {
    "constant": () => 1,
    "warmup-cosine": (step) => between((1 + Math.cos(Math.PI * progress(step))) / 2),
    "warmup-linear": (step) => between(1 - progress(step)),
    "warmup-stable-decay": (step) => {
      const decayed = step - (totalSteps - decaySteps) + 1;
      return decayed > 0 ? between(1 - decayed / decaySteps) : 1;
    },
  };
  const ratio = ratios[kind];
  return (step) => {
    requireThat(Number.isSafeInteger(step) && step >= 0, "step must be an integer of at least 0", step);
    return step < warmupSteps ? peak * (step + 1) / warmupSteps : peak * ratio(Math.min(step, last));
  };
}

function requireThat(holds: boolean, invariant: string, received: unknown): void {
  if (!holds) throw new RangeError(`Cannot schedule the learning rate: ${invariant}, received ${received}`);
}
