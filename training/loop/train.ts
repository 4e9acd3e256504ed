/**
 * The training loop, as an async iterable of events.
 *
 * A step is enqueued while the one before still runs, and its batches are read meanwhile. Metrics of several steps are
 * read at once, with the next step enqueued already, since a read waits for the GPU. What a reader of the events does
 * between two of them, the loop waits for: lines that it appends are there before the checkpoint after them is.
 *
 * It knows neither files nor Deno, so that it runs wherever WebGPU does.
 *
 * @module
 */
import type { StepInputs } from "../step/recording.ts";
import type { StepMetrics, Trainer } from "../step/trainer.ts";
import { isDue, type Scored, type StepEvent, type TrainEvent } from "./events.ts";

/** Where the loop takes its batches from; `StepBatches` is one. */
export interface TrainingBatches {
  /** The inputs of the next step's micro-batches, which hold until the next call. */
  next(): readonly StepInputs[];
  /** Gets them ready; called when the GPU has work. */
  prepare?(): void;
  /** Milliseconds that callers have waited for batches so far. */
  readonly waited?: number;
}

/** Options of {@linkcode train}. */
export interface TrainOptions<E extends Scored = Scored> {
  /** The batches. */
  readonly batches: TrainingBatches;
  /** How many steps are done at the end, those of a run that goes on included. */
  readonly steps: number;
  /** What to multiply the learning rates with at a 0-based step; default 1. See `learningRateSchedule`. */
  readonly schedule?: (step: number) => number;
  /** Metrics are read every so many steps, at most 64; default: about twice a second. */
  readonly logEvery?: number;
  /** Evaluates the model; it may reject when the signal is aborted. Default: there are no evaluations. */
  readonly evaluate?: (signal: AbortSignal) => Promise<E>;
  /** Evaluate every so many steps, or at these; default 0: at the end only. */
  readonly evalEvery?: number | ReadonlySet<number>;
  /**
   * Writes a checkpoint, with the evaluation of this very step where there is one, and returns its place. Default:
   * none are written. `openRun()` has one.
   */
  readonly save?: (evaluation?: E) => Promise<string>;
  /** Save every so many steps; default 0: at the end only. An evaluation comes before each. */
  readonly saveEvery?: number;
  /** Ends the loop after the step that is under way: it is saved, and nothing else is done. */
  readonly signal?: AbortSignal;
}

/** The loss or the gradients stopped being numbers. */
export class NonFiniteLossError extends Error {
  /** Always `NonFiniteLossError`. */
  override name = "NonFiniteLossError";
  /** How many steps were done with the one that failed. */
  readonly step: number;
  /** Its loss. */
  readonly loss: number;
  /** Norm of its gradients. */
  readonly gradientNorm: number;

  /**
   * Says at which step it was.
   *
   * @param event The step.
   * @param remedy What to do; default general advice.
   */
  constructor(
    { step, loss, gradientNorm }: Pick<StepEvent, "step" | "loss" | "gradientNorm">,
    remedy = "Try a lower learning rate, a longer warm-up or a lower clipping norm",
  ) {
    super(
      `The loss must stay finite, but at step ${step} it was ${loss} with gradient norm ${gradientNorm}. ${remedy}`,
    );
    this.step = step;
    this.loss = loss;
    this.gradientNorm = gradientNorm;
  }
}

/**
 * Trains until the last step, and tells of every step, evaluation and checkpoint. Leaving the loop over its events
 * stops it cleanly: what was enqueued is waited for, and a checkpoint is written if there is a `save`.
 *
 * @param trainer The step; its `nextStep` says where to go on.
 * @param options See {@linkcode TrainOptions}.
 * @throws {NonFiniteLossError} If loss or gradients are not finite any more, after the step's event; checkpoints stay.
 * @throws {GpuError} If the device reports an error or is lost.
 * @throws {RangeError} If `steps` is no whole number, or `logEvery` not one from 1 to 64.
 *
 * @example Train, and show every tenth step
 * ```ts ignore
 * for await (const event of train(trainer, { batches, steps: 100 })) {
 *   if (event.kind === "step" && event.step % 10 === 0) console.log(event.step, event.loss);
 * }
 * ```
 */
