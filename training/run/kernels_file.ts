/**
 * The file that remembers which kernels were the fastest, for each adapter.
 *
 * @module
 */
import { join } from "node:path";
import { readJsonFile, writeJsonFile } from "../../files/json_file.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { TrainerOptions } from "../step/recording.ts";
import { type KernelChoices, tuneKernels } from "../step/tuning.ts";

const FILE = "kernels.json";

/**
 * Finds the fastest kernels for a training step, and measures only what was never measured.
 *
 * @param gpu The device, which should have nothing else to do.
 * @param options The step.
 * @param cacheDir Folder whose `kernels.json` remembers what was measured; made where it is missing.
 * @returns The choices, and how many of them had to be measured.
 * @throws {GpuError} If a kernel does not compile.
 * @throws {Error} If the file cannot be written, with what to do about it.
 */
export async function tuneKernelsOnce(
  gpu: Gpu,
  options: TrainerOptions,
  cacheDir: string,
): Promise<{ readonly kernels: KernelChoices; readonly measured: number }> {
  const path = join(cacheDir, FILE);
  const adapters = await readAdapters(path);
  // Another driver or another Deno compiles kernels in another way.
  const adapter = `${gpu.description}, subgroups of ${gpu.profile.subgroupSize}, Deno ${Deno.version.deno}`;
  const known = adapters[adapter] ?? {};
  const { kernels, measured } = await tuneKernels(gpu, options, known);
  if (measured > 0) {
    await Deno.mkdir(cacheDir, { recursive: true });
    await writeJsonFile(path, { ...adapters, [adapter]: { ...known, ...kernels } });
  }
  return { kernels, measured };
}

/** What was measured before; a file that is missing or damaged is as good as none. */
async function readAdapters(path: string): Promise<Record<string, KernelChoices>> {
  try {
    return await readJsonFile(path) as Record<string, KernelChoices>;
  } catch {
    return {};
  }
}
