/**
 * A run of `train-lm`: a language model of a configuration, trained on a dataset in a run's folder.
 *
 * @module
 */
import { readMetricsFile } from "../../checkpoint/run/metrics_file.ts";
import type { Checkpoint } from "../../checkpoint/run/training_state.ts";
import type { FloatTensors } from "../../checkpoint/safetensors/safetensors.ts";
import { Batches, sequentialBatchCount, sequentialBatches } from "../../data/batches.ts";
import { StepBatches } from "../../data/prefetch.ts";
import type { TokenDataset } from "../../data/tokens/dataset.ts";
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { DeviceLostError, type Gpu } from "../../gpu/device.ts";
import type { LanguageModel } from "../../models/model.ts";
import {
  type Evaluation,
  evaluationBatchSize,
  type EvaluationProgress,
  evaluationRecord,
  Evaluator,
} from "../evaluation.ts";
import { type EndEvent, isDue, type TrainEvent } from "../loop/events.ts";
import { NonFiniteLossError, train } from "../loop/train.ts";
import { Trainer } from "../step/trainer.ts";
import { RUN_VERSION, type RunConfig, scheduleFactor } from "./config.ts";
import { loadSome, loadTensors } from "./load_weights.ts";
import { type BestStep, type OpenRun, openRun } from "./open_run.ts";
import type { ModelDescription } from "./save_model.ts";
import { stepOptions } from "./step_options.ts";

/** How often a run does what does not change its weights. */
export interface RunIntervals {
  /** Read and log metrics every so many steps. */
  readonly logEvery: number;
  /** Evaluate every so many steps; 0 only at the end. */
  readonly evalEvery: number;
  /**
   * The most batches, of the size that `evaluationBatchSize()` gives, per evaluation on the way; 0 for all of the
   * held-out text, which the end always takes.
   */
  readonly evalBatches: number;
  /** Save a checkpoint every so many steps; 0 only at the end. */
  readonly saveEvery: number;
  /** Checkpoints to keep beside the best one. */
  readonly keep: number;
}

/** What a run needs. */
export interface RunOptions
  extends Pick<ModelDescription, "chatTemplate" | "tokenizerConfig" | "generationConfig"> {
  /** The device. */
  readonly gpu: Gpu;
  /** The run's folder. */
  readonly runDir: string;
  /** What decides the weights, and whether the run fits into memory. */
  readonly config: RunConfig;
  /** How often to log, evaluate and save. */
  readonly intervals: RunIntervals;
  /** The model. */
  readonly model: LanguageModel;
  /** Its tokenizer, saved with each checkpoint. */
  readonly tokenizer: Tokenizer;
  /** Token ids to train on and to evaluate with. */
  readonly dataset: TokenDataset;
  /** The folder's newest checkpoint, where to go on; default from the start. */
  readonly checkpoint?: Checkpoint;
  /** The weights to start from where there is no checkpoint; default random ones, of a LoRA its usual start. */
  readonly initial?: FloatTensors;
  /** Embeddings to start from where there is no checkpoint, in place of random ones; default none. */
  readonly embeddings?: FloatTensors;
  /** The weights that stay as they are; needed where the configuration has a LoRA. */
  readonly base?: FloatTensors;
  /** The caller's own lock of the folder, given back with the run; default: it is taken here. */
  readonly lock?: Disposable;
  /** Told how far an evaluation has come; default nobody is. */
  readonly onEvaluation?: (progress: EvaluationProgress & { readonly totalBatches: number }) => void;
}

/** The final weights were evaluated on all of the held-out text. */
export interface FinalEvent {
  /** Always `final`. */
  readonly kind: "final";
  /** How many steps are done. */
  readonly step: number;
  /** What the evaluation found. */
  readonly evaluation: Evaluation;
}

/** How a run ended. */
export interface RunEndEvent extends EndEvent {
  /** Folder of the last checkpoint. */
  readonly checkpoint: string;
  /** The step with the lowest evaluation among the saved ones; none where no loss was finite. */
  readonly best?: BestStep;
}

/** An event of a run. */
export type RunEvent = Exclude<TrainEvent<Evaluation>, EndEvent> | FinalEvent | RunEndEvent;

/**
 * Compiles a run's step and opens its folder.
 *
 * @returns The run, ready to train; destroy it when done, or declare it with `using`.
 * @throws {Deno.errors.Busy} If another process holds the folder.
 * @throws {TypeError} If the checkpoint or the initial weights belong to another model.
 * @throws {RangeError} If the checkpoint was trained on other text, or memory is too small.
 * @throws {GpuError} If the device reports an error.
 */