export async function* train<E extends Scored = Scored>(
  trainer: Trainer,
  options: TrainOptions<E>,
): AsyncGenerator<TrainEvent<E>, void, void> {
  const { batches, steps, schedule = () => 1, evaluate, evalEvery = 0, saveEvery = 0 } = options;
  const { signal = new AbortController().signal } = options;
  checkOptions(options);
  const meter = new Meter(trainer, options);
  let reading: Promise<StepEvent[]> | undefined;
  let [savedStep, evaluated] = [trainer.nextStep > 0 ? trainer.nextStep : -1, undefined as E | undefined];
  const save = async function* (): AsyncGenerator<TrainEvent<E>> {
    const step = trainer.nextStep;
    const path = await options.save!(evaluated);
    savedStep = step;
    yield { kind: "checkpoint", step, path };
  };
  let left = true; // by its reader, until it ends by itself or by an error
  try {
    while (trainer.nextStep < steps && !signal.aborted) {
      const inputs = batches.next();
      meter.count(inputs);
      trainer.step(inputs, schedule(trainer.nextStep));
      evaluated = undefined;
      const step = trainer.nextStep;
      if (step < steps) batches.prepare?.();
      const saveDue = options.save !== undefined && isDue(step, saveEvery, steps);
      const evaluationDue = evaluate !== undefined && (saveDue || isDue(step, evalEvery, steps));
      if (reading) yield* finite(await reading);
      reading = undefined;
      if (evaluationDue || saveDue || trainer.ringIsFull) yield* finite(await meter.read());
      // The next step is enqueued before these metrics are there: the GPU has no need to wait for them.
      else if (meter.isDue(step)) {
        reading = meter.read();
        reading.catch(() => {}); // thrown where it is awaited
      }
      // Signals are delivered between turns of the event loop.
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (evaluationDue && !signal.aborted) {
        evaluated = await unlessAborted(signal, evaluate);
        if (evaluated) yield { kind: "evaluation", step, evaluation: evaluated };
      }
      if (saveDue && !signal.aborted) yield* save();
      if (evaluationDue || saveDue) meter.restart();
    }
    if (reading) yield* finite(await reading);
    reading = undefined;
    yield* finite(await meter.read());
    if (options.save && savedStep !== trainer.nextStep) yield* save();
    left = false;
    yield { kind: "end", step: trainer.nextStep, stopped: trainer.nextStep < steps, ...meter.total };
  } catch (error) {
    left = false;
    throw error;
  } finally {
    if (left) {
      const unread = [...await reading ?? [], ...await meter.read()];
      const isGood = unread.every(isFinite);
      if (options.save && savedStep !== trainer.nextStep && isGood) await options.save(evaluated);
    }
  }
}

/** Passes events on, up to one that is not finite. */
function* finite(events: readonly StepEvent[]): Generator<StepEvent> {
  for (const event of events) {
    yield event;
    if (!isFinite(event)) throw new NonFiniteLossError(event);
  }
}

function isFinite({ loss, gradientNorm }: Pick<StepEvent, "loss" | "gradientNorm">): boolean {
  return Number.isFinite(loss) && Number.isFinite(gradientNorm);
}

/** What it gives, or nothing if it was aborted meanwhile. */
async function unlessAborted<T>(
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await work(signal);
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}

/** What does not depend on the kind of evaluation. */
type Pace = Pick<TrainOptions, "batches" | "steps" | "schedule" | "logEvery">;

function checkOptions({ steps, logEvery }: Pace): void {
  if (!Number.isInteger(steps)) throw new RangeError(`The number of steps must be an integer, got ${steps}`);
  if (logEvery === undefined || Number.isInteger(logEvery) && logEvery >= 1) return;
  throw new RangeError(`logEvery must be a whole number from 1, got ${logEvery}`);
}

/** Where nobody says how often to read, metrics are read about this often. */
const READ_SECONDS = 0.5;

/** Reads metrics and keeps the time. */
class Meter {
  readonly #trainer: Trainer;
  readonly #options: Pace;
  #tokensPerStep = 0;
  #seconds = 0;
  #tokens = 0;
  #waited = 0;
  #since = performance.now();
  #unread = 0;
  #readEvery = 1;

  constructor(trainer: Trainer, options: Pace) {
    this.#trainer = trainer;
    this.#options = options;
    this.#waited = options.batches.waited ?? 0;
  }

  /** Told of each step's inputs. */
  count(inputs: readonly StepInputs[]): void {
    this.#tokensPerStep = inputs.reduce((sum, { tokens }) => sum + (tokens?.length ?? 0), 0);
    this.#unread++;
  }

  /** Whether it is time to read. */
  isDue(step: number): boolean {
    const { logEvery, steps } = this.#options;
    return logEvery === undefined ? this.#unread >= this.#readEvery : isDue(step, logEvery, steps);
  }

  /** The clock begins anew: what came before was no training. */
  restart(): void {
    this.#since = performance.now();
  }

  /** Waits for the steps that are enqueued, as events. */
  async read(): Promise<StepEvent[]> {
    this.#unread = 0;
    const done = await this.#trainer.metrics();
    const seconds = (performance.now() - this.#since) / 1000;
    this.#since += 1000 * seconds;
    const tokens = done.length * this.#tokensPerStep;
    this.#seconds += seconds;
    this.#tokens += tokens;
    const { waited = 0 } = this.#options.batches;
    const dataWait = (waited - this.#waited) / Math.max(1, done.length);
    this.#waited = waited;
    if (done.length > 0) {
      this.#readEvery = Math.max(1, Math.floor(done.length * READ_SECONDS / seconds));
    }
    return done.map((metrics, i) => ({
      ...this.#event(metrics),
      latest: i === done.length - 1,
      tokensPerSecond: tokens / seconds,
      dataWait,
    }));
  }

  #event({ step, ...numbers }: StepMetrics) {
    const scheduleFactor = this.#options.schedule?.(step) ?? 1;
    return { kind: "step" as const, step: step + 1, scheduleFactor, ...numbers };
  }

  /** Rates of the whole training so far. */
  get total(): { tokensPerSecond: number; dataWaitShare: number } {
    const { waited = 0 } = this.#options.batches;
    if (this.#seconds === 0) return { tokensPerSecond: 0, dataWaitShare: 0 };
    return {
      tokensPerSecond: this.#tokens / this.#seconds,
      dataWaitShare: waited / 1000 / this.#seconds,
    };
  }
}
