/**
 * What a training loop tells while it runs. Progress bars, metrics files, dashboards and tests are readers of these
 * events and no part of the loop.
 *
 * @module
 */

/** The least that the loop needs to know of an evaluation: what it is to be lowest in. */
export interface Scored {
  /** Mean loss, in nats. */
  readonly loss: number;
}

/** A step is done and its numbers are read, which may be several steps later. Every step has one, in order. */
export interface StepEvent {
  /** Always `step`. */
  readonly kind: "step";
  /** How many steps are done with this one: 1 for the first. */
  readonly step: number;
  /** Whether no later step is known of yet: the metrics of several steps are read at once. */
  readonly latest: boolean;
  /** Mean training loss, in nats. */
  readonly loss: number;
  /** Norm of all gradients together, before clipping. */
  readonly gradientNorm: number;
  /** What clipping multiplied the gradients with. */
  readonly gradientScale: number;
  /** What the schedule multiplied the learning rates with. */
  readonly scheduleFactor: number;
  /** Tokens per second since metrics were read before, evaluations left out; 0 where no input is called `tokens`. */
  readonly tokensPerSecond: number;
  /** Milliseconds per step in which the loop waited for batches, since metrics were read before. */
  readonly dataWait: number;
  /** The optimizers' own numbers, such as KOALA++'s R, by name. */
  readonly summary: Readonly<Record<string, number>>;
}

/** The model was evaluated. */
export interface EvaluationEvent<E extends Scored = Scored> {
  /** Always `evaluation`. */
  readonly kind: "evaluation";
  /** How many steps are done. */
  readonly step: number;
  /** What the evaluation found. */
  readonly evaluation: E;
}

/** A checkpoint was written. */
export interface CheckpointEvent {
  /** Always `checkpoint`. */
  readonly kind: "checkpoint";
  /** How many steps are done. */
  readonly step: number;
  /** What `save` returned: the checkpoint's folder. */
  readonly path: string;
}

/** The loop is over; nothing comes after it. */
export interface EndEvent {
  /** Always `end`. */
  readonly kind: "end";
  /** How many steps are done. */
  readonly step: number;
  /** Whether a signal ended it before the last step. */
  readonly stopped: boolean;
  /** Tokens per second of training, evaluations and checkpoints left out; 0 where no input is called `tokens`. */
  readonly tokensPerSecond: number;
  /** The share of that time in which the loop waited for batches. */
  readonly dataWaitShare: number;
}

/** An event of {@linkcode train}. */
export type TrainEvent<E extends Scored = Scored> =
  | StepEvent
  | EvaluationEvent<E>
  | CheckpointEvent
  | EndEvent;

/**
 * Whether something that is done every so many steps is due; after the last step everything is.
 *
 * @param step How many steps are done.
 * @param every Every so many, or at these steps; 0 only at the end.
 * @param steps Steps of the whole run.
 */
export function isDue(step: number, every: number | ReadonlySet<number>, steps: number): boolean {
  if (step === steps) return true;
  return typeof every === "number" ? every > 0 && step % every === 0 : every.has(step);
}
