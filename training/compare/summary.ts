/**
 * What a comparison of optimizers found: a document for programs, from which the report for people is made.
 *
 * @module
 */
import type { Contestant, FinishedTrial } from "./comparison.ts";
import type { RunConfig } from "../run/config.ts";
import type { HyperValues } from "../run/hyper_parameters.ts";
import type { CurvePoint } from "./trial.ts";
import { type PlanOptions, tuning } from "./plan.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import type { StepCost } from "./step_race.ts";

/** What all runs of a comparison have in common, for the reader. */
export interface ComparisonSetting {
  /** The model's name. */
  readonly model: string;
  /** Its parameters. */
  readonly parameters: number;
  /** How many of them are trained; absent: all. */
  readonly trained_parameters?: number;
  /** Where the text comes from. */
  readonly data: readonly string[];
  /** Size of the vocabulary. */
  readonly vocab_size: number;
  /** Tokens to train on. */
  readonly train_tokens: number;
  /** Tokens held out. */
  readonly validation_tokens: number;
  /** Steps of each run. */
  readonly steps: number;
  /** Tokens per step: sequences x tokens x micro-batches. */
  readonly tokens_per_step: number;
  /** Tokens per sequence. */
  readonly seq_len: number;
  /** Sequences per micro-batch. */
  readonly batch_size: number;
  /** Micro-batches per step. */
  readonly grad_accum: number;
  /** Learning rate over the run. */
  readonly schedule: string;
  /** Steps of warm-up. */
  readonly warmup: number;
  /** Last learning rate as a share of the peak. */
  readonly min_lr_ratio: number;
  /** Most held-out tokens behind a point of a curve. */
  readonly curve_tokens: number;
  /** Turns of each step in the measurement of time. */
  readonly timing_rounds: number;
  /** What it ran on. */
  readonly adapter: string;
  /** Whether that is a software adapter. */
  readonly software: boolean;
  /** Version of Deno. */
  readonly deno: string;
}

/** A learning rate that was tried with the first seed. */
export interface RateReport {
  /** Peak learning rate. */
  readonly lr: number;
  /** Loss on all of the held-out text; null if the run diverged. */
  readonly loss: number | null;
  /** The step at which it did. */
  readonly diverged_at: number | null;
}

/** What one optimizer did. */
export interface ContestantReport {
  /** Its name and options. */
  readonly name: string;
  /** All that decides its runs, but learning rate and seed. */
  readonly config: Omit<RunConfig, "seed" | "kernels" | "optimizer"> & {
    readonly optimizer: { readonly name: string } & HyperValues;
  };
  /** The learning rates that were tried, ascending. */
  readonly rates: readonly RateReport[];
  /** The best of them; null if all diverged or none is done. */
  readonly best_lr: number | null;
  /** Set if the best rate is the lowest or highest that was tried, so that a better one may lie beyond. */
  readonly border: "lowest" | "highest" | null;
  /** Whether several rates were tried; false if one was given. */
  readonly searched: boolean;
  /** How much the loss is higher one step of the grid below and above the best rate; null where that diverged. */
  readonly sensitivity: { readonly below: number | null; readonly above: number | null };
  /** The runs with the best rate. */
  readonly seeds: readonly FinishedTrial[];
  /** How many of them diverged. */
  readonly diverged: number;
  /** Final loss over the seeds that did not; null if there is none. */
  readonly loss: Spread | null;
  /** The same in bits per byte, the mean. */
  readonly bits_per_byte: number | null;
  /** Final loss minus the reference's of the same seed. */
  readonly difference: Spread | null;
  /** Time and memory of a step; null if they were not measured. */
  readonly step: StepCost | null;
  /** Mean of the curves at the time at which the reference has done all its steps. */
  readonly curve_loss_at_equal_time: number | null;
}

/** The document. */
export interface ComparisonReport {
  /** Version of this format. */
  readonly version: 1;
  /** Whether all runs are done. */
  readonly complete: boolean;
  /** The optimizer that the others are compared with. */
  readonly reference: string;
  /** The seeds; learning rates were compared with the first. */
  readonly seeds: readonly number[];
  /** What all runs have in common. */
  readonly setting: ComparisonSetting;
  /** The optimizers, the lowest mean loss first. */
  readonly optimizers: readonly ContestantReport[];
}

