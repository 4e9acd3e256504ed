/**
 * The live line of a training run: a bar with loss, speed and time left on a terminal; elsewhere only the
 * lines that the caller logs.
 *
 * No timer runs: a step on WebGPU blocks the event loop when it waits, so a timer would fire late anyway, and
 * every step reports itself.
 *
 * @module
 */

/** Where progress is written; {@linkcode stderrWriter} in earnest, anything in tests. */
export interface ProgressWriter {
  /** Whether lines can be redrawn. */
  readonly isTerminal: boolean;
  /** Writes text as it is. */
  write(text: string): void;
  /** The present width in characters; only asked of a terminal. */
  columns(): number;
}

/** What a bar shows. */
export interface ProgressState {
  /** Steps done. */
  step: number;
  /** Training loss; left out if unknown. */
  loss?: number;
  /** Speed; left out if unknown. */
  tokensPerSecond?: number;
}

/** A run's progress. */
export interface Progress {
  /** Tells that a step is done. Cheap: it draws at most about ten times per second, and only on a terminal. */
  update(state: ProgressState): void;
  /** Prints a line above the bar; on anything but a terminal this is all that is printed. */
  log(line: string): void;
  /** Takes the bar away. Later calls of `log` still print, later calls of `update` show it again. */
  clear(): void;
}

/** Settings of {@linkcode createProgress}. */
export interface ProgressOptions {
  /** Steps of the whole run; left out if unknown. */
  totalSteps?: number;
  /** Where to draw. Default: {@linkcode stderrWriter}. */
  writer?: ProgressWriter;
  /** Where lines go that are logged. Default: to `writer`. */
  print?: (line: string) => void;
  /** A clock in milliseconds. Default: `performance.now`. */
  now?: () => number;
}

const CLEAR_LINE = "\r\x1b[2K";
const REDRAW_MILLISECONDS = 100;
/** Steps over which the speed is averaged for the time left: recent enough to forget the slow first one. */
const SPEED_WINDOW = 50;

/**
 * Makes the progress display of a run.
 *
 * @param options The number of steps, and for tests the writer and the clock.
 * @returns The display; nothing is drawn before the first `update`.
 */
export function createProgress(options: ProgressOptions): Progress {
  const { totalSteps, writer = stderrWriter(), now = () => performance.now() } = options;
  const print = options.print ?? ((line: string) => writer.write(`${line}\n`));
  const line = liveLine(writer, now);
  let bar: ProgressState | undefined;
  const recent: { step: number; time: number }[] = [];

  function draw(): void {
    if (bar === undefined) return;
    const first = recent[0];
    const lastSeen = recent[recent.length - 1];
    const steps = lastSeen.step - first.step;
    const secondsLeft = totalSteps !== undefined && steps > 0
      ? (totalSteps - bar.step) * (lastSeen.time - first.time) / steps / 1000
      : undefined;
    const state = { ...bar, totalSteps, secondsLeft };
    line.draw((columns) => renderBar(state, columns));
  }

  return {
    update(state) {
      if (!writer.isTerminal) return;
      // A step back is a new run on the same display; its speed must not mix with the old one's.
      if (recent.length > 0 && state.step < recent[recent.length - 1].step) recent.length = 0;
      recent.push({ step: state.step, time: now() });
      if (recent.length > SPEED_WINDOW) recent.shift();
      bar = { ...state };
      if (totalSteps !== undefined && state.step >= totalSteps || line.isDue) draw();
    },
    log(text) {
      line.clear();
      print(text);
      draw();
    },
    clear() {
      line.clear();
      bar = undefined;
    },
  };
}

/** A line of a terminal that is drawn again and again in its place. */
export interface LiveLine {
  /** Whether it was not drawn within the last tenth of a second. */
  readonly isDue: boolean;
  /** Draws it. `text` gets the most characters that it may have; what is longer is cut off. */
  draw(text: (columns: number) => string): void;
  /** Takes it away if it is there. It is due then. */
  clear(): void;
}

/**
 * Makes a line to be drawn again and again.
 *
 * @param writer Where to draw: a terminal.
 * @param now A clock in milliseconds.
 */
export function liveLine(writer: ProgressWriter, now: () => number): LiveLine {
  let drawnAt = -Infinity;
  return {
    get isDue() {
      return now() - drawnAt >= REDRAW_MILLISECONDS;
    },
    draw(text) {
      // One column stays free: a full line makes some terminals wrap, and then it can't be cleared.
      const columns = writer.columns() - 1;
      writer.write(CLEAR_LINE + text(columns).slice(0, columns));
      drawnAt = now();
    },
    clear() {
      if (drawnAt !== -Infinity) writer.write(CLEAR_LINE);
      drawnAt = -Infinity;
    },
  };
}

