/**
 * What every task that trains does first: says what it runs on, finds the fastest kernels.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import type { LanguageModel } from "../../models/model.ts";
import { stepOptions } from "../../training/run/step_options.ts";
import type { RunConfig } from "../../training/run/config.ts";
import { tuneKernelsOnce } from "../../training/run/kernels_file.ts";

/** Says which adapter it is. */
export function sayAdapter(gpu: Gpu, say: (line: string) => void): void {
  const note = gpu.profile.isSoftware ? " (software: runs on the CPU, so it is slow)" : "";
  say(`adapter: ${gpu.description}${note}`);
}

/** The configuration with the kernels that are fastest on this adapter. */
export async function withFastestKernels(
  gpu: Gpu,
  config: RunConfig,
  model: LanguageModel,
  cacheDir: string,
  say: (line: string) => void,
): Promise<RunConfig> {
  const started = performance.now();
  const { kernels, measured } = await tuneKernelsOnce(gpu, stepOptions(config, model), cacheDir);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (measured > 0) say(`kernels: the fastest for ${measured} matrix products found in ${seconds} s`);
  return { ...config, kernels };
}