/** What {@linkcode summarize} takes. */
export interface SummaryOptions extends PlanOptions {
  /** The optimizers. */
  readonly contestants: readonly Contestant[];
  /** Index of the one that the others are compared with. */
  readonly reference: number;
  /** Runs that are done. */
  readonly trials: readonly FinishedTrial[];
  /** Whether none is left. */
  readonly complete: boolean;
  /** Costs of a step, in the order of the contestants. */
  readonly costs?: readonly StepCost[];
  /** What all runs have in common. */
  readonly setting: ComparisonSetting;
}

/** Sums up what is done of a comparison. */
export function summarize(options: SummaryOptions): ComparisonReport {
  const { contestants, trials, costs, setting } = options;
  const reference = contestants[options.reference];
  const runsOf = (contestant: Contestant) => {
    const { best } = tuning(contestant, trials, options);
    return trials.filter((trial) => trial.entry === contestant.name && trial.lr === best);
  };
  const referenceRuns = runsOf(reference);
  const referenceTime = costs && costs[options.reference].ms * setting.steps;
  const optimizers = contestants.map((contestant, i): ContestantReport => {
    const { best, border } = tuning(contestant, trials, options);
    const rates = trials.filter((trial) => trial.entry === contestant.name && trial.seed === options.seeds[0])
      .map(({ lr, loss, diverged_at }) => ({ lr, loss, diverged_at })).sort((a, b) => a.lr - b.lr);
    const runs = runsOf(contestant);
    const finite = runs.filter((run) => run.loss !== null);
    const differences = finite.flatMap(({ seed, loss }) => {
      const other = referenceRuns.find((run) => run.seed === seed)?.loss;
      return other == null ? [] : [loss! - other];
    });
    const { seed: _, kernels: __, optimizer, ...rest } = contestant.config;
    const { lr: ___, ...values } = optimizer;
    const config = { ...rest, optimizer: values as ContestantReport["config"]["optimizer"] };
    const at = rates.findIndex(({ lr }) => lr === best);
    const rise = (neighbour: RateReport | undefined) =>
      neighbour?.loss == null || best === undefined ? null : neighbour.loss - rates[at].loss!;
    const steps = referenceTime === undefined ? undefined : referenceTime / costs![i].ms;
    return {
      name: contestant.name,
      config,
      rates,
      best_lr: best ?? null,
      border: border ?? null,
      searched: contestant.rates.length > 1,
      sensitivity: { below: rise(rates[at - 1]), above: rise(rates[at + 1]) },
      seeds: runs,
      diverged: runs.length - finite.length,
      loss: finite.length > 0 ? spreadOf(finite.map((run) => run.loss!)) : null,
      bits_per_byte: finite.length > 0 ? spreadOf(finite.map((run) => run.bits_per_byte!)).mean : null,
      difference: contestant !== reference && differences.length > 0 ? spreadOf(differences) : null,
      step: costs?.[i] ?? null,
      curve_loss_at_equal_time: steps === undefined ? null : meanAt(finite, steps),
    };
  });
  return {
    version: 1,
    complete: options.complete,
    reference: reference.name,
    seeds: options.seeds,
    setting,
    // A mean over fewer seeds, because others diverged, is no better than one over all.
    optimizers: optimizers.sort((a, b) =>
      a.diverged - b.diverged || (a.loss?.mean ?? Infinity) - (b.loss?.mean ?? Infinity)
    ),
  };
}

/** The mean of curves at a number of steps. */
function meanAt(runs: readonly FinishedTrial[], steps: number): number | null {
  const values = runs.map(({ curve }) => lossAt(curve, steps));
  if (values.length === 0 || values.includes(null)) return null;
  return spreadOf(values as number[]).mean;
}

/**
 * The loss of a curve at a number of steps: between points on the line between them, after the last its value.
 *
 * @returns Null before the first point.
 */
export function lossAt(curve: readonly CurvePoint[], steps: number): number | null {
  const after = curve.findIndex((point) => point.step >= steps);
  if (after < 0) return curve.at(-1)?.loss ?? null;
  const [a, b] = [curve[after - 1], curve[after]];
  if (b.step === steps) return b.loss;
  return a ? a.loss + (b.loss - a.loss) * (steps - a.step) / (b.step - a.step) : null;
}
