/**
 * The training loop of a run: batches in, metrics and checkpoints out, until the last step or an interruption.
 *
 * @module
 */
import { join } from "node:path";
import { type MetricsFile, openMetricsFile, readMetricsFile } from "../../checkpoint/run/metrics_file.ts";
import { cleanRunFolder, pruneCheckpoints, writeRunFile } from "../../checkpoint/run/run_folder.ts";
import type { FloatTensors, TensorToWrite } from "../../checkpoint/safetensors/safetensors.ts";
import { type Checkpoint, writeCheckpoint } from "../../checkpoint/run/training_state.ts";
import { Batches, type DataCursor, sequentialBatches } from "../../data/batches.ts";
import { StepBatches } from "../../data/prefetch.ts";
import type { TokenDataset } from "../../data/tokens/dataset.ts";
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { formatTokenizerJson } from "../../data/tokenizer/tokenizer_json.ts";
import type { Gpu } from "../../gpu/device.ts";
import { readTensors } from "../../gpu/readback.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { LanguageModel } from "../../models/model.ts";
import { type Evaluation, evaluationRecord, Evaluator } from "../evaluation.ts";
import { loadSome, loadTensors } from "./load_weights.ts";
import type { ProgressState } from "../progress.ts";
import { RUN_VERSION, type RunConfig, scheduleFactor } from "./config.ts";
import { runOptimizer } from "./optimizer.ts";
import type { TrainerOptions } from "../step/recording.ts";
import { languageModelLoss, type StepMetrics, Trainer } from "../step/trainer.ts";

/** How often a run does what does not change its weights. */
export interface RunIntervals {
  /** Read and log metrics every so many steps. */
  readonly logEvery: number;
  /** Evaluate every so many steps; 0 only at the end. */
  readonly evalEvery: number;
  /** The most batches per evaluation on the way; 0 for all of the held-out text, which the end always takes. */
  readonly evalBatches: number;
  /** Save a checkpoint every so many steps; 0 only at the end. */
  readonly saveEvery: number;
  /** Checkpoints to keep beside the best one. */
  readonly keep: number;
}

/** What a run needs. */
export interface RunOptions {
  /** The device. */
  readonly gpu: Gpu;
  /** The run's folder; it exists. */
  readonly runDir: string;
  /** What decides the weights, and whether the run fits into memory. */
  readonly config: RunConfig;
  /** How often to log, evaluate and save. */
  readonly intervals: RunIntervals;
  /** The model. */
  readonly model: LanguageModel;
  /** Its tokenizer, saved with each checkpoint. */
  readonly tokenizer: Tokenizer;
  /** The tokenizer's chat template, saved with it; default none. */
  readonly chatTemplate?: string;
  /** Token ids to train on and to evaluate with. */
  readonly dataset: TokenDataset;
  /** Where to go on; default from the start. */
  readonly checkpoint?: Checkpoint;
  /** The weights to start from where there is no checkpoint; default random ones, of a LoRA its usual start. */
  readonly initial?: FloatTensors;
  /** Embeddings to start from where there is no checkpoint, in place of random ones; default none. */
  readonly embeddings?: FloatTensors;
  /** The weights that stay as they are; needed where the configuration has a LoRA. */
  readonly base?: FloatTensors;
  /** Shown while running. */
  readonly progress: { update(state: ProgressState): void; log(line: string): void };
  /** Asked at each step; true saves a checkpoint and ends the run. */
  readonly interrupted: () => boolean;
}

/** How a run ended. */
export interface RunResult {
  /** Steps that are done. */
  readonly step: number;
  /** Whether it was interrupted. */
  readonly interrupted: boolean;
  /** The evaluation of the final weights on all of the held-out text; on the way, when interrupted. */
  readonly evaluation: Evaluation;
  /** Folder of the last checkpoint. */
  readonly checkpoint: string;
  /** The step with the lowest evaluation among the saved ones; none where no loss was finite. */
  readonly best?: { readonly step: number; readonly loss: number };
  /** Tokens per second of training, evaluation left out. */
  readonly tokensPerSecond: number;
  /** The share of that time in which the loop waited for data. */
  readonly dataWaitShare: number;
  /** The trainer, whose parameters are the final ones; destroy it when done. */
  readonly trainer: Trainer;
}

