/**
 * What a comparison of optimizers found, in words: the same in the report and in the terminal.
 *
 * @module
 */
import type { ComparisonReport, ContestantReport } from "./summary.ts";
import type { Spread } from "./statistics.ts";

/** The result in a sentence or two. */
export function verdict({ optimizers, reference, seeds, complete }: ComparisonReport): string {
  const [best, second] = optimizers.filter((o) => o.loss !== null && o.diverged === 0);
  if (!best) return "No run has ended with a finite loss so far.";
  const over = best.seeds.length === 1 ? "one seed" : `${best.seeds.length} seeds`;
  const lead = `${best.name} has the lowest validation loss: ${withSpread(best.loss!)} over ${over}`;
  const next = second ? `; ${second.name} follows with ${withSpread(second.loss!)}` : "";
  const overlap = second && seeds.length > 1 && best.loss!.max >= second.loss!.min
    ? " Their seeds overlap, so the difference may be chance."
    : "";
  const other = optimizers.find((o) => o.name === reference);
  const compared = best.name !== reference && second?.name !== reference && other?.loss
    ? ` ${reference} reached ${withSpread(other.loss)}.`
    : "";
  return `${lead}${next}.${overlap}${compared}${complete ? "" : " Not all runs are done."}`;
}

/** The distance of a ratio's quartiles, as a share of it, from which on it is not to be relied on. */
const UNSTEADY = 0.2;

/** What a reader must know before believing the table. */
export function warnings({ optimizers, complete, seeds }: ComparisonReport): string[] {
  const about = (concerned: (o: ContestantReport) => boolean, text: (names: string) => string) => {
    const names = optimizers.filter(concerned).map((o) => o.name);
    return names.length > 0 ? [text(names.join(", "))] : [];
  };
  const atBorder = (side: string) =>
    about(
      (o) => o.best_lr !== null && o.border === side,
      (names) =>
        `The best learning rate is the ${side} that was tried, and there may be a better one beyond: ${names}.`,
    );
  return [
    ...(complete ? [] : ["Not all runs are done: numbers will change."]),
    ...(seeds.length > 1 ? [] : ["One seed says nothing about chance; take more of them."]),
    ...atBorder("lowest"),
    ...atBorder("highest"),
    ...about((o) => !o.searched, (names) => `The learning rate was given and not searched for: ${names}.`),
    ...about(
      (o) => o.best_lr === null && o.rates.length > 0,
      (names) => `Diverged at every learning rate: ${names}.`,
    ),
    ...about(
      ({ step }) =>
        step !== null && step.ratio_quartiles[1] - step.ratio_quartiles[0] > UNSTEADY * step.ratio,
      (names) =>
        "The machine was busy while the time of a step was measured, so times and the chart against time are rough: " +
        `${names}. The fastest turns say more; measure again when nothing else runs.`,
    ),
    ...optimizers.filter((o) => o.diverged > 0)
      .map((o) => `${o.name} diverged with ${o.diverged} of ${o.seeds.length} seeds.`),
  ];
}

/** The final loss of an optimizer, or why there is none. */
export function lossText({ loss, rates }: ContestantReport): string {
  return loss ? withSpread(loss) : rates.length > 0 ? "diverged" : "–";
}

/** Such as `4.6312 ± 0.0120`. */
export function withSpread(spread: Spread): string {
  return spread.mean.toFixed(4) + spreadText(spread);
}

/** Such as ` ± 0.0120`; empty for a single value. */
export function spreadText({ deviation }: Spread): string {
  return deviation > 0 ? ` ± ${deviation.toFixed(4)}` : "";
}
