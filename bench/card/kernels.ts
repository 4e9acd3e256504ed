/**
 * The kernels of a training step, or of decoding, as a graphics card would get them, recorded without one.
 *
 * @module
 */
import type { Profile } from "../../gpu/device.ts";
import type { Kernel } from "../../gpu/kernel.ts";
import { modelFromConfig } from "../../models/load.ts";
import type { LanguageModel } from "../../models/model.ts";
import { recordGeneration } from "../../training/generate/recording.ts";
import type { StepConfig } from "../../training/run/config.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import { runOptimizer } from "../../training/run/optimizer.ts";
import { recordStep } from "../../training/step/recording.ts";
import { languageModelLoss } from "../../training/step/trainer.ts";

/**
 * An AMD card, as Deno sees it by Vulkan. Its subgroups have 32 or 64 lanes, and kernels with subgroup operations are
 * for 8.
 */
const GRAPHICS_CARD: Profile = {
  subgroupSize: 0,
  isSoftware: false,
  maxBindingBytes: 2 ** 31 - 4,
  maxBufferBytes: 2 ** 32 - 4,
  halfPrecision: true,
};

/** A kernel, and all its dispatches in a step. */
export interface StepKernel {
  /** Its name. */
  readonly label: string;
  /** Its WGSL. */
  readonly code: string;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Dispatches. */
  readonly dispatches: number;
  /** Workgroups of the dispatch that has the fewest. */
  readonly fewestWorkgroups: number;
  /** Floating point operations of all dispatches, of those kernels that declare them. */
  readonly flops: number;
  /** Bytes that all dispatches read and write. */
  readonly bytes: number;
}

/**
 * Records a step and gathers dispatches of the same code.
 *
 * @param config The step.
 * @returns The kernels, those with the most operations first, then those with the most bytes.
 */
export function stepKernels(config: StepConfig): StepKernel[] {
  const model = modelFromConfig({ ...config.model, vocab_size: config.vocabSize });
  const { graph } = recordStep(GRAPHICS_CARD, {
    record: languageModelLoss(model, config.batchSize, config.seqLen),
    optimizer: runOptimizer(config),
    gradAccum: config.gradAccum,
    clip: config.clip,
    recompute: config.recompute,
    precision: config.precision,
  });
  return gathered([[graph.microKernels, config.gradAccum], [graph.updateKernels, 1]]);
}

/**
 * Records what adds a token to each of some sequences, see {@linkcode stepKernels}.
 *
 * @param model The model.
 * @param batchSize How many sequences.
 */
export function decodeKernels(model: LanguageModel, batchSize: number): StepKernel[] {
  const { decode } = recordGeneration(GRAPHICS_CARD, model, declareParameters(model), { batchSize });
  return gathered([[decode.microKernels, 1]]);
}

function gathered(phases: readonly (readonly [kernels: readonly Kernel[], times: number])[]): StepKernel[] {
  const all = phases.flatMap(([kernels, times]) => kernels.map((kernel) => ({ kernel, times })));
  return [...Map.groupBy(all, ({ kernel }) => kernel.code)].map(([code, group]): StepKernel => {
    const sum = (value: (kernel: typeof group[0]["kernel"]) => number) =>
      group.reduce((total, { kernel, times }) => total + times * value(kernel), 0);
    return {
      label: group[0].kernel.label,
      code,
      threads: threadsOf(code),
      dispatches: sum(() => 1),
      fewestWorkgroups: Math.min(...group.map(({ kernel: { workgroups: [x, y, z] } }) => x * y * z)),
      flops: sum(({ flops = 0 }) => flops),
      bytes: sum(({ bytes }) => bytes),
    };
  }).sort((a, b) => b.flops - a.flops || b.bytes - a.bytes);
}

function threadsOf(code: string): number {
  const sizes = /@workgroup_size\(([\d, ]+)\)/.exec(code);
  if (!sizes) throw new Error(`a kernel must have a @workgroup_size of numbers, received ${code}`);
  return sizes[1].split(",").reduce((product, size) => product * Number(size), 1);
}