/** The loss or the gradients stopped being numbers. */
export class NonFiniteLossError extends Error {
  /** Always `NonFiniteLossError`. */
  override name = "NonFiniteLossError";
}

/**
 * Trains until the last step or an interruption.
 *
 * @throws {NonFiniteLossError} If the loss is not a number any more; the checkpoints before stay.
 * @throws {GpuError} If the device reports an error or is lost.
 * @throws {TypeError} If the checkpoint or the initial weights belong to another model.
 * @throws {RangeError} If the checkpoint was trained on other text.
 */
export async function trainRun(options: RunOptions): Promise<RunResult> {
  const { gpu, config, intervals, model, dataset, progress } = options;
  const { batchSize, seqLen, gradAccum, steps } = config;
  const endId = documentEnd(config, options.tokenizer);
  const trainer = await Trainer.create(gpu, stepOptions(config, model));
  const { all } = trainer.parameters;
  // A LoRA's weights are another folder's; embeddings that stay as they are belong to the checkpoint.
  const saved = config.lora ? all.filter((p) => p.trainable) : all;
  if (options.base) await loadTensors(gpu, all.filter((p) => !p.trainable), options.base);
  let cursor: DataCursor | undefined;
  let best: { step: number; loss: number } | undefined;
  if (options.checkpoint) {
    const { state } = options.checkpoint;
    if (state.seeds.corpus !== dataset.corpusDigest) {
      throw new RangeError(
        `A resumed run must see the text that it was trained on, but the data of ${options.runDir} has changed; ` +
          "put it back, or start a new run",
      );
    }
    const { model: weights, optimizer } = options.checkpoint;
    await loadTensors(gpu, saved, weights);
    await loadTensors(gpu, trainer.state, optimizer);
    trainer.nextStep = state.step;
    cursor = state.dataCursor as unknown as DataCursor;
    best = (state.metrics.best ?? undefined) as typeof best;
  } else if (options.initial) {
    await loadTensors(gpu, saved, options.initial);
  } else if (options.embeddings) {
    await loadSome(gpu, trainer.parameters, options.embeddings);
  }
  const shape = { batchSize, seqLen, endId };
  const batches = new StepBatches(
    new Batches(dataset.train, { ...shape, seed: config.seed, cursor }),
    gradAccum,
  );
  const evaluator = await Evaluator.create(
    gpu,
    model,
    trainer.parameters,
    batchSize,
    seqLen,
    endId !== undefined,
  );
  const factor = scheduleFactor(config);
  // From here on the folder changes; a checkpoint that does not fit must leave it as it was.
  await cleanRunFolder(options.runDir);
  await writeRunFile(options.runDir, {
    version: RUN_VERSION,
    config: { ...config },
    adapter: gpu.description,
    features: [...gpu.features],
    deno: Deno.version.deno,
  });
  using metricsFile = await openMetricsFile(join(options.runDir, "metrics.jsonl"), trainer.nextStep);

  const tokensPerStep = batchSize * seqLen * gradAccum;
  let evaluation: Evaluation | undefined;
  let evaluatedStep = -1;
  let checkpoint = options.checkpoint?.path ?? "";
  let seconds = 0;
  let trained = 0;
  let since = performance.now();
  let steadyRate = 0;
  let waited = 0;

  const evaluateOn = (maxBatches: number) =>
    evaluator.evaluate(
      sequentialBatches(dataset.validation, { ...shape, ...(maxBatches > 0 ? { maxBatches } : {}) }),
      options.tokenizer.byteLengths,
    );
  const evaluate = async () => {
    const at = trainer.nextStep;
    if (evaluatedStep === at) return evaluation!;
    evaluation = await evaluateOn(intervals.evalBatches);
    evaluatedStep = at;
    await metricsFile.append({ step: at, validation: evaluationRecord(evaluation) });
    progress.log(`step ${at}: validation ${describe(evaluation)}`);
    return evaluation;
  };
  const save = async () => {
    const { loss } = await evaluate();
    const step = trainer.nextStep;
    if (Number.isFinite(loss) && !(best && best.loss <= loss)) best = { step, loss };
    await metricsFile.flush();
    checkpoint = await writeCheckpoint(options.runDir, {
      model: {
        config: { ...model.config, ...specialTokens(options.tokenizer, config.model) },
        tensors: tensorsToWrite(gpu, saved),
        tokenizerJson: formatTokenizerJson(options.tokenizer.json),
        chatTemplate: options.chatTemplate,
        ...adapterOf(config),
      },
      optimizer: tensorsToWrite(gpu, trainer.state),
      state: {
        step,
        seeds: { seed: config.seed, corpus: dataset.corpusDigest },
        dataCursor: { ...batches.cursor },
        metrics: { validation: evaluationRecord(evaluation!), best: best ?? null },
      },
    });
    await pruneCheckpoints(options.runDir, intervals.keep, best?.step);
    return checkpoint;
  };
  const report = async () => {
    const done = await trainer.metrics();
    const now = performance.now();
    seconds += (now - since) / 1000;
    trained += done.length * tokensPerStep;
    steadyRate = done.length * tokensPerStep / ((now - since) / 1000);
    since = now;
    const dataWait = (batches.waited - waited) / Math.max(1, done.length);
    waited = batches.waited;
    for (const metrics of done) checkFinite(metrics, checkpoint, config);
    for (const metrics of done) {
      if (!isDue(metrics.step + 1, intervals.logEvery, steps)) continue;
      await appendMetrics(metricsFile, metrics, {
        lr: config.lr * factor(metrics.step),
        tokens_per_second: Math.round(steadyRate),
        data_wait_ms: Number(dataWait.toFixed(3)),
      });
    }
    const last = done[done.length - 1];
    if (!last) return;
    const { step, loss } = last;
    progress.update({ step: step + 1, loss, tokensPerSecond: steadyRate });
  };

  let reading: Promise<void> | undefined;
  while (trainer.nextStep < steps && !options.interrupted()) {
    trainer.step(batches.next(), factor(trainer.nextStep));
    if (trainer.nextStep < steps) batches.prepare();
    const step = trainer.nextStep;
    const evaluationDue = isDue(step, intervals.evalEvery, steps);
    const saveDue = isDue(step, intervals.saveEvery, steps);
    await reading;
    reading = undefined;
    if (evaluationDue || saveDue || trainer.ringIsFull) await report();
    // The next step is enqueued before these metrics are there: the GPU has no need to wait for them.
    else if (isDue(step, intervals.logEvery, steps)) {
      reading = report();
      reading.catch(() => {}); // thrown where it is awaited
    }
    // Signals are delivered between turns of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 0));
    if (evaluationDue) await evaluate();
    if (saveDue) await save();
    if (evaluationDue || saveDue) since = performance.now();
  }
  await reading;
  await report();
  const interrupted = trainer.nextStep < steps;
  if (interrupted || checkpoint === "") await save();
  const final = interrupted ? await evaluate() : await evaluateOn(0);
  if (!interrupted) {
    const step = trainer.nextStep;
    // A run that was resumed at its end has the line already.
    const records = await readMetricsFile(metricsFile.path);
    const has = records.some((record) => record.step === step && "final" in record);
    if (!has) await metricsFile.append({ step, final: evaluationRecord(final) });
  }
  evaluator.destroy();
  return {
    step: trainer.nextStep,
    interrupted,
    evaluation: final,
    checkpoint,
    best,
    tokensPerSecond: seconds > 0 ? trained / seconds : 0,
    dataWaitShare: seconds > 0 ? batches.waited / 1000 / seconds : 0,
    trainer,
  };
}

