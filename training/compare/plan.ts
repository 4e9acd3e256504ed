/**
 * Which runs a comparison of optimizers needs: every learning rate of a grid with the first seed, further rates
 * while the best one is at an end of the grid, then the best one with the other seeds. Pure: what is to be done
 * follows from what is done, so an interrupted comparison goes on by asking again.
 *
 * @module
 */

/** An optimizer that takes part, as far as the plan is concerned. */
export interface Entry {
  /** Tells the entries apart. */
  readonly name: string;
  /** Learning rates to begin with, ascending. A single one is taken as it is; more are extended where needed. */
  readonly rates: readonly number[];
}

/** A run of a comparison. */
export interface Trial {
  /** The name of its entry. */
  readonly entry: string;
  /** Peak learning rate. */
  readonly lr: number;
  /** Seed of weights, batches and dropout. */
  readonly seed: number;
}

/** What the plan needs to know of a run that is done. */
export interface DoneTrial extends Trial {
  /** Loss on all of the held-out text; null if the run diverged. */
  readonly loss: number | null;
}

/** The seeds, and how far a grid may grow. */
export interface PlanOptions {
  /** Seeds, at least one; learning rates are compared with the first. */
  readonly seeds: readonly number[];
  /** The most rates that are added to a grid. */
  readonly extensions: number;
}

/** How far the search for an entry's learning rate has come. */
export interface Tuning {
  /** Rates to try next; none when the search is over. */
  readonly missing: readonly number[];
  /** The best rate so far; undefined while none has ended with a loss. */
  readonly best?: number;
  /** Set if the best rate is the lowest or highest of several that were tried: a better one may lie beyond. */
  readonly border?: "lowest" | "highest";
}

/**
 * Looks at the runs of an entry with the first seed.
 *
 * A run that diverged is worse than any that did not. If all did, the rates were too high: lower ones follow.
 *
 * @param entry The entry.
 * @param done Runs that are done, of any entry and seed.
 * @param options See {@linkcode PlanOptions}.
 *
 * @example The best of three is the highest, so a higher one is tried
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * const entry = { name: "adamw", rates: [0.001, 0.002, 0.004] };
 * const done = entry.rates.map((lr, i) => ({ entry: "adamw", lr, seed: 0, loss: 5 - i }));
 * deepEqual(tuning(entry, done, { seeds: [0], extensions: 4 }).missing, [0.008]);
 * ```
 */
export function tuning(entry: Entry, done: readonly DoneTrial[], options: PlanOptions): Tuning {
  const { name, rates } = entry;
  const tried = done.filter((trial) => trial.entry === name && trial.seed === options.seeds[0])
    .sort((a, b) => a.lr - b.lr);
  const lossOf = (trial: DoneTrial) => trial.loss ?? Infinity;
  const at = tried.reduce((best, trial, i) => lossOf(trial) < lossOf(tried[best]) ? i : best, 0);
  const best = tried[at]?.loss == null ? undefined : tried[at].lr;
  const untried = rates.filter((lr) => !tried.some((trial) => trial.lr === lr));
  if (untried.length > 0) return { missing: untried, best };
  const border = rates.length === 1 || (at > 0 && at < tried.length - 1)
    ? undefined
    : at === 0
    ? "lowest"
    : "highest";
  if (!border || tried.length - rates.length >= options.extensions) return { missing: [], best, border };
  const next = border === "lowest"
    ? tried[0].lr / (rates[1] / rates[0])
    : tried[at].lr * (rates[rates.length - 1] / rates[rates.length - 2]);
  return { missing: [tidy(next)], best, border };
}

/** Rates are typed and read by people: six digits are enough. */
function tidy(lr: number): number {
  return Number(lr.toPrecision(6));
}

/**
 * The runs that are left, the next one first: the search for learning rates, then seed by seed all entries, so
 * that a comparison which is stopped early is still a fair one.
 *
 * As long as a search goes on, the rates of the runs after it are a guess, and so is their number.
 *
 * @param entries The entries.
 * @param done Runs that are done.
 * @param options See {@linkcode PlanOptions}.
 * @throws {RangeError} If a grid is empty, not ascending or not positive, or two entries have the same name.
 */
export function trialsLeft(
  entries: readonly Entry[],
  done: readonly DoneTrial[],
  options: PlanOptions,
): Trial[] {
  checkEntries(entries);
  const states = entries.map((entry) => ({ entry, ...tuning(entry, done, options) }));
  const [first, ...others] = options.seeds;
  const search = states.flatMap(({ entry, missing }) =>
    missing.map((lr) => ({ entry: entry.name, lr, seed: first }))
  );
  const repeats = others.flatMap((seed) =>
    states.flatMap(({ entry, missing, best }) => {
      const lr = best ?? (missing.length > 0 ? missing[0] : undefined);
      return lr === undefined ? [] : [{ entry: entry.name, lr, seed }];
    })
  );
  const isDone = (trial: Trial) =>
    done.some((d) => d.entry === trial.entry && d.lr === trial.lr && d.seed === trial.seed);
  return [...search, ...repeats.filter((trial) => !isDone(trial))];
}

function checkEntries(entries: readonly Entry[]): void {
  const names = entries.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (entries.length === 0 || twice !== undefined) {
    throw new RangeError(
      `A comparison must have optimizers that differ, got ${twice ? `${twice} twice` : "none"}`,
    );
  }
  for (const { name, rates } of entries) {
    const ascending = rates.every((lr, i) => lr > (i === 0 ? 0 : rates[i - 1]) && Number.isFinite(lr));
    if (rates.length > 0 && ascending) continue;
    throw new RangeError(
      `The learning rates of ${name} must be above 0 and ascending, got ${rates.join(", ") || "none"}`,
    );
  }
}
