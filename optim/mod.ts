/**
 * Optimizers, each a factory of its hyper-parameters, what says which of them owns which parameters, and learning rates
 * over time. An optimizer of your own fills the {@linkcode Optimizer} contract. Nothing here needs Deno.
 *
 * @example KOALA++ on the hidden matrices, AdamW on the rest, both at full rate in the fifth step
 * ```ts
 * import { equal } from "node:assert/strict";
 * import {
 *   adamw,
 *   hiddenMatrices,
 *   koalaPlusPlus,
 *   learningRateSchedule,
 *   partition,
 * } from "@koala-lm/koala-lm/optim";
 *
 * const { optimizers } = partition([
 *   { owns: hiddenMatrices, optimizer: koalaPlusPlus({ lr: 0.02 }) },
 *   { optimizer: adamw({ lr: 0.006 }) },
 * ]);
 * // What a Trainer's step takes beside its inputs: a factor of every optimizer's own learning rate.
 * const rate = learningRateSchedule({ kind: "warmup-cosine", peak: 1, totalSteps: 100, warmupSteps: 5 });
 * equal(optimizers[1].scalars(4, rate(4))[0], 0.006);
 * ```
 *
 * @module
 */
export { adamw, type AdamWOptions } from "./adamw.ts";
export { koalaM, type KoalaMOptions, koalaV, type KoalaVOptions } from "./koala/koala.ts";
export { koalaPlusPlus } from "./koala/koala_plus_plus.ts";
export type { KoalaPlusPlusOptions } from "./koala/koala_plus_plus_scalars.ts";
export { lion, type LionOptions } from "./lion.ts";
export type { MeasurementNoise, MeasurementNoiseOptions } from "./koala/measurement_noise.ts";
export { muon, type MuonOptions } from "./muon.ts";
export type {
  Optimizer,
  OwnedParameters,
  OwnedState,
  RecordedUpdate,
  UpdateInputs,
  UpdateRecording,
} from "./optimizer.ts";
export { hiddenMatrices, type OptimizerPartition, partition, type PartitionRule } from "./partition.ts";
export { learningRateSchedule, SCHEDULE_KINDS, type ScheduleKind, type ScheduleOptions } from "./schedule.ts";
export { sgd, type SgdOptions } from "./sgd.ts";
export { soap, type SoapOptions } from "./soap.ts";
