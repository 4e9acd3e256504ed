/**
 * Ctrl-C, SIGTERM and a closed terminal: the first asks a run to stop cleanly, the second ends the process at once.
 *
 * @module
 */

/** The signals, and the exit code that a shell expects of a process that one of them ended. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Whether an interruption was asked for. */
export interface Interrupts extends Disposable {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** What to exit with after it: 128 and the first signal's number; 130 if there was none. */
  readonly exitCode: number;
}

/**
 * Listens for SIGINT, SIGTERM and SIGHUP until it is disposed of.
 *
 * @param onFirst Called at the first signal.
 */
export function watchInterrupts(onFirst: () => void): Interrupts {
  const controller = new AbortController();
  let first: number | undefined;
  const names = Object.keys(EXIT_CODES) as (keyof typeof EXIT_CODES)[];
  // Windows knows SIGINT only.
  const signals = Deno.build.os === "windows" ? names.slice(0, 1) : names;
  const listeners = signals.map((signal) => ({
    signal,
    listener: () => {
      if (first !== undefined) Deno.exit(EXIT_CODES[signal]);
      first = EXIT_CODES[signal];
      controller.abort();
      onFirst();
    },
  }));
  for (const { signal, listener } of listeners) Deno.addSignalListener(signal, listener);
  return {
    signal: controller.signal,
    get exitCode() {
      return first ?? EXIT_CODES.SIGINT;
    },
    [Symbol.dispose]() {
      for (const { signal, listener } of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
}
