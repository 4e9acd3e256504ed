/**
 * Ctrl-C and SIGTERM: the first asks a run to stop cleanly, the second ends the process at once.
 *
 * @module
 */

/** The signals, and the exit code that a shell expects of a process that one of them ended. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Whether an interruption was asked for. */
export interface Interrupts {
  /** True after the first signal. */
  readonly requested: boolean;
  /** What to exit with after it: 128 and the first signal's number; 130 if there was none. */
  readonly exitCode: number;
  /** Stops listening. */
  close(): void;
}

/**
 * Listens for SIGINT and SIGTERM.
 *
 * @param onFirst Called at the first signal.
 */
export function watchInterrupts(onFirst: () => void): Interrupts {
  let first: number | undefined;
  const names = Object.keys(EXIT_CODES) as (keyof typeof EXIT_CODES)[];
  // Windows knows SIGINT only.
  const signals = Deno.build.os === "windows" ? names.slice(0, 1) : names;
  const listeners = signals.map((signal) => ({
    signal,
    listener: () => {
      if (first !== undefined) Deno.exit(EXIT_CODES[signal]);
      first = EXIT_CODES[signal];
      onFirst();
    },
  }));
  for (const { signal, listener } of listeners) Deno.addSignalListener(signal, listener);
  return {
    get requested() {
      return first !== undefined;
    },
    get exitCode() {
      return first ?? EXIT_CODES.SIGINT;
    },
    close() {
      for (const { signal, listener } of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
}
