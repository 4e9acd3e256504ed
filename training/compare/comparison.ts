/**
 * A comparison of optimizers: the same model, trained from the same weights on the same batches with each.
 *
 * A run that is done is kept in a file under everything that decides its result, and not trained again; so a
 * comparison that was interrupted, or gets further optimizers or seeds, goes on from there.
 *
 * @module
 */
import { join } from "node:path";
import { readJsonFile, writeJsonFile } from "../../files/json_file.ts";
import { Batches } from "../../data/batches.ts";
import { StepBatches } from "../../data/prefetch.ts";
import { sha256 } from "../../data/tokens/cache.ts";
import { trainTrial, type TrialContext, type TrialResult } from "./trial.ts";
import { type Entry, type PlanOptions, type Trial, trialsLeft } from "./plan.ts";
import type { ProgressState } from "../progress.ts";
import { stepOptions } from "../run/step_options.ts";
import type { RunConfig } from "../run/config.ts";
import { codeKey, trialKey } from "./trial_key.ts";
import { raceSteps, type StepCost } from "./step_race.ts";

/** An optimizer that takes part, with its options. */
export interface Contestant extends Entry {
  /** The run; learning rate and seed change from run to run. */
  readonly config: RunConfig;
}

/** A run that is done. */
export type FinishedTrial = Trial & TrialResult;

/** What is told while a comparison goes on. */
export interface ComparisonEvents {
  /** A run starts. */
  started?(trial: Trial, count: TrialCount): void;
  /** A run goes on. */
  progress?(trial: Trial, state: ProgressState): void;
  /** A run is done, or was before. */
  finished?(trial: FinishedTrial, count: TrialCount & { readonly kept: boolean }): void | Promise<void>;
}

/** Where a comparison stands; the search for learning rates may add runs. */
export interface TrialCount {
  /** Runs that are done. */
  readonly done: readonly FinishedTrial[];
  /** Runs that are left, the current one among them until it is finished. */
  readonly left: readonly Trial[];
}

/** What {@linkcode runComparison} takes. */
export interface ComparisonOptions extends TrialContext, PlanOptions, ComparisonEvents {
  /** Where runs are kept; made where it is missing. */
  readonly outDir: string;
  /** The optimizers. */
  readonly contestants: readonly Contestant[];
}

/**
 * Trains what is left of a comparison.
 *
 * @returns All runs that are done, and whether none is left.
 * @throws {RangeError} If the contestants cannot be compared, see `trialsLeft`.
 * @throws {GpuError} If the device reports an error or is lost.
 */
export async function runComparison(
  options: ComparisonOptions,
): Promise<{ readonly trials: readonly FinishedTrial[]; readonly complete: boolean }> {
  const { contestants, started, progress, finished } = options;
  const folder = join(options.outDir, "trials");
  const done: FinishedTrial[] = [];
  const left = () => trialsLeft(contestants, done, options);
  for (let [trial, ...rest] = left(); trial !== undefined; [trial, ...rest] = left()) {
    const { config } = contestants.find(({ name }) => name === trial.entry)!;
    const inputs = { ...withRate(config, trial.lr), seed: trial.seed };
    const label = `${trial.entry}-lr-${trial.lr}-seed-${trial.seed}`;
    const { result, kept } = await keep(folder, label, trialKey(inputs, options), () => {
      started?.(trial, { done, left: [trial, ...rest] });
      return trainTrial(inputs, options, (state) => progress?.(trial, state));
    });
    if (!result) return { trials: done, complete: false };
    done.push({ ...trial, ...result });
    await finished?.(done[done.length - 1], { done, left: left(), kept });
  }
  return { trials: done, complete: true };
}

/** A configuration with another learning rate. */
function withRate(config: RunConfig, lr: number): RunConfig {
  return { ...config, optimizer: { ...config.optimizer, lr } };
}

/** What {@linkcode compareSteps} takes. */
export interface StepComparisonOptions extends TrialContext {
  /** Where the measurement is kept; made where it is missing. */
  readonly outDir: string;
  /** The optimizers. */
  readonly contestants: readonly Contestant[];
  /** Index of the optimizer that the others are compared with. */
  readonly reference: number;
  /** How often each takes its turn. */
  readonly rounds: number;
  /** Told after each round how many are done, of all. */
  readonly progress?: (done: number, total: number) => void;
}

/**
 * Measures the step of each optimizer side by side, or takes what was measured for the same optimizers before.
 *
 * @returns The costs in the order of the contestants; undefined if it was interrupted.
 * @throws {RangeError} If memory is too small for two trainers.
 */
export async function compareSteps(options: StepComparisonOptions): Promise<readonly StepCost[] | undefined> {
  const { gpu, model, dataset, contestants, reference, rounds, signal, progress } = options;
  const configs = contestants.map(({ config, rates }) => withRate(config, rates[0]));
  const code = configs.map((config) => codeKey(gpu.profile, config, model));
  const key = { configs, reference, rounds, adapter: gpu.description, code };
  const { result } = await keep(options.outDir, "steps", key, async () => {
    const { batchSize, seqLen, gradAccum } = configs[0];
    const inputs = new StepBatches(new Batches(dataset.train, { batchSize, seqLen }), gradAccum).next();
    const steps = configs.map((config) => stepOptions(config, model));
    const costs = await raceSteps(gpu, { steps, reference, inputs, rounds, signal, progress });
    return costs && { costs };
  });
  return result?.costs;
}

/** Takes a result from its file, or makes it and writes the file; an interrupted one leaves none. */
async function keep<Result>(
  folder: string,
  label: string,
  key: unknown,
  make: () => Promise<Result | undefined>,
): Promise<{ result: Result | undefined; kept: boolean }> {
  const digest = (await sha256(JSON.stringify(key))).slice(0, 12);
  // Only what every file system takes in a name.
  const path = join(folder, `${label.replaceAll(/[^\w.+-]+/g, "_")}-${digest}.json`);
  try {
    return { result: (await readJsonFile(path)).result as Result, kept: true };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const result = await make();
  if (result !== undefined) {
    await Deno.mkdir(folder, { recursive: true });
    await writeJsonFile(path, { key, result });
  }
  return { result, kept: false };
}