export async function startRun(options: RunOptions): Promise<Run> {
  const { gpu, config, model, dataset, tokenizer, checkpoint } = options;
  const { batchSize, seqLen, gradAccum, seed } = config;
  checkCorpus(options);
  const endId = documentEnd(config, tokenizer);
  using starting = new DisposableStack();
  const trainer = starting.adopt(await Trainer.create(gpu, stepOptions(config, model)), (t) => t.destroy());
  const { all } = trainer.parameters;
  // A LoRA's weights are another folder's; embeddings that stay as they are belong to the checkpoint.
  const weights = config.lora ? all.filter((p) => p.trainable) : all;
  if (options.base) await loadTensors(gpu, all.filter((p) => !p.trainable), options.base);
  if (!checkpoint && options.initial) await loadTensors(gpu, weights, options.initial);
  else if (!checkpoint && options.embeddings) await loadSome(gpu, trainer.parameters, options.embeddings);
  const order = new Batches(dataset.train, { batchSize, seqLen, endId, seed });
  const batches = new StepBatches(order, gradAccum);
  const evaluator = starting.adopt(
    await Evaluator.create(
      gpu,
      model,
      trainer.parameters,
      evaluationBatchSize(config, gpu.profile),
      seqLen,
      endId !== undefined,
    ),
    (e) => e.destroy(),
  );
  const folder = starting.use(
    await openRun<Evaluation>(options.runDir, {
      gpu,
      trainer,
      batches,
      weights,
      tokenizer,
      config: { ...model.config, ...specialTokens(config) },
      chatTemplate: options.chatTemplate,
      tokenizerConfig: options.tokenizerConfig,
      generationConfig: options.generationConfig,
      adapter: adapterOf(config),
      seeds: { seed, corpus: dataset.corpusDigest },
      keep: options.intervals.keep,
      lock: options.lock,
      configuration: {
        version: RUN_VERSION,
        config: { ...config },
        adapter: gpu.description,
        features: [...gpu.features],
        deno: Deno.version.deno,
      },
      evaluationRecord,
    }),
  );
  const owned = starting.move();
  return new Run(options, { trainer, batches, evaluator, folder, endId, destroy: () => owned.dispose() });
}

/** What a run is made of. */
interface RunParts {
  readonly trainer: Trainer;
  readonly batches: StepBatches;
  readonly evaluator: Evaluator;
  readonly folder: OpenRun<Evaluation>;
  readonly endId: number | undefined;
  readonly destroy: () => void;
}

/** A run that is ready to train. {@linkcode startRun} makes it. */
export class Run implements Disposable {
  readonly #options: RunOptions;
  readonly #parts: RunParts;

  /**
   * {@linkcode startRun} does it for you.
   *
   * @param options What the run was started with.
   * @param parts What it is made of.
   */
  constructor(options: RunOptions, parts: RunParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** The training step, whose parameters are the final ones at the end. */
  get trainer(): Trainer {
    return this.#parts.trainer;
  }

  /**
   * Trains to the last step, evaluates the final weights on all of the held-out text, and tells of all of it; metrics
   * and checkpoints are in the run's folder by then. Leaving the loop over its events saves a checkpoint.
   *
   * @param signal Ends the run after the step that is under way, which is saved; default: nothing does.
   * @throws {NonFiniteLossError} If the loss is not a number any more; the checkpoints before stay.
   * @throws {DeviceLostError} If the device is lost, with the checkpoint from which to go on.
   * @throws {GpuError} If the device reports an error.
   * @throws {Error} If a file cannot be written, with what to do about it.
   */
  async *train(signal: AbortSignal = new AbortController().signal): AsyncGenerator<RunEvent, void, void> {
    const { config, intervals } = this.#options;
    const { trainer, batches, folder } = this.#parts;
    const events = train<Evaluation>(trainer, {
      batches,
      signal,
      steps: config.steps,
      schedule: scheduleFactor(config),
      logEvery: intervals.logEvery,
      evalEvery: intervals.evalEvery,
      evaluate: (signal) => this.#evaluate(intervals.evalBatches, signal),
      saveEvery: intervals.saveEvery,
      save: folder.save,
    });
    try {
      for await (const event of events) {
        if (event.kind === "end") {
          const final = event.stopped ? undefined : await this.#final(signal);
          if (final) yield final;
          const { best, checkpoint } = folder;
          yield { ...event, stopped: final === undefined, best, checkpoint: checkpoint! };
        } else {
          if (event.kind !== "step" || isDue(event.step, intervals.logEvery, config.steps)) {
            await folder.record(event, config.optimizer.lr);
          }
          yield event;
        }
      }
    } catch (error) {
      if (error instanceof NonFiniteLossError) throw this.#explained(error);
      throw error instanceof DeviceLostError ? this.#lost(error) : error;
    }
  }

  async #evaluate(maxBatches: number, signal: AbortSignal): Promise<Evaluation> {
    const { gpu, dataset, tokenizer: { byteLengths }, onEvaluation, config } = this.#options;
    const { evaluator, endId } = this.#parts;
    const batchSize = evaluationBatchSize(config, gpu.profile);
    const shape = { batchSize, seqLen: config.seqLen, endId, ...(maxBatches > 0 ? { maxBatches } : {}) };
    const totalBatches = sequentialBatchCount(dataset.validation.length, shape);
    const onProgress = onEvaluation &&
      ((progress: EvaluationProgress) => onEvaluation({ ...progress, totalBatches }));
    const batches = sequentialBatches(dataset.validation, shape);
    return await evaluator.evaluate(batches, { byteLengths, onProgress, signal });
  }

