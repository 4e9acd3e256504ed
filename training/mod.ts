/**
 * Training, evaluation and text: a {@linkcode Trainer} records loss, gradients, clipping and optimizers once and replays
 * them, {@linkcode train} is the loop around it, an {@linkcode openRun | open run} the folder that it can go on from, an
 * {@linkcode Evaluator} measures, a {@linkcode Generator} continues texts.
 *
 * @example Train on a text, then continue it
 * ```ts
 * import { equal } from "node:assert/strict";
 * import { requestGpu } from "@koala-lm/koala-lm/gpu";
 * import { gpt2 } from "@koala-lm/koala-lm/models";
 * import { adamw } from "@koala-lm/koala-lm/optim";
 * import { Generator, languageModelLoss, Trainer } from "@koala-lm/koala-lm/training";
 *
 * const gpu = await requestGpu();
 * const model = gpt2({ vocab_size: 8, n_positions: 16, n_embd: 32, n_layer: 1, n_head: 2 });
 * const trainer = await Trainer.create(gpu, {
 *   record: languageModelLoss(model, 2, 16),
 *   optimizer: adamw({ lr: 0.02 }),
 * });
 * const tokens = Uint32Array.from({ length: 32 }, (_, i) => i % 8);
 * const targets = tokens.map((id) => (id + 1) % 8);
 * for (let step = 0; step < 20; step++) trainer.step([{ tokens, targets }]);
 * const generator = await Generator.create(gpu, model, trainer.parameters);
 * equal((await generator.generate([0, 1, 2], { maxTokens: 3, temperature: 0 })).join(), "3,4,5");
 * generator.destroy();
 * trainer.destroy();
 * gpu.destroy();
 * ```
 *
 * @module
 */
export {
  type EvaluateOptions,
  evaluateTokens,
  type Evaluation,
  evaluationBatchSize,
  type EvaluationProgress,
  Evaluator,
  type EvaluatorOptions,
  type TokenBatch,
} from "./evaluation.ts";
export { type GenerateOptions, type GenerateRequest, Generator } from "./generate/generation.ts";
export type { GeneratorOptions } from "./generate/recording.ts";
export type {
  CheckpointEvent,
  EndEvent,
  EvaluationEvent,
  Scored,
  StepEvent,
  TrainEvent,
} from "./loop/events.ts";
export { NonFiniteLossError, train, type TrainingBatches, type TrainOptions } from "./loop/train.ts";
export { declareParameters, loadParameters, loadSome, loadTensors } from "./run/load_weights.ts";
export { adapterLayers } from "./run/lora.ts";
export {
  type BestStep,
  OpenRun,
  openRun,
  type OpenRunOptions,
  type ResumableBatches,
} from "./run/open_run.ts";
export { type ModelDescription, saveModel, type SaveModelOptions } from "./run/save_model.ts";
export {
  sampleToken,
  type SamplingOptions,
  type TokenDistribution,
  tokenDistribution,
} from "./generate/sampling.ts";
export {
  boundaryIds,
  type GeneratedText,
  generateTexts,
  promptIds,
  type TextRequest,
} from "./generate/text_generation.ts";
export type { RecordedLoss, StepInputs, TrainerOptions } from "./step/recording.ts";
export { languageModelLoss, type StepMetrics, Trainer } from "./step/trainer.ts";