/**
 * Standard error as a place for progress, so that standard output stays free for results.
 *
 * @returns The writer; its width is 80 where the console doesn't tell.
 */
export function stderrWriter(): ProgressWriter {
  const encoder = new TextEncoder();
  return {
    isTerminal: Deno.stderr.isTerminal(),
    write(text) {
      try {
        for (let bytes = encoder.encode(text); bytes.length > 0;) {
          bytes = bytes.subarray(Deno.stderr.writeSync(bytes));
        }
      } catch {
        // The terminal is gone; what it showed goes on.
      }
    },
    columns() {
      try {
        // Zero is what a pseudo-terminal says that was never given a size.
        return Deno.consoleSize().columns || 80;
      } catch {
        return 80;
      }
    },
  };
}

/**
 * One line with as much as fits: step, bar, percentage, loss, speed and time left. What matters least goes
 * first when the line gets narrow: the bar, then the speed, the percentage, the time left. Where nobody knows how much
 * there is to do, the line says how much is done.
 *
 * @param state What to show; `totalSteps` and `secondsLeft` are left out if unknown.
 * @param columns The most characters the line may have.
 * @returns The line, never longer than `columns`.
 */
export function renderBar(
  state: ProgressState & { totalSteps?: number; secondsLeft?: number },
  columns: number,
): string {
  const { step, totalSteps, loss, tokensPerSecond, secondsLeft } = state;
  const isKnown = totalSteps !== undefined;
  const done = isKnown && totalSteps > 0 ? Math.min(1, Math.max(0, step / totalSteps)) : 1;
  const steps = isKnown
    ? `${String(step).padStart(String(totalSteps).length)}/${totalSteps}`
    : `${formatCount(step)} done`;
  const percentage = isKnown ? `${String(Math.floor(done * 100)).padStart(3)}%` : "";
  // Fixed widths keep the bar from trembling while numbers change.
  const lossText = loss === undefined ? "" : `loss ${loss.toFixed(3)}`;
  const speed = tokensPerSecond === undefined ? "" : `${formatCount(tokensPerSecond).padStart(5)} tok/s`;
  const left = secondsLeft === undefined ? "" : `${formatDuration(secondsLeft)} left`;
  const line = (...parts: string[]) => parts.filter((part) => part !== "").join("  ");

  const withoutBar = line(steps, percentage, lossText, speed, left);
  const room = columns - withoutBar.length - 2;
  if (isKnown && room >= 10) {
    return line(steps, barOf(done, Math.min(room, 40)), percentage, lossText, speed, left);
  }
  const narrower = [
    withoutBar,
    line(steps, percentage, lossText, left),
    line(steps, lossText, left),
    line(steps, lossText),
    steps,
  ];
  return narrower.find((text) => text.length <= columns) ?? steps.slice(0, Math.max(0, columns));
}

/**
 * A bar.
 *
 * @param done How much of it is filled, from 0 to 1.
 * @param width Its width in characters.
 * @returns The bar, filled to an eighth of a character.
 */
export function barOf(done: number, width: number): string {
  const eighths = Math.round(done * width * 8);
  const whole = Math.floor(eighths / 8);
  const part = eighths % 8 === 0 ? "" : " ▏▎▍▌▋▊▉"[eighths % 8];
  return ("█".repeat(whole) + part).padEnd(width, "░");
}

/**
 * A time span as people say it, to two units.
 *
 * @param seconds The span; below 0 counts as 0, and what is not finite is unknown.
 * @returns Such as `8s`, `3m 05s`, `2h 07m`, `4d 03h`, or `?`.
 */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const total = Math.max(0, Math.round(seconds));
  const two = (n: number) => String(n).padStart(2, "0");
  const minutes = Math.floor(total / 60);
  const hours = Math.floor(minutes / 60);
  if (minutes === 0) return `${total}s`;
  if (hours === 0) return `${minutes}m ${two(total % 60)}s`;
  if (hours < 24) return `${hours}h ${two(minutes % 60)}m`;
  return `${Math.floor(hours / 24)}d ${two(hours % 24)}h`;
}

/**
 * A count in at most five characters up to the quadrillions.
 *
 * @param count A number of at least 0; what is not finite is unknown.
 * @returns Such as `950`, `1.2k`, `124M`, `6.7B`, `1.5T`, or `?`.
 */
export function formatCount(count: number): string {
  if (!Number.isFinite(count)) return "?";
  let value = count;
  for (const unit of ["", "k", "M", "B"]) {
    // Compare what will be printed: 999.6 rounds to 1000, which is 1.0 of the next unit.
    const text = unit === "" || value >= 99.95 ? value.toFixed(0) : value.toFixed(1);
    if (Number(text) < 1000) return text + unit;
    value /= 1000;
  }
  return `${value >= 99.95 ? value.toFixed(0) : value.toFixed(1)}T`;
}