/** The training step of a configuration. */
export function stepOptions(config: RunConfig, model: LanguageModel): TrainerOptions {
  const { gradAccum, clip, seed, recompute, kernels } = config;
  const record = languageModelLoss(model, config.batchSize, config.seqLen, config.crossDocument === false);
  return { record, optimizer: runOptimizer(config), gradAccum, clip, seed, recompute, kernels };
}

/** What makes the checkpoints of a LoRA adapter folders; nothing otherwise. */
function adapterOf({ lora }: RunConfig) {
  if (lora === undefined) return {};
  const { base_weights: baseWeights, ...adapter } = lora;
  return { adapter, baseWeights };
}

/** The token that ends a document, where attention must know it. */
function documentEnd({ crossDocument }: RunConfig, { eosId }: Tokenizer): number | undefined {
  if (crossDocument !== false) return undefined;
  if (eosId !== null) return eosId;
  throw new RangeError(
    "Attention within documents needs a tokenizer with an end-of-text token, such as <|endoftext|>, and this " +
      "one has none; leave --no-cross-document out",
  );
}

/** The last step always is. */
function isDue(step: number, every: number, steps: number): boolean {
  return step === steps || (every > 0 && step % every === 0);
}

/** An evaluation in words. */
export function describe({ loss, perplexity, bitsPerByte }: Evaluation): string {
  const bits = bitsPerByte === undefined ? "" : `, ${bitsPerByte.toFixed(3)} bits per byte`;
  return `loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(1)}${bits}`;
}

