/**
 * What a training step would take on a graphics card that is not at hand, kernel by kernel, by the model of
 * `gpu/measure/roofline.ts`. It needs no GPU: the step is recorded for the card and nothing runs.
 *
 * @module
 */
import { type Card, peakGflops } from "../../gpu/measure/cards.ts";
import { type Bound, modelTime } from "../../gpu/measure/roofline.ts";
import { fastestOf } from "../../gpu/measure/tuning.ts";
import { wgslCost } from "../../gpu/measure/wgsl_cost.ts";
import { type Choice, Graph } from "../../gpu/graph.ts";
import { type Kernel, threadsOf, workgroupBytes } from "../../gpu/kernel.ts";
import type { LanguageModel } from "../../models/model.ts";
import { type LeastBytes, leastBytes, type StepTokens } from "./least_bytes.ts";
import { modelFlops } from "./profile.ts";
import type { RecordedStep } from "./recording.ts";
import type { KernelChoices } from "./tuning.ts";

/** Dispatches of a step that run the same code in as many workgroups. */
export interface ModelledKernel {
  /** The kernel's name. */
  readonly label: string;
  /** Dispatches in a step. */
  readonly count: number;
  /** Workgroups of a dispatch. */
  readonly workgroups: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Private f32 of a thread, estimated from the WGSL. */
  readonly privateValues: number;
  /** Bytes of workgroup memory that are read for a multiply-add of the hot loop, estimated; undefined without any. */
  readonly bytesPerMultiplyAdd?: number;
  /** Threads that a core keeps at the same time. */
  readonly residentThreads: number;
  /** Floating point operations of all dispatches, of those that declare them. */
  readonly flops: number;
  /** Bytes that all dispatches read and write. */
  readonly bytes: number;
  /** Time of all dispatches. */
  readonly nanoseconds: number;
  /** What limits most of that time. */
  readonly bound: Bound;
}

/** What the step would take. */
export interface StepRoofline {
  /** By time, longest first. */
  readonly kernels: readonly ModelledKernel[];
  /** The sum of all kernels. */
  readonly nanoseconds: number;
  /** Tokens in a second. */
  readonly tokensPerSecond: number;
  /** Operations that the model needs, see {@linkcode modelFlops}. */
  readonly modelFlops: number;
  /** Their rate as a share of the card's f32 peak. */
  readonly utilization: number;
  /** Bytes that kernels move. */
  readonly bytes: number;
  /** Bytes that layers must move. */
  readonly least: LeastBytes;
  /** Shares of the time in kernels of a kind that leaves a card idle, see {@linkcode WEAK}. */
  readonly weak: readonly WeakShare[];
}

/** How much of the time is in kernels that do not fill a card. */
export interface WeakShare {
  /** A key of {@linkcode WEAK}. */
  readonly kind: keyof typeof WEAK;
  /** Of the step's time, all together. */
  readonly share: number;
  /** Of the step's time, those of the name that has most. */
  readonly largest: number;
  /** That name; undefined where there is none. */
  readonly label?: string;
}

/** What leaves a card idle. */
export const WEAK: {
  readonly [kind in "few workgroups" | "small workgroups" | "many private values"]: (
    kernel: ModelledKernel,
    card: Card,
  ) => boolean;
} = {
  /** Fewer than four workgroups for each core. */
  "few workgroups": ({ workgroups }, { cores }) => workgroups < 4 * cores,
  /** Fewer than 64 threads in a workgroup. */
  "small workgroups": ({ threads }) => threads < 64,
  /** More than 128 private f32 in a thread. */
  "many private values": ({ privateValues }) => privateValues > 128,
};

/**
 * The kernels that a run would take, which measures them, where they are as fast as the model says.
 *
 * @param card The card.
 * @param graph A recording for it, whatever kernels it has.
 */
export function modelledChoices(card: Card, { choices }: Graph): KernelChoices {
  const timeOf = (trial: Choice["trial"], candidate: string) => {
    const g = new Graph({ profile: card.profile });
    trial(g, candidate);
    const kernels = g.microKernels.map((kernel) => modelKernel(card, [{ kernel, times: 1 }]));
    return kernels.reduce((sum, k) => sum + k.nanoseconds, 0);
  };
  return Object.fromEntries([...choices].map(([key, { candidates, trial }]) => {
    const times = candidates.map((candidate) => timeOf(trial, candidate));
    return [key, fastestOf(candidates, times)];
  }));
}

