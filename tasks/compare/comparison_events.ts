/**
 * What a comparison tells people while it runs: which run of how many, its loss, the time left.
 *
 * @module
 */
import type { Contestant, FinishedTrial, TrialCount } from "../../training/compare/comparison.ts";
import type { Trial } from "../../training/compare/plan.ts";
import { createProgress, formatDuration, type ProgressState, stderrWriter } from "../../training/progress.ts";
import type { StepCost } from "../../training/compare/step_race.ts";

/** What {@linkcode comparisonEvents} takes. */
export interface ComparisonEventOptions {
  /** The optimizers. */
  readonly contestants: readonly Contestant[];
  /** Costs of a step of each, where they were measured. */
  readonly costs?: readonly StepCost[];
  /** Steps of each run. */
  readonly steps: number;
  /** Prints a line. */
  readonly say: (line: string) => void;
}

/** Events that print lines and, on a terminal, a bar. */
export function comparisonEvents({ contestants, costs, steps, say }: ComparisonEventOptions): {
  started(trial: Trial, count: TrialCount): void;
  progress(trial: Trial, state: ProgressState): void;
  finished(trial: FinishedTrial, count: TrialCount & { readonly kept: boolean }): void;
} {
  const bar = createProgress({ totalSteps: steps, writer: stderrWriter(), print: say });
  // In any unit: runs of this process tell how many seconds it has.
  const predicted = (trials: readonly Trial[]) =>
    trials.reduce((sum, { entry }) => {
      return sum + (costs?.[contestants.findIndex(({ name }) => name === entry)].ms ?? 1);
    }, 0);
  const own: FinishedTrial[] = [];
  const timeLeft = (left: readonly Trial[]) => {
    const seconds = own.reduce((sum, trial) => sum + trial.seconds, 0);
    if (own.length > 0) return `about ${formatDuration(predicted(left) * seconds / predicted(own))} left`;
    return costs ? `at least ${formatDuration(predicted(left) * steps / 1000)} left` : "time left unknown";
  };
  const title = ({ entry, lr, seed }: Trial, number: number, of: number) =>
    `run ${number} of ${of}: ${entry}, lr ${lr}, seed ${seed}`;
  return {
    started(trial, { done, left }) {
      bar.log(`${title(trial, done.length + 1, done.length + left.length)} (${timeLeft(left)})`);
    },
    progress(_, state) {
      bar.update(state);
    },
    finished(trial, { done, left, kept }) {
      bar.clear();
      const result = trial.loss === null
        ? `diverged at step ${trial.diverged_at}`
        : `validation loss ${trial.loss.toFixed(4)}`;
      if (kept) say(`${title(trial, done.length, done.length + left.length)}: ${result} (done before)`);
      else {
        own.push(trial);
        say(`  ${result} after ${formatDuration(trial.seconds)}`);
      }
    },
  };
}
