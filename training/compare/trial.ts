/**
 * One run of a comparison of optimizers: trained from its seed to its last step without checkpoints, evaluated on
 * the way and at the end.
 *
 * Weights, batches and dropout follow from the seed alone, so runs of the same seed differ in nothing but their
 * optimizer.
 *
 * @module
 */
import type { FloatTensors } from "../../checkpoint/safetensors/safetensors.ts";
import { Batches, sequentialBatches } from "../../data/batches.ts";
import { StepBatches } from "../../data/prefetch.ts";
import type { TokenDataset } from "../../data/tokens/dataset.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { LanguageModel } from "../../models/model.ts";
import { type Evaluation, evaluationBatchSize, Evaluator } from "../evaluation.ts";
import { loadSome } from "../run/load_weights.ts";
import type { ProgressState } from "../progress.ts";
import { NonFiniteLossError, train } from "../loop/train.ts";
import { stepOptions } from "../run/step_options.ts";
import { type RunConfig, scheduleFactor } from "../run/config.ts";
import { Trainer } from "../step/trainer.ts";

/** What all runs of a comparison share. */
export interface TrialContext {
  /** The device. */
  readonly gpu: Gpu;
  /** The model. */
  readonly model: LanguageModel;
  /** Token ids to train on and to evaluate with. */
  readonly dataset: TokenDataset;
  /** Embeddings that every run starts from, in place of random ones; default none. */
  readonly embeddings?: FloatTensors;
  /** Digest of the tokenizer that the token ids are of. */
  readonly tokenizerDigest: string;
  /** Bytes that each token id stands for. */
  readonly byteLengths: ArrayLike<number>;
  /** How many times a run is evaluated, evenly spaced, the last time at its end. */
  readonly evalPoints: number;
  /** The most batches of each of these evaluations, see `evaluationBatchSize()`; 0 for all of the held-out text. */
  readonly evalBatches: number;
  /** Ends the run after the step that is under way. */
  readonly signal: AbortSignal;
}

/** A point of a run's curve. */
export interface CurvePoint {
  /** Steps done. */
  readonly step: number;
  /** Mean training loss since the point before. */
  readonly train_loss: number;
  /** Loss on the first batches of the held-out text. */
  readonly loss: number;
}

/** How a run ended. */
export interface TrialResult {
  /** Loss on all of the held-out text; null if the run diverged. */
  readonly loss: number | null;
  /** The same in bits per byte. */
  readonly bits_per_byte: number | null;
  /** The step at which loss or gradients stopped being finite; null if they did not. */
  readonly diverged_at: number | null;
  /** The points on the way, none after a divergence. */
  readonly curve: readonly CurvePoint[];
  /** Seconds by the clock, evaluations included; other work on the machine makes it longer. */
  readonly seconds: number;
}

/**
 * Trains and evaluates.
 *
 * @param config The run.
 * @param context See {@linkcode TrialContext}.
 * @param progress Told now and then how far it has come.
 * @returns The result, or undefined if it was interrupted.
 * @throws {GpuError} If the device reports an error or is lost.
 */
export async function trainTrial(
  config: RunConfig,
  context: TrialContext,
  progress: (state: ProgressState) => void,
): Promise<TrialResult | undefined> {
  const { gpu, model, dataset, byteLengths, signal } = context;
  const { batchSize, seqLen, gradAccum, steps, seed } = config;
  const started = performance.now();
  using parts = new DisposableStack();
  const trainer = parts.adopt(await Trainer.create(gpu, stepOptions(config, model)), (t) => t.destroy());
  if (context.embeddings) await loadSome(gpu, trainer.parameters, context.embeddings);
  const evaluator = parts.adopt(
    await Evaluator.create(gpu, model, trainer.parameters, evaluationBatchSize(config, gpu.profile), seqLen),
    (e) => e.destroy(),
  );
  const evaluate = (maxBatches: number): Promise<Evaluation> => {
    const shape = { batchSize: evaluationBatchSize(config, gpu.profile), seqLen };
    const batches = sequentialBatches(dataset.validation, {
      ...shape,
      ...(maxBatches > 0 ? { maxBatches } : {}),
    });
    return evaluator.evaluate(batches, { byteLengths, signal });
  };
  const curve: CurvePoint[] = [];
  const result = (loss: number | null, bits: number | null, divergedAt: number | null): TrialResult => ({
    loss,
    bits_per_byte: bits,
    diverged_at: divergedAt,
    curve,
    seconds: (performance.now() - started) / 1000,
  });
  let losses: number[] = [];
  try {
    const events = train<Evaluation>(trainer, {
      batches: new StepBatches(new Batches(dataset.train, { batchSize, seqLen, seed }), gradAccum),
      steps,
      schedule: scheduleFactor(config),
      evaluate: () => evaluate(context.evalBatches),
      evalEvery: evaluationSteps(steps, context.evalPoints),
      signal,
    });
    for await (const event of events) {
      if (event.kind === "step") {
        losses.push(event.loss);
        if (event.latest) progress(event);
      }
      if (event.kind === "evaluation") {
        const { step, evaluation: { loss } } = event;
        if (!Number.isFinite(loss)) return result(null, null, step);
        curve.push({ step, train_loss: losses.reduce((a, b) => a + b, 0) / losses.length, loss });
        losses = [];
      }
    }
  } catch (error) {
    if (error instanceof NonFiniteLossError) return result(null, null, error.step);
    throw error;
  }
  if (signal.aborted) return undefined;
  const final = await evaluate(0).catch((error) => {
    if (signal.aborted) return undefined;
    throw error;
  });
  if (!final) return undefined;
  const { loss, bitsPerByte } = final;
  return Number.isFinite(loss) ? result(loss, bitsPerByte!, null) : result(null, null, steps);
}

/** Evenly spaced steps, the last one among them. */
function evaluationSteps(steps: number, points: number): Set<number> {
  return new Set(Array.from({ length: points }, (_, i) => Math.max(1, Math.round((i + 1) * steps / points))));
}
