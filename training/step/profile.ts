/**
 * Where the time of a training step goes, and how far it is from what the adapter can do.
 *
 * Model floating point operations of a token, as PaLM counts them (arXiv 2204.02311, appendix B): 6 for each
 * parameter that takes part in a product (2 forward, 4 backward) and 12 L C T for attention, halved because
 * causal attention needs half of the T x T products:
 *
 * flops per step = tokens (6 (matrices + head) + 12 L C T / 2)
 *
 * Position tables, norms and biases take part in no product, nor does the token table but as a tied head.
 *
 * @module
 */
import { type ClockMethod, idleWait, type SubmissionTime, waitForGpu } from "../../gpu/clock.ts";
import type { Gpu, Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import type { KernelTime, ReplayProfile } from "../../gpu/profile.ts";
import type { LanguageModel } from "../../models/model.ts";
import type { StepInputs } from "./recording.ts";
import type { Trainer } from "./trainer.ts";

/** Dispatches of a step that do the same work under the same name. */
export interface KernelGroup extends Omit<KernelTime, "nanoseconds"> {
  /** Dispatches per step. */
  readonly count: number;
  /** Time of all of them in a step. */
  readonly nanoseconds: number;
}

/**
 * Times of a step in nanoseconds. Each step that is measured as a whole is followed by one that is measured kernel
 * by kernel; all times but those in a row come from the fastest such pair, which other work on the machine
 * disturbed least, so that they add up.
 */
export interface StepProfile {
  /** How times on the GPU were measured. */
  readonly method: ClockMethod;
  /** Per step when steps follow each other without waiting, as in training. */
  readonly inARow: number;
  /** A step by itself: the sum of the three times below. */
  readonly alone: number;
  /** The sum of all kernels: by timestamps without their dispatch, by waiting with it. */
  readonly kernels: number;
  /**
   * The GPU's time of a normal step that no kernel accounts for: dispatches, barriers, clears and copies. Where
   * kernels overlap or the machine is noisy it may be negative.
   */
  readonly between: number;
  /** Writing inputs, encoding and submitting; in a row it overlaps with the GPU's work on the step before. */
  readonly javascript: number;
  /**
   * The slowest measured step's time divided by the fastest's of the same kind: far above 1, the machine was busy
   * with something else and the parts are rough.
   */
  readonly spread: number;
  /** By time, longest first. */
  readonly groups: readonly KernelGroup[];
}

/** Most steps in a row: the trainer keeps the metrics of 64. */
const LONGEST_ROW = 32;

/**
 * Measures steps of a trainer. They change its parameters as any step does.
 *
 * @param gpu The trainer's device.
 * @param trainer A compiled step.
 * @param inputs The inputs of its micro-batches, the same for every step.
 * @param options How many steps to do before (at least 1: kernels are compiled at their first dispatch) and how
 * many to measure in each of the three ways: kernel by kernel, by themselves and in a row (here at most 32).
 * @throws {RangeError} If a number of steps is not positive.
 */
export async function profileSteps(
  gpu: Gpu,
  trainer: Trainer,
  inputs: readonly StepInputs[],
  { warmupSteps, steps }: { warmupSteps: number; steps: number },
): Promise<StepProfile> {
  if (!(warmupSteps >= 1 && steps >= 1)) {
    throw new RangeError(`Steps must be at least 1, got ${warmupSteps} of warm-up and ${steps} measured`);
  }
  await idleWait(gpu);
  for (let i = 0; i < warmupSteps; i++) {
    trainer.step(inputs);
    await trainer.metrics();
  }
  const pairs: { whole: SubmissionTime; profile: ReplayProfile; kernels: number }[] = [];
  for (let i = 0; i < steps; i++) {
    const whole = await trainer.timeStep(inputs);
    const profile = await trainer.profileStep(inputs);
    pairs.push({ whole, profile, kernels: profile.kernels.reduce((sum, k) => sum + k.nanoseconds, 0) });
    await trainer.metrics();
  }
  const inARow = await timeInARow(gpu, trainer, inputs, Math.min(steps, LONGEST_ROW));

  const ratio = (times: number[]) => Math.max(...times) / Math.min(...times);
  const { whole, profile, kernels } = pairs.reduce((a, b) =>
    a.whole.gpu + a.kernels <= b.whole.gpu + b.kernels ? a : b
  );
  return {
    method: profile.method,
    inARow,
    alone: whole.gpu + whole.host,
    kernels,
    between: whole.gpu - kernels,
    javascript: whole.host,
    spread: Math.max(ratio([inARow, ...pairs.map((p) => p.whole.gpu)]), ratio(pairs.map((p) => p.kernels))),
    groups: groupKernels(profile.kernels),
  };
}

/**
 * Nanoseconds per step when steps follow each other without waiting, as in training.
 *
 * @param gpu The trainer's device.
 * @param trainer A compiled step, all of whose metrics have been read.
 * @param inputs The inputs of its micro-batches, the same for every step.
 * @param steps How many steps, at most 64.
 */
export async function timeInARow(
  gpu: Gpu,
  trainer: Trainer,
  inputs: readonly StepInputs[],
  steps: number,
): Promise<number> {
  const floor = await idleWait(gpu);
  const started = performance.now();
  for (let i = 0; i < steps; i++) trainer.step(inputs);
  await waitForGpu(gpu);
  const nanoseconds = Math.max(0, (performance.now() - started) * 1e6 - floor) / steps;
  await trainer.metrics();
  return nanoseconds;
}

/** Adds up dispatches of the same name, shapes, workgroups and work; the longest first. */
export function groupKernels(kernels: readonly KernelTime[]): KernelGroup[] {
  const same = ({ nanoseconds: _, ...what }: KernelTime) => JSON.stringify(what);
  return [...Map.groupBy(kernels, same).values()].map((group) => ({
    ...group[0],
    count: group.length,
    nanoseconds: group.reduce((sum, k) => sum + k.nanoseconds, 0),
  })).sort((a, b) => b.nanoseconds - a.nanoseconds);
}

/** What {@linkcode modelFlops} counts. */
export interface ModelFlops {
  /** Parameters that take part in products. */
  readonly parameters: number;
  /** Floating point operations of the model per token. */
  readonly perToken: number;
}

/**
 * Counts the operations that the model itself needs, whatever the kernels do; see the top of this file.
 *
 * @param profile The adapter's.
 * @param model The model, whose config names its layers and width as GPT, GPT-2 or Llama do.
 * @param store The parameters of a recorded step.
 * @param seqLen Tokens per sequence, T.
 */
export function modelFlops(
  profile: Profile,
  model: LanguageModel,
  store: ParameterStore,
  seqLen: number,
): ModelFlops {
  const matrices = store.all.filter((p) => p.role === "matrix");
  // Any graph over the same parameters finds the same head.
  const head = model.head(new Graph({ profile, parameters: store }));
  const parameters = matrices.reduce((sum, p) => sum + p.tensor.size, head.size);
  const { n_layer, num_hidden_layers } = model.config;
  const layers = Number(n_layer ?? num_hidden_layers);
  const width = head.shape[1];
  return { parameters, perToken: 6 * parameters + 12 * layers * width * seqLen / 2 };
}
