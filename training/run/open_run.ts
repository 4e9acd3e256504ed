/**
 * A run's folder while it trains: held by one process, gone on with where its last checkpoint is, filled with metrics
 * and further checkpoints.
 *
 * @module
 */
import { join } from "node:path";
import type { AdapterFolderContents } from "../../checkpoint/adapter/folder.ts";
import { type MetricsFile, openMetricsFile } from "../../checkpoint/run/metrics_file.ts";
import {
  cleanRunFolder,
  latestCheckpoint,
  pruneCheckpoints,
  writeRunFile,
} from "../../checkpoint/run/run_folder.ts";
import { readCheckpoint, type TrainingState, writeCheckpoint } from "../../checkpoint/run/training_state.ts";
import { explained } from "../../files/atomic_file.ts";
import type { JsonObject } from "../../files/json_file.ts";
import { holdFolder } from "../../files/lock_file.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { Parameter } from "../../gpu/parameters.ts";
import type { Scored, TrainEvent } from "../loop/events.ts";
import type { TrainingBatches } from "../loop/train.ts";
import type { Trainer } from "../step/trainer.ts";
import { loadTensors } from "./load_weights.ts";
import { type ModelDescription, modelDocuments, tensorsToWrite } from "./save_model.ts";

/** Batches that a run can go on with; `StepBatches` is one. */
export interface ResumableBatches<Cursor = unknown> extends TrainingBatches {
  /** Where the next step's batches begin; JSON must hold it. */
  readonly cursor: Cursor;
  /** Goes on there. */
  seek(cursor: Cursor): void;
}

/** What {@linkcode openRun} takes. */
export interface OpenRunOptions<E extends Scored = Scored> extends ModelDescription {
  /** The device. */
  readonly gpu: Gpu;
  /** The step. Its weights are overwritten where the run goes on. */
  readonly trainer: Trainer;
  /** The batches. */
  // deno-lint-ignore no-explicit-any
  readonly batches: ResumableBatches<any>;
  /** What must be the same whenever the run goes on, such as its seed and its data's digest; default nothing. */
  readonly seeds?: JsonObject;
  /** The parameters that checkpoints hold; default all. */
  readonly weights?: readonly Parameter[];
  /** What makes checkpoints the folders of an adapter; default: they are the model's. */
  readonly adapter?: Pick<AdapterFolderContents, "adapter" | "baseWeights">;
  /** Content of `run.json`; default: none is written. */
  readonly configuration?: Readonly<Record<string, unknown>>;
  /** Checkpoints to keep beside the best one; default 2. */
  readonly keep?: number;
  /** An evaluation as JSON, for checkpoints and metrics; default its loss. */
  readonly evaluationRecord?: (evaluation: E) => JsonObject;
  /** The caller's own lock of the folder, given back with the run; default: it is taken here. */
  readonly lock?: Disposable;
}

/** A step, and how good it was. */
export interface BestStep {
  /** How many steps were done. */
  readonly step: number;
  /** The evaluation's loss. */
  readonly loss: number;
}

/**
 * Opens a run's folder to train. If it has a checkpoint, weights, optimizer, batches and step are those of the newest
 * one, and what follows is what would have followed: the same run, interrupted anywhere, gives the same weights on the
 * same adapter. Nothing in the folder changes before all of that fits.
 *
 * @param dir The folder; made if it does not exist.
 * @param options See {@linkcode OpenRunOptions}.
 * @returns The run; close it, or declare it with `using`.
 * @throws {Deno.errors.Busy} If another process, or another run of this one, holds the folder.
 * @throws {TypeError} If the checkpoint is of another model or optimizer.
 * @throws {RangeError} If one of `seeds` is another, or the data are.
 * @throws {SyntaxError} If a file of the checkpoint is broken or cut short.
 * @throws {Error} If a file cannot be read or written, with what to do about it.
 *
 * @example A run that goes on where it was, however often it is started
 * ```ts ignore
 * using run = await openRun("runs/mine", { gpu, trainer, batches, config: model.config, tokenizer });
 * for await (const event of train(trainer, { batches, steps: 1000, save: run.save, saveEvery: 100 })) {
 *   await run.record(event);
 * }
 * ```
 */
export async function openRun<E extends Scored = Scored>(
  dir: string,
  options: OpenRunOptions<E>,
): Promise<OpenRun<E>> {
  await explained(`Cannot make the run folder ${dir}`, () => Deno.mkdir(dir, { recursive: true }));
  using opening = new DisposableStack();
  opening.use(options.lock ?? await holdFolder(dir, "the run folder"));
  const last = await latestCheckpoint(dir);
  const state = last ? await restore(last.path, dir, options) : undefined;
  // From here on the folder changes; a checkpoint that does not fit must leave it as it was.
  await cleanRunFolder(dir);
  if (options.configuration) await writeRunFile(dir, options.configuration);
  const metrics = opening.use(
    await openMetricsFile(join(dir, "metrics.jsonl"), options.trainer.nextStep),
  );
  const held = opening.move();
  return new OpenRun(dir, options, { metrics, checkpoint: last?.path, state, close: () => held.dispose() });
}

