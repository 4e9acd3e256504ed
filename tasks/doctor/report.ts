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
 * Writes the report. What fails on the adapter is in it as `{"error": ...}` in the place of what was to be measured. It is
 * written before each measurement too, since Deno may end with a panic where a driver loses the device.
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
  const document: Record<string, unknown> = { report: 1, koala_lm: manifest.version, ...found };
  const save = () => writeTextAtomically(path, `${JSON.stringify(document, null, 2)}\n`);
  let isWell = true;
  const measure = async (key: string, words: string, work: () => Promise<unknown>) => {
    document[key] = { error: "the command ended here" };
    await save();
    say(words);
    try {
      document[key] = await work();
    } catch (error) {
      isWell = false;
      document[key] = { error: explainError(error) };
    }
  };
  if (gpu instanceof Error) {
    document.error = explainError(gpu);
    isWell = false;
  } else {
    await measure("known_losses", "training two tiny models, whose losses are known", async () => {
      const checks = await checkKnownLosses(gpu);
      isWell = checks.every(({ passed }) => passed);
      return checks;
    });
    await measure("speed", "measuring a training step of gpt2-nano", () => measureNano(gpu));
  }
  await save();
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
