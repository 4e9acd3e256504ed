/**
 * Ctrl-C and SIGTERM: the first asks a run to stop cleanly, the second ends the process at once.
 *
 * @module
 */

/** Whether an interruption was asked for. */
export interface Interrupts {
  /** True after the first signal. */
  readonly requested: boolean;
  /** Stops listening. */
  close(): void;
}

/**
 * Listens for SIGINT and SIGTERM.
 *
 * @param onFirst Called at the first signal.
 */
export function watchInterrupts(onFirst: () => void): Interrupts {
  let requested = false;
  // Windows knows SIGINT only.
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
  const listeners = signals.map((signal) => ({
    signal,
    listener: () => {
      if (requested) Deno.exit(signal === "SIGINT" ? 130 : 143);
      requested = true;
      onFirst();
    },
  }));
  for (const { signal, listener } of listeners) Deno.addSignalListener(signal, listener);
  return {
    get requested() {
      return requested;
    },
    close() {
      for (const { signal, listener } of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
}
