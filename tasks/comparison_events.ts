/**
 * What a comparison tells people while it runs: which run of how many, its loss, the time left.
 *
 * @module
 */
import type { CellCount, Contestant, FinishedCell } from "../training/comparison.ts";
import type { Cell } from "../training/comparison_plan.ts";
import { createProgress, formatDuration, type ProgressState, stderrWriter } from "../training/progress.ts";
import type { StepCost } from "../training/step_race.ts";

/** What {@linkcode comparisonEvents} takes. */
export interface ComparisonEventOptions {
  /** The optimizers. */
  readonly contestants: readonly Contestant[];
  /** Costs of a step of each. */
  readonly costs: readonly StepCost[];
  /** Steps of each run. */
  readonly steps: number;
  /** Prints a line. */
  readonly say: (line: string) => void;
}

/** Events that print lines and, on a terminal, a bar. */
export function comparisonEvents({ contestants, costs, steps, say }: ComparisonEventOptions): {
  started(cell: Cell, count: CellCount): void;
  progress(cell: Cell, state: ProgressState): void;
  finished(cell: FinishedCell, count: CellCount & { readonly kept: boolean }): void;
} {
  const bar = createProgress({ totalSteps: steps, writer: stderrWriter(), print: say });
  const predicted = (cells: readonly Cell[]) =>
    cells.reduce((sum, cell) => sum + costs[contestants.findIndex((c) => c.name === cell.entry)].ms, 0) *
    steps / 1000;
  // Runs of this process only: how much longer they took than their steps alone.
  const own: FinishedCell[] = [];
  const secondsLeft = (left: readonly Cell[]) => {
    const seconds = own.reduce((sum, cell) => sum + cell.seconds, 0);
    return predicted(left) * (own.length > 0 ? seconds / predicted(own) : 1);
  };
  const title = ({ entry, lr, seed }: Cell, number: number, of: number) =>
    `run ${number} of ${of}: ${entry}, lr ${lr}, seed ${seed}`;
  return {
    started(cell, { done, left }) {
      const time = formatDuration(secondsLeft(left));
      bar.log(`${title(cell, done.length + 1, done.length + left.length)} (all in about ${time})`);
    },
    progress(_, state) {
      bar.update(state);
    },
    finished(cell, { done, left, kept }) {
      bar.clear();
      const result = cell.loss === null
        ? `diverged at step ${cell.diverged_at}`
        : `validation loss ${cell.loss.toFixed(4)}`;
      if (kept) say(`${title(cell, done.length, done.length + left.length)}: ${result} (done before)`);
      else {
        own.push(cell);
        say(`  ${result} after ${formatDuration(cell.seconds)}`);
      }
    },
  };
}