/**
 * Models a step.
 *
 * @param card The card that it was recorded for.
 * @param model The model, whose config has the keys of GPT, GPT-2 or Llama.
 * @param step The recorded step.
 * @param tokens Its batch.
 */
export function stepRoofline(
  card: Card,
  model: LanguageModel,
  { graph, state }: Pick<RecordedStep, "graph" | "state">,
  tokens: StepTokens,
): StepRoofline {
  const phases = [[graph.microKernels, tokens.gradAccum], [graph.updateKernels, 1]] as const;
  const all = phases.flatMap(([kernels, times]) => kernels.map((kernel) => ({ kernel, times })));
  const kernels = [...Map.groupBy(all, ({ kernel }) => `${kernel.workgroups} ${kernel.code}`).values()]
    .map((group) => modelKernel(card, group)).sort((a, b) => b.nanoseconds - a.nanoseconds);

  const nanoseconds = kernels.reduce((sum, k) => sum + k.nanoseconds, 0);
  const count = tokens.batchSize * tokens.seqLen * tokens.gradAccum;
  const flops = count * modelFlops(card.profile, model, graph.parameters, tokens.seqLen).perToken;
  const kinds = Object.keys(WEAK) as (keyof typeof WEAK)[];
  return {
    kernels,
    nanoseconds,
    tokensPerSecond: count / nanoseconds * 1e9,
    modelFlops: flops,
    utilization: flops / nanoseconds / peakGflops(card),
    bytes: kernels.reduce((sum, k) => sum + k.bytes, 0),
    least: leastBytes(model, graph.parameters, state, tokens),
    weak: kinds.map((kind) => weakShare(kind, kernels, nanoseconds, card)),
  };
}

function modelKernel(
  card: Card,
  group: readonly { readonly kernel: Kernel; readonly times: number }[],
): ModelledKernel {
  const { label, code, workgroups: [x, y, z] } = group[0].kernel;
  const cost = wgslCost(code);
  const shape = { workgroups: x * y * z, threads: threadsOf(code), workgroupBytes: workgroupBytes(code) };
  const times = group.map(({ kernel: { flops = 0, bytes }, times }) => ({
    ...modelTime(card, { ...shape, flops, bytes, cost }),
    flops,
    bytes,
    times,
  }));
  const sum = (value: (dispatch: typeof times[0]) => number) =>
    times.reduce((total, dispatch) => total + dispatch.times * value(dispatch), 0);
  const { multiplyAdds, workgroupBytes: read } = cost.hotLoop;
  const longest = times.reduce((a, b) => b.nanoseconds > a.nanoseconds ? b : a);
  return {
    label,
    count: sum(() => 1),
    workgroups: shape.workgroups,
    threads: shape.threads,
    privateValues: cost.privateValues,
    ...(multiplyAdds > 0 ? { bytesPerMultiplyAdd: read / multiplyAdds } : {}),
    residentThreads: longest.residentThreads,
    flops: sum(({ flops }) => flops),
    bytes: sum(({ bytes }) => bytes),
    nanoseconds: sum(({ nanoseconds }) => nanoseconds),
    bound: longest.bound,
  };
}

function weakShare(
  kind: keyof typeof WEAK,
  kernels: readonly ModelledKernel[],
  whole: number,
  card: Card,
): WeakShare {
  const weak = kernels.filter((kernel) => WEAK[kind](kernel, card));
  const share = (some: readonly ModelledKernel[]) => some.reduce((sum, k) => sum + k.nanoseconds, 0) / whole;
  const byName = [...Map.groupBy(weak, ({ label }) => label)].map(([label, some]) => ({
    label,
    largest: share(some),
  }));
  const { label, largest } = byName.reduce<{ label?: string; largest: number }>(
    (a, b) => b.largest > a.largest ? b : a,
    { largest: 0 },
  );
  return { kind, share: share(weak), largest, label };
}
