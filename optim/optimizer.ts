/**
 * What an optimizer is: hyper-parameters, a few scalars that the host computes for each step, and kernels that
 * it records into the update phase of a training graph. Nothing that it needs from the GPU passes through the
 * host, so a step never waits.
 *
 * @module
 */
import type { Graph, UpdateSegment } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** Where in the statistics tensor a value lies (see `recordStatistics`). */
export const STATISTICS = {
  /** Mean of the micro-batches' losses. */
  loss: 0,
  /** Population variance over the step's per-sequence mean losses. */
  lossVariance: 1,
  /** Mean of the squares of the per-sequence mean losses. */
  lossSecondMoment: 2,
  /** Euclidean norm of all gradients together, before clipping. */
  gradientNorm: 3,
  /** What optimizers multiply every gradient with; 1 where nothing is clipped. */
  gradientScale: 4,
  /** 1 where the loss or the gradient norm is not finite: such a step must change nothing; else 0. */
  skip: 5,
} as const;

/** Number of values in the statistics tensor; those without a name are zero. */
export const STATISTICS_SIZE = 8;

/** Parameters of an optimizer. */
export interface OwnedParameters {
  /** Begins the names of its state tensors; unique in the graph. */
  readonly prefix: string;
  /** Its parameters and their gradients, from {@linkcode Graph.beginUpdate}; at least one segment. */
  readonly segments: readonly UpdateSegment[];
}

/** What an update needs to know of the whole step. */
export interface UpdateInputs {
  /** f32 [{@linkcode STATISTICS_SIZE}] on the GPU; see {@linkcode STATISTICS}. */
  readonly statistics: Tensor;
  /** f32 [{@linkcode Optimizer.scalarCount}]: what {@linkcode Optimizer.scalars} gave for this step. */
  readonly scalars: Tensor;
}

/**
 * A tensor of optimizer state, to be saved and restored by name. All state is zero at first, and a run that
 * has the same state, parameters and step number goes on in the same way bit for bit.
 */
export interface OwnedState {
  /** `PREFIX.KIND.PARAMETER`, or `PREFIX.run` for what belongs to no parameter. */
  readonly name: string;
  /** Has a buffer once the graph is compiled; of the parameter's shape where it has a value for each of its values. */
  readonly tensor: Tensor;
}

/** What an optimizer leaves behind when it has recorded its update. */
export interface RecordedUpdate {
  /** All its state. */
  readonly state: readonly OwnedState[];
  /** Numbers for metrics, where it has any: f32 [names.length], which may be read after any step. */
  readonly summary?: { readonly names: readonly string[]; readonly tensor: Tensor };
}

/** An optimizer, made by a factory such as `adamw({ lr })`. It holds hyper-parameters only. */
export interface Optimizer {
  /** In snake_case; begins the names of its state. */
  readonly name: string;
  /** How many values {@linkcode Optimizer.scalars} gives. */
  readonly scalarCount: number;
  /**
   * The values that change from step to step, in float64.
   *
   * @param step The step's number, from 0.
   * @param factor What the learning rate is multiplied with, as a schedule says.
   */
  scalars(step: number, factor: number): readonly number[];
  /**
   * Records the update, in the update phase of a graph. A generator, since the norm of all gradients, those of other
   * optimizers too, stands in its middle: it records sums over its own gradients and yields them, is given what the
   * update needs of the whole step, records the update and returns what it leaves behind.
   *
   * @param g The training graph.
   * @param parameters What it owns.
   * @returns Yields once: f32 [N, width], column 0 of which adds up to the squares of its gradients before clipping.
   * `gradientSquares` gives that; an optimizer may get it from a pass that it needs anyway.
   */
  record(g: Graph, parameters: OwnedParameters): UpdateRecording;
}

/** See {@linkcode Optimizer.record}. */
export type UpdateRecording = Generator<Tensor, RecordedUpdate, UpdateInputs>;

/**
 * Checks a hyper-parameter.
 *
 * @param optimizer The factory's name, for the message.
 * @param option The option's name.
 * @param value What was given.
 * @param range Smallest and largest allowed value; `below` for a bound that is itself excluded.
 * @throws {RangeError} If the value is not a number in this range.
 */
export function requireInRange(
  optimizer: string,
  option: string,
  value: number,
  range: { readonly from?: number; readonly above?: number; readonly below?: number },
): void {
  const { from = -Infinity, above = -Infinity, below = Infinity } = range;
  if (Number.isFinite(value) && value >= from && value > above && value < below) return;
  const bounds = [
    ...(range.from === undefined ? [] : [`at least ${from}`]),
    ...(range.above === undefined ? [] : [`above ${above}`]),
    ...(range.below === undefined ? [] : [`below ${below}`]),
  ];
  throw new RangeError(
    `${optimizer}: ${option} must be a finite number ${
      bounds.join(" and ")
    }, got ${value}; change it or leave it out`,
  );
}
