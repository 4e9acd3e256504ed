/**
 * How far reading a corpus and training a tokenizer have come.
 *
 * @module
 */
import { formatCount, type ProgressWriter, renderBar, stderrWriter } from "../../training/progress.ts";

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

const CLEAR_LINE = "\r\x1b[2K";

/** Makes the display; nothing is drawn before a tenth of a second (on a terminal) or ten seconds are over. */
export function dataProgress(
  { say, writer = stderrWriter(), now = () => performance.now() }: ProgressLineOptions,
): ProgressLine {
  const pause = writer.isTerminal ? 100 : 10_000;
  let shownAt = now();
  let drawn = false;
  let merge: { time: number; done: number } | undefined;
  const show = (line: (columns: number) => string) => {
    shownAt = now();
    drawn = writer.isTerminal;
    // One column stays free: a full line makes some terminals wrap.
    const columns = drawn ? writer.columns() - 1 : 80;
    const text = line(columns).slice(0, columns);
    if (drawn) writer.write(CLEAR_LINE + text);
    else say(text);
  };
  const due = () => now() - shownAt >= pause;
  return {
    reading(documents, bytes) {
      if (due()) show(() => `reading: ${formatCount(documents)} documents, ${formatCount(bytes)} bytes`);
    },
    merging(done, total) {
      merge ??= { time: now(), done };
      if (!due()) return;
      const rate = (done - merge.done) / (now() - merge.time);
      const secondsLeft = rate > 0 ? (total - done) / rate / 1000 : undefined;
      show((columns) =>
        writer.isTerminal
          ? `merging: ${renderBar({ step: done, totalSteps: total, secondsLeft }, columns - 9)}`
          : `merging: ${done} of ${total} token ids`
      );
    },
    clear() {
      if (drawn) writer.write(CLEAR_LINE);
      drawn = false;
    },
  };
}
