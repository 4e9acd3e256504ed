/**
 * How far reading a corpus and training a tokenizer have come.
 *
 * @module
 */
import {
  formatCount,
  liveLine,
  type ProgressWriter,
  renderBar,
  stderrWriter,
} from "../../training/progress.ts";

/** Shows progress: a line that is redrawn on a terminal, elsewhere a line every ten seconds. */
export interface ProgressLine {
  /** Tells how much was read; nobody knows yet how much there is. */
  reading(documents: number, bytes: number): void;
  /** Tells how many token ids of how many there are. */
  merging(done: number, total: number): void;
  /** Takes the redrawn line away. */
  clear(): void;
}

/** Settings of {@linkcode dataProgress}. */
export interface ProgressLineOptions {
  /** Prints a line. */
  say: (line: string) => void;
  /** Where to draw. Default: standard error. */
  writer?: ProgressWriter;
  /** A clock in milliseconds. Default: `performance.now`. */
  now?: () => number;
}

/** Between two lines where they cannot be drawn again. */
const SECONDS_BETWEEN_LINES = 10;

/** Makes the display; elsewhere than on a terminal the first line comes after ten seconds. */
export function dataProgress(
  { say, writer = stderrWriter(), now = () => performance.now() }: ProgressLineOptions,
): ProgressLine {
  const line = liveLine(writer, now);
  let saidAt = now();
  let merge: { time: number; done: number } | undefined;
  const show = (text: (columns?: number) => string) => {
    if (writer.isTerminal) {
      if (line.isDue) line.draw(text);
    } else if (now() - saidAt >= SECONDS_BETWEEN_LINES * 1000) {
      saidAt = now();
      say(text());
    }
  };
  return {
    reading(documents, bytes) {
      show(() => `reading: ${formatCount(documents)} documents, ${formatCount(bytes)} bytes`);
    },
    merging(done, total) {
      merge ??= { time: now(), done };
      const { time, done: before } = merge;
      show((columns) => {
        if (columns === undefined) return `merging: ${done} of ${total} token ids`;
        const rate = (done - before) / (now() - time);
        const secondsLeft = rate > 0 ? (total - done) / rate / 1000 : undefined;
        return `merging: ${renderBar({ step: done, totalSteps: total, secondsLeft }, columns - 9)}`;
      });
    },
    clear: line.clear,
  };
}
