/**
 * Kernel choices of a training step: measured once per adapter and shape, kept in a file.
 *
 * @module
 */
import { join } from "node:path";
import { readJsonFile, writeJsonFile } from "../../files/json_file.ts";
import type { Gpu } from "../../gpu/device.ts";
import { fastestCandidate } from "../../gpu/tuning.ts";
import { recordStep, type TrainerOptions } from "./recording.ts";

/** Kernels by what they are for; see `Graph.choose`. */
export type KernelChoices = Readonly<Record<string, string>>;

const FILE = "kernels.json";

/**
 * Finds the fastest kernels for a training step.
 *
 * @param gpu The device, which should have nothing else to do.
 * @param options The step.
 * @param cacheDir Folder whose `kernels.json` remembers what was measured; made where it is missing.
 * @returns The choices, and how many of them had to be measured.
 * @throws {GpuError} If a kernel does not compile.
 */
export async function tuneKernels(
  gpu: Gpu,
  options: TrainerOptions,
  cacheDir: string,
): Promise<{ readonly kernels: KernelChoices; readonly measured: number }> {
  const { choices } = recordStep(gpu.profile, options).graph;
  const path = join(cacheDir, FILE);
  const adapters = await readAdapters(path);
  // Another driver or another Deno compiles kernels in another way.
  const adapter = `${gpu.description}, subgroups of ${gpu.profile.subgroupSize}, Deno ${Deno.version.deno}`;
  const known = adapters[adapter] ?? {};
  const kernels: Record<string, string> = {};
  let measured = 0;
  for (const [key, choice] of choices) {
    if (choice.candidates.includes(known[key])) kernels[key] = known[key];
    else {
      kernels[key] = await fastestCandidate(gpu, choice);
      if (choice.candidates.length > 1) measured++;
    }
  }
  if (measured > 0) {
    await Deno.mkdir(cacheDir, { recursive: true });
    await writeJsonFile(path, { ...adapters, [adapter]: { ...known, ...kernels } });
  }
  return { kernels, measured };
}

/** What was measured before; a file that is missing or damaged is as good as none. */
async function readAdapters(path: string): Promise<Record<string, Record<string, string>>> {
  try {
    return await readJsonFile(path) as Record<string, Record<string, string>>;
  } catch {
    return {};
  }
}
