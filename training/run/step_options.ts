/**
 * From a run's configuration to what a `Trainer` is made of.
 *
 * @module
 */
import type { LanguageModel } from "../../models/model.ts";
import type { TrainerOptions } from "../step/recording.ts";
import { languageModelLoss } from "../step/trainer.ts";
import type { RunConfig } from "./config.ts";
import { runOptimizer } from "./optimizer.ts";

/** The training step of a configuration. */
export function stepOptions(config: RunConfig, model: LanguageModel): TrainerOptions {
  const { gradAccum, clip, seed, recompute, precision, kernels } = config;
  const record = languageModelLoss(model, config.batchSize, config.seqLen, config.crossDocument === false);
  return { record, optimizer: runOptimizer(config), gradAccum, clip, seed, recompute, precision, kernels };
}
