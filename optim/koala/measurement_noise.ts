/**
 * The measurement noise R of the Kalman optimizers: a number, or an average over steps of how the losses of the
 * batch's sequences spread.
 *
 * @module
 */
import { f32 } from "../../gpu/wgsl.ts";
import { requireInRange, STATISTICS } from "../optimizer.ts";

/** Where the measurement noise R comes from: a number, or an average over steps of a statistic of the loss. */
export type MeasurementNoise = "variance" | "second-moment" | number;

/** Options about R. */
export interface MeasurementNoiseOptions {
  /**
   * Measurement noise R. `variance` (default) averages the variance of the batch's per-sequence losses,
   * `second-moment` the mean of their squares, a number is R itself.
   */
  readonly r?: MeasurementNoise;
  /** Decay of the average of R, which starts at 1; default 0.9. */
  readonly alphaR?: number;
}

/**
 * Checks the options.
 *
 * @param optimizer The factory's name, for the message.
 * @throws {RangeError} If one is out of range.
 */
export function requireMeasurementNoise(
  optimizer: string,
  { r, alphaR }: Required<MeasurementNoiseOptions>,
): void {
  requireInRange(optimizer, "alphaR", alphaR, { from: 0, below: 1 });
  if (typeof r === "number") requireInRange(optimizer, "r", r, { from: 0 });
  else if (r !== "variance" && r !== "second-moment") {
    throw new RangeError(
      `${optimizer}: r must be "variance", "second-moment" or a number, got ${JSON.stringify(r)}`,
    );
  }
}

/**
 * WGSL that declares `average` and `R`. The kernel binds `statistics`, and `run` whose first two values are the
 * average and 1 once it has started; it writes them back.
 */
export function measurementNoiseWgsl({ r, alphaR }: Required<MeasurementNoiseOptions>): string {
  const statistic = r === "second-moment" ? STATISTICS.lossSecondMoment : STATISTICS.lossVariance;
  return `
  let average = ${f32(alphaR)} * select(1.0, run[0], run[1] > 0.0) + ${
    f32(1 - alphaR)
  } * statistics[${statistic}];
  let R = ${typeof r === "number" ? f32(r) : "average"};`;
}
