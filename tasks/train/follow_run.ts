/**
 * Shows a run to whoever started it: a reader of its events.
 *
 * @module
 */
import type { Evaluation } from "../../training/evaluation.ts";
import { isDue } from "../../training/loop/events.ts";
import { createProgress, formatCount, type Progress, stderrWriter } from "../../training/progress.ts";
import { describe, type RunEndEvent, type RunEvent, type RunOptions } from "../../training/run/run.ts";

/** How a run went. */
export interface Outcome {
  /** Its last event. */
  readonly end: RunEndEvent;
  /** The final weights on all of the held-out text; undefined where the run was stopped. */
  readonly evaluation?: Evaluation;
}

/** A display of one run. */
export interface RunDisplay {
  /** Shows events as they come, to the last one. */
  follow(events: AsyncIterable<RunEvent>): Promise<Outcome>;
  /** Shows how far an evaluation has come. */
  readonly onEvaluation: RunOptions["onEvaluation"];
}

/** Of what takes long is told about this often. */
const TELL_MILLISECONDS = 10_000;

/**
 * Makes the display of a run: a live bar on a terminal, a line for each logged step elsewhere.
 *
 * @param steps Steps of the run.
 * @param logEvery Steps between lines.
 * @param say Where lines go.
 */
export function runDisplay(steps: number, logEvery: number, say: (line: string) => void): RunDisplay {
  const progress = progressFor(steps, say);
  let told = performance.now();
  return {
    onEvaluation({ batches, totalBatches, loss }) {
      if (performance.now() - told < TELL_MILLISECONDS || batches >= totalBatches) return;
      told = performance.now();
      progress.log(`evaluating: ${batches} of ${totalBatches} batches, loss ${loss.toFixed(4)}`);
    },
    async follow(events) {
      let end: RunEndEvent | undefined;
      let evaluation: Evaluation | undefined;
      for await (const event of events) {
        told = performance.now();
        if (event.kind === "step" && isDue(event.step, logEvery, steps)) progress.update(event);
        if (event.kind === "evaluation") {
          progress.log(`step ${event.step}: validation ${describe(event.evaluation)}`);
        }
        if (event.kind === "final") evaluation = event.evaluation;
        if (event.kind === "end") end = event;
      }
      progress.clear();
      return { end: end!, evaluation };
    },
  };
}

function progressFor(totalSteps: number, say: (line: string) => void): Progress {
  const writer = stderrWriter();
  const progress = createProgress({ totalSteps, print: say, writer });
  if (writer.isTerminal) return progress;
  return {
    ...progress,
    update: ({ step, loss, tokensPerSecond }) =>
      say(
        `step ${step}/${totalSteps}: loss ${loss?.toFixed(4)}, ${formatCount(tokensPerSecond ?? 0)} tokens/s`,
      ),
  };
}