function checkFinite({ step, loss, gradientNorm }: StepMetrics, checkpoint: string, config: RunConfig): void {
  if (Number.isFinite(loss) && Number.isFinite(gradientNorm)) return;
  const kept = checkpoint ? `the last good checkpoint is ${checkpoint}` : "there was no checkpoint yet";
  throw new NonFiniteLossError(
    `The loss must stay finite, but at step ${
      step + 1
    } it was ${loss} with gradient norm ${gradientNorm}; ${kept}. ` +
      `Try a lower --lr (now ${config.lr}), a longer --warmup (now ${config.warmup}) or a lower --clip ` +
      `(now ${config.clip || "off"})`,
  );
}

/** Appends a line: what the step gave, and the numbers of the loop around it. */
async function appendMetrics(
  file: MetricsFile,
  { step, loss, gradientNorm, gradientScale, summary }: StepMetrics,
  { lr, ...rest }: Readonly<Record<string, number>>,
): Promise<void> {
  const gradient = { gradient_norm: gradientNorm, gradient_scale: gradientScale };
  await file.append({ step: step + 1, loss, lr, ...gradient, ...rest, ...summary });
}

/** The most bytes of tensors that the host holds at once while saving. */
const HOST_BYTES = 256 << 20;

/** Reads small models in one go, since each read waits for the GPU, and large ones tensor by tensor. */
async function* tensorsToWrite(
  gpu: Gpu,
  tensors: readonly { readonly name: string; readonly tensor: Tensor }[],
): AsyncGenerator<TensorToWrite> {
  const bytes = tensors.reduce((sum, { tensor }) => sum + tensor.byteLength, 0);
  const all = bytes <= HOST_BYTES ? await readTensors(gpu, tensors.map((t) => t.tensor)) : undefined;
  for (const [i, { name, tensor }] of tensors.entries()) {
    const read = async () => new Uint8Array((all?.[i] ?? (await readTensors(gpu, [tensor]))[0]).buffer);
    yield { name, dtype: "F32", shape: tensor.shape, data: read };
  }
}

/** Those of the model that the run started from, else the tokenizer's end for both ends. */
function specialTokens({ eosId }: Tokenizer, model: RunConfig["model"]): Record<string, unknown> {
  const { bos_token_id, eos_token_id, pad_token_id } = model;
  if (eos_token_id !== undefined) return { bos_token_id, eos_token_id, pad_token_id };
  return eosId === null ? {} : { bos_token_id: eosId, eos_token_id: eosId };
}
