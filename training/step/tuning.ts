/**
 * Kernel choices of a training step, by measurement.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import { fastestCandidate } from "../../gpu/measure/tuning.ts";
import { recordStep, type TrainerOptions } from "./recording.ts";

/** Kernels by what they are for; see `Graph.choose`. */
export type KernelChoices = Readonly<Record<string, string>>;

/**
 * Finds the fastest kernels for a training step.
 *
 * @param gpu The device, which should have nothing else to do.
 * @param options The step.
 * @param known What was measured before on this adapter: taken as it is where the step still has such a kernel.
 * Default: nothing.
 * @returns The choices, and how many of them had to be measured.
 * @throws {GpuError} If a kernel does not compile.
 */
export async function tuneKernels(
  gpu: Gpu,
  options: TrainerOptions,
  known: KernelChoices = {},
): Promise<{ readonly kernels: KernelChoices; readonly measured: number }> {
  const { choices } = recordStep(gpu.profile, options).graph;
  const kernels: Record<string, string> = {};
  let measured = 0;
  for (const [key, choice] of choices) {
    if (choice.candidates.includes(known[key])) kernels[key] = known[key];
    else {
      kernels[key] = await fastestCandidate(gpu, choice);
      if (choice.candidates.length > 1) measured++;
    }
  }
  return { kernels, measured };
}
