/**
 * Choosing the fastest of several kernels for the same work by measuring them.
 *
 * @module
 */
import { clockMethod, Timestamps } from "../clock.ts";
import type { Gpu } from "../device.ts";
import { type Choice, Graph } from "../graph.ts";
import { compileProgram, type Program } from "../program.ts";
import { submitCommands } from "../replay.ts";

/** How often each candidate runs, in turns; the best run counts. The first compiles. */
const ROUNDS = 4;
/**
 * What share of the default's time another kernel may take to replace it. Closer ones would be chosen by chance, and
 * two runs with the same seed would differ in their last bits.
 */
const ADVANTAGE = 0.9;

/**
 * Measures the candidates of a choice.
 *
 * @param gpu The device, which should have nothing else to do.
 * @param choice What {@linkcode Graph.choose} recorded.
 * @returns The name of the fastest, or of the default where none takes at least a tenth less.
 * @throws {GpuError} If a candidate does not compile.
 */
export async function fastestCandidate(gpu: Gpu, { candidates, trial }: Choice): Promise<string> {
  if (candidates.length === 1) return candidates[0];
  const programs: Program[] = [];
  try {
    for (const candidate of candidates) {
      const g = new Graph({ profile: gpu.profile });
      trial(g, candidate);
      programs.push(await compileProgram(gpu, g));
    }
    const stamped = await clockMethod(gpu) === "timestamps" ? await stampedTimes(gpu, programs) : undefined;
    const times = stamped ?? await waitedTimes(programs);
    return fastestOf(candidates, times);
  } finally {
    programs.forEach((program) => program.destroy());
  }
}

/** The candidate that took the least time, or the default, which is the first, where none takes at least a tenth less. */
export function fastestOf(candidates: readonly string[], times: readonly number[]): string {
  const fastest = times.indexOf(Math.min(...times));
  return candidates[times[fastest] < ADVANTAGE * times[0] ? fastest : 0];
}

/** All rounds before one wait, since a wait costs more than most kernels. In ticks; nothing where they are wrong. */
async function stampedTimes(gpu: Gpu, programs: readonly Program[]): Promise<number[] | undefined> {
  const stamps = new Timestamps(gpu, ROUNDS * programs.length);
  try {
    for (let i = 0; i < ROUNDS * programs.length; i++) {
      const program = programs[i % programs.length];
      submitCommands(gpu.device, (encoder) => program.encodeKernels(encoder, stamps.writes(i)));
    }
    const ticks = await stamps.read();
    return ticks && programs.map((_, p) => {
      const own = Array.from({ length: ROUNDS }, (_, round) => 2 * (round * programs.length + p));
      return Math.min(...own.map((i) => ticks[i + 1] - ticks[i]));
    });
  } finally {
    stamps.destroy();
  }
}

async function waitedTimes(programs: readonly Program[]): Promise<number[]> {
  const best = programs.map(() => Infinity);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [p, program] of programs.entries()) best[p] = Math.min(best[p], (await program.timeRun()).gpu);
  }
  return best;
}