  /** The evaluation at the end, with its line in the metrics; nothing if it was stopped. */
  async #final(signal: AbortSignal): Promise<FinalEvent | undefined> {
    const { metrics } = this.#parts.folder;
    const step = this.trainer.nextStep;
    if (signal.aborted) return undefined;
    const evaluation = await this.#evaluate(0, signal).catch((error) => {
      if (signal.aborted) return undefined;
      throw error;
    });
    if (!evaluation) return undefined;
    // A run that goes on at its end has the line already.
    const records = await readMetricsFile(metrics.path);
    const has = records.some((record) => record.step === step && "final" in record);
    if (!has) await metrics.append({ step, final: evaluationRecord(evaluation) });
    return { kind: "final", step, evaluation };
  }

  #explained({ step, loss, gradientNorm }: NonFiniteLossError): NonFiniteLossError {
    const { optimizer: { lr }, warmup, clip, precision } = this.#options.config;
    const { checkpoint } = this.#parts.folder;
    const kept = checkpoint ? `The last good checkpoint is ${checkpoint}` : "There was no checkpoint yet";
    return new NonFiniteLossError(
      { step, loss, gradientNorm },
      `${kept}. Try a lower --lr (now ${lr}), a longer --warmup (now ${warmup}) or a lower --clip ` +
        `(now ${clip || "off"})${precision === "f16" ? ", or --precision f32: f16 ends at 65,504" : ""}`,
    );
  }

  #lost({ message }: DeviceLostError): DeviceLostError {
    const { runDir, config: { batchSize, gradAccum } } = this.#options;
    const { checkpoint } = this.#parts.folder;
    const kept = checkpoint
      ? `The last checkpoint is ${checkpoint}; go on from it with --resume ${runDir}`
      : "There was no checkpoint yet; a lower --save-every makes them more frequent";
    return new DeviceLostError(
      `${message}. ${kept}. Where it happens again, start anew with a smaller --batch-size (now ${batchSize}) and a ` +
        `larger --grad-accum (now ${gradAccum})`,
    );
  }

  /** Gives back the folder and all buffers, the parameters' too. */
  destroy(): void {
    this.#parts.destroy();
  }

  /** Destroys it at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.destroy();
  }
}

function checkCorpus(
  { checkpoint, dataset, runDir, config: { data, validationData = [] } }: RunOptions,
): void {
  if (!checkpoint || checkpoint.state.seeds.corpus === dataset.corpusDigest) return;
  const isRemote = [...data, ...validationData].some((source) => /^https?:/i.test(source));
  throw new RangeError(
    `A resumed run must see the text that it was trained on, but the data of ${runDir} has changed; ` +
      `put it back, or start a new run${
        isRemote
          ? ". A run records addresses without query: if one has it, give the data again as they were"
          : ""
      }`,
  );
}

/** What makes the checkpoints of a LoRA adapter folders; nothing otherwise. */
function adapterOf({ lora }: RunConfig) {
  if (lora === undefined) return undefined;
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

/** Those of the model that the run started from, where it names its end. */
function specialTokens({ model }: RunConfig): Record<string, unknown> {
  const { bos_token_id, eos_token_id, pad_token_id } = model;
  return eos_token_id === undefined ? {} : { bos_token_id, eos_token_id, pad_token_id };
}

/** An evaluation in words. */
export function describe({ loss, perplexity, bitsPerByte }: Evaluation): string {
  const bits = bitsPerByte === undefined ? "" : `, ${bitsPerByte.toFixed(3)} bits per byte`;
  return `loss ${loss.toFixed(4)}, perplexity ${perplexity.toFixed(1)}${bits}`;
}