/** Puts everything where the checkpoint has it. */
async function restore<E extends Scored>(
  path: string,
  dir: string,
  { gpu, trainer, batches, seeds = {}, weights }: OpenRunOptions<E>,
): Promise<TrainingState> {
  using checkpoint = await readCheckpoint(path);
  const { state } = checkpoint;
  for (const [name, value] of Object.entries(seeds)) {
    const [recorded, now] = [state.seeds[name], value].map((v) => JSON.stringify(v) ?? "nothing");
    if (recorded === now) continue;
    throw new RangeError(
      `A run that goes on must keep its ${name}, which was ${recorded} in ${dir}, got ${now}; ` +
        "put it back, or use another folder for a new run",
    );
  }
  await loadTensors(gpu, weights ?? trainer.parameters.all, checkpoint.model);
  await loadTensors(gpu, trainer.state, checkpoint.optimizer);
  batches.seek(state.dataCursor);
  trainer.nextStep = state.step;
  return state;
}

/** A run's folder, open to train. {@linkcode openRun} makes it. */
export class OpenRun<E extends Scored = Scored> implements Disposable {
  readonly #options: OpenRunOptions<E>;
  readonly #metrics: MetricsFile;
  readonly #close: () => void;
  #checkpoint?: string;
  #best?: BestStep;
  /** The folder. */
  readonly dir: string;
  /** The step at which it goes on; 0 for a new run. */
  readonly startStep: number;

  /**
   * {@linkcode openRun} does it for you.
   *
   * @param dir The folder, which is held.
   * @param options What it was opened with.
   * @param found What was found there.
   */
  constructor(
    dir: string,
    options: OpenRunOptions<E>,
    found: {
      readonly metrics: MetricsFile;
      readonly checkpoint?: string;
      readonly state?: TrainingState;
      readonly close: () => void;
    },
  ) {
    this.dir = dir;
    this.startStep = options.trainer.nextStep;
    this.#options = options;
    this.#metrics = found.metrics;
    this.#checkpoint = found.checkpoint;
    this.#best = (found.state?.metrics.best ?? undefined) as BestStep | undefined;
    this.#close = found.close;
  }

  /** Folder of the newest checkpoint; undefined before there is one. */
  get checkpoint(): string | undefined {
    return this.#checkpoint;
  }

  /** The lowest evaluation among the checkpoints; undefined where no loss was finite. */
  get best(): BestStep | undefined {
    return this.#best;
  }

  /** `metrics.jsonl`. */
  get metrics(): MetricsFile {
    return this.#metrics;
  }

  /**
   * Writes a checkpoint of the trainer as it is now, and removes old ones. It can be given to `train()` as it is.
   *
   * @param evaluation That of these weights; default none.
   * @returns The checkpoint's folder.
   * @throws {Error} If it cannot be written, with what to do about it; those before stay.
   */
  readonly save = async (evaluation?: E): Promise<string> => {
    const { gpu, trainer, batches, seeds = {}, weights, adapter, keep = 2 } = this.#options;
    const step = trainer.nextStep;
    const loss = evaluation?.loss;
    if (loss !== undefined && Number.isFinite(loss) && !(this.#best && this.#best.loss <= loss)) {
      this.#best = { step, loss };
    }
    await this.#metrics.flush();
    const tensors = tensorsToWrite(gpu, weights ?? trainer.parameters.all);
    this.#checkpoint = await writeCheckpoint(this.dir, {
      model: { ...modelDocuments(this.#options), tensors, ...adapter },
      optimizer: tensorsToWrite(gpu, trainer.state),
      state: {
        step,
        seeds,
        dataCursor: { ...batches.cursor },
        metrics: {
          ...(evaluation ? { validation: this.#recordOf(evaluation) } : {}),
          best: this.#best ? { ...this.#best } : null,
        },
      },
    });
    await pruneCheckpoints(this.dir, keep, this.#best?.step);
    return this.#checkpoint;
  };

  /**
   * Appends an event of `train()` to `metrics.jsonl`. Wait for it before the next event, so that no checkpoint outlives
   * the lines before it.
   *
   * @param event A step or an evaluation; others leave no line.
   * @param lr The learning rate at the schedule's peak, so that the line has the step's; default 1.
   * @throws {Error} If the line cannot be written, with what to do about it.
   */
  async record(event: TrainEvent<E>, lr = 1): Promise<void> {
    const { step } = event;
    if (event.kind === "evaluation") {
      await this.#metrics.append({ step, validation: this.#recordOf(event.evaluation) });
    }
    if (event.kind !== "step") return;
    await this.#metrics.append({
      step,
      loss: event.loss,
      lr: lr * event.scheduleFactor,
      gradient_norm: event.gradientNorm,
      gradient_scale: event.gradientScale,
      tokens_per_second: Math.round(event.tokensPerSecond),
      data_wait_ms: Number(event.dataWait.toFixed(3)),
      ...event.summary,
    });
  }

  #recordOf(evaluation: E): JsonObject {
    return this.#options.evaluationRecord?.(evaluation) ?? { loss: evaluation.loss };
  }

  /** Closes the metrics file and gives the folder back. The trainer stays. */
  close(): void {
    this.#close();
  }

  /** Closes it at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }
}
