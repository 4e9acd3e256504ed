/**
 * The batches of a training step, read while the GPU works on the step before.
 *
 * @module
 */

import type { Batch, Batches, DataCursor } from "./batches.ts";

/**
 * The micro-batches of one step after the other, in the order of {@linkcode Batches}.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * import { Batches } from "./batches.ts";
 * const ids = Uint16Array.from({ length: 9 }, (_, i) => i);
 * const steps = new StepBatches(new Batches(ids, { batchSize: 1, seqLen: 2 }), 2);
 * equal(steps.next().length, 2);
 * // Here the step is given to the GPU, which copies the arrays.
 * steps.prepare();
 * equal(steps.cursor.position, 2);
 * ```
 */
export class StepBatches {
  readonly #batches: Batches;
  readonly #micro: readonly Batch[];
  #cursor: DataCursor;
  #ready = false;
  #milliseconds = 0;

  /**
   * Makes the arrays of one step.
   *
   * @param batches Where the batches come from; nobody else may take any.
   * @param perStep How many micro-batches a step has.
   */
  constructor(batches: Batches, perStep: number) {
    this.#batches = batches;
    this.#micro = Array.from({ length: perStep }, () => batches.emptyBatch());
    this.#cursor = batches.cursor;
  }

  /** Where the next step's batches begin, whether they were read ahead or not. */
  get cursor(): DataCursor {
    return this.#cursor;
  }

  /**
   * Goes on somewhere else; what was read ahead is dropped.
   *
   * @param cursor Where the next step's batches begin, such as an earlier {@linkcode StepBatches.cursor}.
   * @throws {RangeError} When it belongs to other data or another sequence length.
   */
  seek(cursor: DataCursor): void {
    this.#batches.seek(cursor);
    this.#cursor = this.#batches.cursor;
    this.#ready = false;
  }

  /**
   * For how long, in milliseconds, the caller has waited for batches: for those that were not ready, and also
   * for {@linkcode StepBatches.prepare}, during which a fast GPU may run out of work.
   */
  get waited(): number {
    return this.#milliseconds;
  }

  /**
   * The batches of the next step, at once if they were prepared.
   *
   * @returns The same arrays every time; they hold until {@linkcode StepBatches.prepare} or the next call.
   */
  next(): readonly Batch[] {
    this.prepare();
    this.#ready = false;
    this.#cursor = this.#batches.cursor;
    return this.#micro;
  }

  /** Reads the batches of the next step, unless they are there. Call it when the GPU has work. */
  prepare(): void {
    if (this.#ready) return;
    const started = performance.now();
    for (const batch of this.#micro) this.#batches.next(batch);
    this.#ready = true;
    this.#milliseconds += performance.now() - started;
  }
}
