/**
 * The time and memory of a training step with different optimizers, measured in turns.
 *
 * A machine that others use slows down and recovers within seconds, so times of one optimizer after the other
 * would compare the machine's moods. Here each optimizer takes turns with a reference, some ten steps each, and what
 * counts is the median over the rounds of the ratio within a round. Two trainers exist at a time, whatever the
 * number of optimizers.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import { quantile } from "./statistics.ts";
import { timeInARow } from "../step/profile.ts";
import type { StepInputs, TrainerOptions } from "../step/recording.ts";
import { Trainer } from "../step/trainer.ts";

/** What a step takes. */
export interface StepCost {
  /** Milliseconds of a step: the reference's median times {@linkcode StepCost.ratio}. */
  readonly ms: number;
  /** The median ratio to the reference's time; 1 for the reference. */
  readonly ratio: number;
  /** The lower and upper quartile of that ratio over the rounds. */
  readonly ratio_quartiles: readonly [number, number];
  /** Milliseconds of a step in the fastest turn, which other work on the machine disturbed least. */
  readonly fastest_ms: number;
  /** The fastest turn against the reference's fastest in the same rounds; 1 for the reference. */
  readonly fastest_ratio: number;
  /** Bytes of optimizer state per parameter that is trained. */
  readonly state_bytes_per_parameter: number;
  /** Planned bytes on the GPU for the whole step. */
  readonly planned_bytes: number;
}

/** Who is measured, and how long. */
export interface RaceOptions {
  /** The steps, which differ in their optimizers. */
  readonly steps: readonly TrainerOptions[];
  /** Which of them the others are compared with. */
  readonly reference: number;
  /** Inputs of the micro-batches of every step. */
  readonly inputs: readonly StepInputs[];
  /** How often each takes its turn. */
  readonly rounds: number;
  /** Ends the measurement after the turn that is under way. */
  readonly signal?: AbortSignal;
  /** Told after each round how many are done, of all. */
  readonly progress?: (done: number, total: number) => void;
}

/**
 * Steps of a turn are a multiple of this: some optimizers do more in every tenth step, such as SOAP, whose basis is
 * refreshed there.
 */
const PERIOD = 10;
/** Long enough that the wait at the end of a turn hardly counts. */
const TURN_NANOSECONDS = 2e8;
/** Most periods in a turn: the trainer keeps the metrics of 64 steps. */
const MOST_PERIODS = 6;
/** Where turns begin: what an optimizer does only in its first steps is over. */
const FIRST_STEP = 100 * PERIOD;
/** Kernels are compiled at their first dispatch. */
const WARMUP_STEPS = 2;

/**
 * Measures each step in turns with the reference.
 *
 * @param gpu The device.
 * @param options See {@linkcode RaceOptions}.
 * @returns The cost of each, in the order given; undefined if it was interrupted.
 * @throws {RangeError} If memory is too small for two trainers.
 */
export async function raceSteps(gpu: Gpu, options: RaceOptions): Promise<StepCost[] | undefined> {
  const { steps, reference, signal } = options;
  const known = await runnerFor(gpu, steps[reference], options.inputs);
  const races: { own: number[]; known: number[]; memory: Memory }[] = [];
  try {
    for (const [i, step] of steps.entries()) {
      const own = i === reference ? undefined : await runnerFor(gpu, step, options.inputs);
      const race = { own: [] as number[], known: [] as number[], memory: (own ?? known).memory };
      try {
        for (let round = 0; round < options.rounds; round++) {
          if (signal?.aborted) return undefined;
          const turns = [known, ...(own ? [own] : [])];
          // Who comes second finds the other's data in the caches, so the order changes.
          if (round % 2 === 1) turns.reverse();
          const taken = new Map<Runner, number>();
          for (const runner of turns) taken.set(runner, await runner.turn());
          race.known.push(taken.get(known)!);
          race.own.push(taken.get(own ?? known)!);
          options.progress?.(i * options.rounds + round + 1, steps.length * options.rounds);
          // Signals are delivered between turns of the event loop.
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
        races.push(race);
      } finally {
        own?.destroy();
      }
    }
  } finally {
    known.destroy();
  }
  const ms = quantile(races.flatMap((race) => race.known)) / 1e6;
  return races.map(({ own, known, memory }) => {
    const ratios = own.map((time, round) => time / known[round]);
    const ratio = quantile(ratios);
    const fastest = Math.min(...own);
    return {
      ms: ms * ratio,
      ratio,
      ratio_quartiles: [quantile(ratios, 0.25), quantile(ratios, 0.75)],
      fastest_ms: fastest / 1e6,
      fastest_ratio: fastest / Math.min(...known),
      ...memory,
    };
  });
}

type Memory = Pick<StepCost, "state_bytes_per_parameter" | "planned_bytes">;

interface Runner {
  readonly memory: Memory;
  /** Takes a turn. @returns Nanoseconds per step. */
  turn(): Promise<number>;
  destroy(): void;
}

async function runnerFor(gpu: Gpu, step: TrainerOptions, inputs: readonly StepInputs[]): Promise<Runner> {
  const trainer = await Trainer.create(gpu, step);
  for (let i = 0; i < WARMUP_STEPS; i++) trainer.step(inputs);
  await trainer.metrics();
  const once = await timeInARow(gpu, trainer, inputs, 1);
  const periods = Math.round(TURN_NANOSECONDS / (PERIOD * Math.max(once, 1)));
  const count = PERIOD * Math.max(1, Math.min(MOST_PERIODS, periods));
  trainer.nextStep = FIRST_STEP;
  const { dispatches: _, ...bytes } = trainer.plan;
  return {
    memory: {
      state_bytes_per_parameter: bytes.state / trainer.parameters.trainableCount,
      planned_bytes: Object.values(bytes).reduce((a, b) => a + b, 0),
    },
    turn: () => timeInARow(gpu, trainer, inputs, count),
    destroy: () => trainer.destroy(),
  };
}
