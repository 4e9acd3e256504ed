/**
 * Measures contestants in turns: a machine that slows down for a while then slows everyone down.
 *
 * @module
 */
import type { Child } from "./child.ts";
import type { Runner } from "./implementations.ts";
import type { Case, Ready } from "./protocol.ts";

/** Somebody and what they have to do. */
export interface Contestant {
  /** What the table calls it. */
  readonly name: string;
  /** Who does it; several contestants may share one. */
  readonly runner: Runner;
  /** The work. */
  readonly what: Case;
  /** Operations or bytes in a run, if it is not the child who says so. */
  readonly work?: number;
  /** Checks what the child said when it was ready; throws if it is wrong. */
  readonly check?: (ready: Ready) => void;
}

/** What was measured of a contestant. */
export interface Measured {
  /** What the table calls it. */
  readonly name: string;
  /** Seconds of a run, a value for each round. */
  readonly samples: readonly number[];
  /** Seconds of the first run. */
  readonly first?: number;
  /** Operations or bytes in a run. */
  readonly work?: number;
  /** Largest relative error. */
  readonly error?: number;
  /** Losses of the first steps. */
  readonly losses?: readonly number[];
  /** Why there are no samples. */
  readonly failure?: string;
}

/** How {@linkcode race} goes about it. */
export interface RaceOptions {
  /** Samples of each contestant. */
  readonly rounds: number;
  /** Seconds that a sample should take, so that the wait at its end does not count. */
  readonly seconds: number;
  /** Least number of runs in a sample; default 1. */
  readonly least?: number;
}

let lastId = 0;

/**
 * Prepares and checks everyone, then measures them in turns.
 *
 * @returns What was measured, in the order of the contestants; a failure stops its contestant only.
 */
export async function race(contestants: readonly Contestant[], options: RaceOptions): Promise<Measured[]> {
  const { rounds, seconds, least = 1 } = options;
  const states = contestants.map((contestant) => ({
    ...contestant,
    id: ++lastId,
    ready: {} as Ready,
    count: 0,
    samples: [] as number[],
    failure: contestant.runner.failure,
  }));
  const everyone = async (action: (state: typeof states[number], child: Child) => Promise<void>) => {
    for (const state of states) {
      if (state.failure !== undefined) continue;
      try {
        await action(state, state.runner.child!);
      } catch (error) {
        state.failure = (error as Error).message;
      }
    }
  };
  await everyone(async (state, child) => {
    const { id, what, check } = state;
    state.ready = await child.ask({ ask: "prepare", id, case: what }) as Ready;
    check?.(state.ready);
    const time = async (count: number) => await child.ask({ ask: "time", id, count }) as number;
    // What a run takes once it is warm decides how many make a sample; a wait would weigh in a short run.
    let once = state.ready.once ?? await time(1);
    if (once < 0.1) once = await time(8);
    state.count = Math.min(256, Math.max(least, Math.round(seconds / once)));
  });
  for (let round = 0; round < rounds; round++) {
    await everyone(async ({ id, count, samples }, child) => {
      samples.push(await child.ask({ ask: "time", id, count }) as number);
    });
  }
  await everyone(async ({ id }, child) => void await child.ask({ ask: "release", id }));
  return states.map(({ name, work, ready, samples, failure }) => ({
    name,
    samples: failure === undefined ? samples : [],
    first: ready.first,
    work: work ?? ready.work,
    error: ready.error,
    losses: ready.losses,
    failure,
  }));
}
