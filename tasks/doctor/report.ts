/**
 * The file of `deno task doctor --report`: what somebody without this adapter must know of it.
 *
 * It holds no paths and no names but those of drivers and adapters.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import manifest from "../../deno.json" with { type: "json" };
import { writeTextAtomically } from "../../files/atomic_file.ts";
import type { Gpu } from "../../gpu/device.ts";
import { modelFromConfig } from "../../models/load.ts";
import { explainError, parseOptions, UsageError } from "../command/command_line.ts";
import { BACKENDS, type FoundAdapter } from "../gpu/adapters.ts";
import { measureStep } from "../model/measure_step.ts";
import { chosenOptimizer, optimizerOptions } from "../train/optimizer_options.ts";
import { modelOptions, stepConfig, trainLmOptions } from "../train/train_lm_options.ts";
import { checkKnownLosses } from "./known_losses.ts";

/** An adapter as documents have it: the driver without its folder. */
export function adapterDocument({ backend, driverFile, driverVulkan, ...facts }: FoundAdapter) {
  const driver = driverFile === undefined
    ? {}
    : { driver: basename(driverFile), driver_vulkan: driverVulkan };
  return { ...facts, backend: BACKENDS[backend], ...driver };
}

/**
 * Checks that a report can be written, before the time that it takes.
 *
 * @param path The file.
 * @throws {UsageError} If Deno does not allow it, or there is no such folder.
 */
export function checkReportPath(path: string): void {
  const folder = dirname(resolve(path));
  if (Deno.permissions.querySync({ name: "write", path: folder }).state !== "granted") {
    throw new UsageError(
      `--report must be a file in the folder in which the command runs, where alone it may write, got ${path}`,
    );
  }
  let isFolder = false;
  try {
    isFolder = Deno.statSync(folder).isDirectory;
  } catch {
    // said below
  }
  if (!isFolder) throw new UsageError(`--report must be a file in a folder that is there, got ${path}`);
}

/**
 * Writes the report. What fails on the adapter is in it as `{"error": ...}` in the place of what was to be measured.
 *
 * @param path The file; one that is there is replaced.
 * @param found What is known of the machine and its adapters.
 * @param gpu The device, or why there is none.
 * @param say Told what is being done.
 * @returns Whether all went well.
 * @throws {Error} If the file cannot be written.
 */
export async function writeReport(
  path: string,
  found: Readonly<Record<string, unknown>>,
  gpu: Gpu | Error,
  say: (line: string) => void,
): Promise<boolean> {
  let isWell = !(gpu instanceof Error);
  const attempt = async <T>(words: string, measure: () => Promise<T>): Promise<T | { error: string }> => {
    try {
      say(words);
      return await measure();
    } catch (error) {
      isWell = false;
      return { error: explainError(error) };
    }
  };
  const measured = gpu instanceof Error ? { error: explainError(gpu) } : {
    known_losses: await attempt("training two tiny models, whose losses are known", async () => {
      const checks = await checkKnownLosses(gpu);
      isWell &&= checks.every(({ passed }) => passed);
      return checks;
    }),
    speed: await attempt("measuring a training step of gpt2-nano", () => measureNano(gpu)),
  };
  const document = { report: 1, koala_lm: manifest.version, ...found, ...measured };
  await writeTextAtomically(path, `${JSON.stringify(document, null, 2)}\n`);
  return isWell;
}

/** `deno task profile` with fewer steps. */
async function measureNano(gpu: Gpu) {
  const table = { ...modelOptions, "vocab-size": trainLmOptions["vocab-size"], ...optimizerOptions };
  const { values, given } = parseOptions(table, []);
  const config = await stepConfig(values, chosenOptimizer(values, given));
  const model = modelFromConfig({ ...config.model, vocab_size: config.vocabSize });
  return await measureStep(gpu, model, config, { model: values.model, steps: 2, warmupSteps: 1 });
}
