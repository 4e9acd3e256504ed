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
import { type Evaluation, Evaluator } from "../evaluation.ts";
import { loadSome } from "../run/load_weights.ts";
import type { ProgressState } from "../progress.ts";
import { stepOptions } from "../run/run.ts";
import { type RunConfig, scheduleFactor } from "../run/config.ts";
import { type StepMetrics, Trainer } from "../step/trainer.ts";

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
  /** Bytes that each token id stands for. */
  readonly byteLengths: ArrayLike<number>;
  /** How many times a run is evaluated, evenly spaced, the last time at its end. */
  readonly evalPoints: number;
  /** The most batches of each of these evaluations; 0 for all of the held-out text. */
  readonly evalBatches: number;
  /** Asked at each step; true ends the run. */
  readonly interrupted: () => boolean;
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

/** Metrics are read about this often, so that an interruption is noticed soon. */
const READ_SECONDS = 0.5;
/** The trainer keeps the metrics of 64 steps. */
const MOST_UNREAD = 64;

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
  const { gpu, model, dataset, byteLengths, evalBatches } = context;
  const { batchSize, seqLen, gradAccum, steps, seed } = config;
  const started = performance.now();
  const trainer = await Trainer.create(gpu, stepOptions(config, model));
  if (context.embeddings) await loadSome(gpu, trainer.parameters, context.embeddings);
  const evaluator = await Evaluator.create(gpu, model, trainer.parameters, batchSize, seqLen);
  const batches = new StepBatches(new Batches(dataset.train, { batchSize, seqLen, seed }), gradAccum);
  const factor = scheduleFactor(config);
  const points = evaluationSteps(steps, context.evalPoints);
  const curve: CurvePoint[] = [];
  let losses: number[] = [];
  const evaluate = (maxBatches: number): Promise<Evaluation> =>
    evaluator.evaluate(
      sequentialBatches(dataset.validation, { batchSize, seqLen, ...(maxBatches > 0 ? { maxBatches } : {}) }),
      byteLengths,
    );
  const result = (loss: number | null, bits: number | null, divergedAt: number | null): TrialResult => ({
    loss,
    bits_per_byte: bits,
    diverged_at: divergedAt,
    curve,
    seconds: (performance.now() - started) / 1000,
  });
  try {
    let unread = 0;
    let readEvery = 1;
    let since = performance.now();
    while (trainer.nextStep < steps) {
      if (context.interrupted()) return undefined;
      trainer.step(batches.next(), factor(trainer.nextStep));
      const step = trainer.nextStep;
      unread++;
      const due = points.has(step);
      if (due || unread >= readEvery) {
        const metrics = await trainer.metrics();
        const bad = metrics.find((m) => !isFinite(m));
        if (bad) return result(null, null, bad.step + 1);
        losses.push(...metrics.map((m) => m.loss));
        const seconds = (performance.now() - since) / 1000;
        const tokensPerSecond = unread * batchSize * seqLen * gradAccum / seconds;
        progress({ step, loss: losses[losses.length - 1], tokensPerSecond });
        readEvery = Math.max(1, Math.min(MOST_UNREAD, Math.floor(unread * READ_SECONDS / seconds)));
        unread = 0;
        since = performance.now();
      }
      if (due) {
        const { loss } = await evaluate(evalBatches);
        if (!Number.isFinite(loss)) return result(null, null, step);
        curve.push({ step, train_loss: losses.reduce((a, b) => a + b, 0) / losses.length, loss });
        losses = [];
        since = performance.now();
      }
      // Signals are delivered between turns of the event loop.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    const { loss, bitsPerByte } = await evaluate(0);
    return Number.isFinite(loss) ? result(loss, bitsPerByte!, null) : result(null, null, steps);
  } finally {
    evaluator.destroy();
    trainer.destroy();
  }
}

function isFinite({ loss, gradientNorm }: StepMetrics): boolean {
  return Number.isFinite(loss) && Number.isFinite(gradientNorm);
}

/** Evenly spaced steps, the last one among them. */
function evaluationSteps(steps: number, points: number): Set<number> {
  return new Set(Array.from({ length: points }, (_, i) => Math.max(1, Math.round((i + 1) * steps / points))));
}
