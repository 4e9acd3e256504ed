/**
 * The folder of a training run: `run.json`, and which checkpoints it has, which of them stay, and what a killed
 * process left behind.
 *
 * @module
 */

import { basename, dirname, join, resolve } from "node:path";
import { explained, isBeingWritten, TEMPORARY_PREFIX, temporaryPath } from "../../files/atomic_file.ts";
import {
  ADAPTER_CONFIG_FILE,
  ADAPTER_WEIGHTS_FILE,
  CONFIG_FILE,
  WEIGHTS_FILE,
} from "../../files/hugging_face_names.ts";
import { readJsonFile, writeJsonFile } from "../../files/json_file.ts";

const CHECKPOINTS = "checkpoints";
const RUN = "run.json";
const CHECKPOINT_NAME = /^step-(\d{8,15})$/;
/** A checkpoint holds a model, or the adapter of one. */
const WEIGHTS_FILES = [
  [CONFIG_FILE, WEIGHTS_FILE],
  [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE],
];

/** The optimizer's tensors in a checkpoint. */
export const OPTIMIZER_FILE = "optimizer.safetensors";
/** The rest of what a run needs to go on, in a checkpoint. */
export const TRAINING_STATE_FILE = "training_state.json";

/** Start of the name of a checkpoint that is just being replaced by one of the same step. */
export const REPLACED_PREFIX = ".replaced-";

/** A complete checkpoint of a run. */
export interface CheckpointEntry {
  /** How many steps were done. */
  readonly step: number;
  /** Its folder. */
  readonly path: string;
}

/**
 * Where the checkpoint of a step is.
 *
 * @param runDir The run's folder.
 * @param step How many steps are done.
 * @returns `runDir/checkpoints/step-00000300` for step 300.
 * @throws {RangeError} If the step is no whole number from 0 to 10^15.
 */
export function checkpointPath(runDir: string, step: number): string {
  if (!Number.isInteger(step) || step < 0 || step >= 1e15) {
    throw new RangeError(`The step of a checkpoint must be a whole number from 0 to 10^15, got ${step}`);
  }
  return join(runDir, CHECKPOINTS, `step-${String(step).padStart(8, "0")}`);
}

/**
 * Lists the complete checkpoints of a run. Folders that are still being written, or that lack a file, are
 * skipped.
 *
 * @param runDir The run's folder. One that does not exist has no checkpoints.
 * @returns The checkpoints, oldest first.
 * @throws {Error} If the folder cannot be read, with what to do about it.
 */
export async function listCheckpoints(runDir: string): Promise<CheckpointEntry[]> {
  const entries: CheckpointEntry[] = [];
  for (const name of await namesIn(join(runDir, CHECKPOINTS))) {
    const digits = CHECKPOINT_NAME.exec(name)?.[1];
    if (digits === undefined) continue;
    const path = join(runDir, CHECKPOINTS, name);
    const isFolder = await Deno.stat(path).then(({ isDirectory }) => isDirectory, () => false);
    const files = isFolder ? await namesIn(path) : [];
    const has = (names: readonly string[]) => names.every((name) => files.includes(name));
    if (has([OPTIMIZER_FILE, TRAINING_STATE_FILE]) && WEIGHTS_FILES.some(has)) {
      entries.push({ step: Number(digits), path });
    }
  }
  return entries.sort((a, b) => a.step - b.step);
}

/**
 * The newest complete checkpoint of a run.
 *
 * @param runDir The run's folder.
 * @returns The checkpoint, or `null` if there is none.
 * @throws {Error} If the folder cannot be read, with what to do about it.
 */
export async function latestCheckpoint(runDir: string): Promise<CheckpointEntry | null> {
  return (await listCheckpoints(runDir)).at(-1) ?? null;
}

/**
 * Removes all but the newest checkpoints of a run and the best one.
 *
 * @param runDir The run's folder.
 * @param keep How many of the newest to keep, at least 1.
 * @param bestStep The step of the best checkpoint, kept in any case. Default: none is best.
 * @returns The folders that were removed, oldest first.
 * @throws {RangeError} If `keep` is no whole number from 1.
 * @throws {Error} If a folder cannot be removed, with what to do about it.
 */
export async function pruneCheckpoints(runDir: string, keep: number, bestStep?: number): Promise<string[]> {
  if (!(Number.isInteger(keep) || keep === Infinity) || keep < 1) {
    throw new RangeError(`The number of checkpoints to keep must be a whole number from 1, got ${keep}`);
  }
  const checkpoints = await listCheckpoints(runDir);
  const old = checkpoints.slice(0, Math.max(0, checkpoints.length - keep));
  const removed: string[] = [];
  for (const { step, path } of old) {
    if (step === bestStep) continue;
    await explained(`Cannot remove the old checkpoint ${path}`, async () => {
      // Renamed first: killed in the middle, half a checkpoint must not pass for a whole one.
      const temporary = temporaryPath(path);
      await Deno.rename(path, temporary);
      await Deno.remove(temporary, { recursive: true });
    });
    removed.push(path);
  }
  return removed;
}

/**
 * Removes what a killed process left behind in a run's folder: temporary files and folders, and a checkpoint
 * that had stepped aside for a new one of its step; it goes back if the new one never arrived. What another process is
 * writing there, such as an export, stays. Call it when a run starts, while its folder is held.
 *
 * @param runDir The run's folder. One that does not exist has nothing to clean.
 * @returns The paths that were removed or put back.
 * @throws {Error} If something cannot be removed, with what to do about it.
 */
export async function cleanRunFolder(runDir: string): Promise<string[]> {
  const cleaned: string[] = [];
  for (const folder of [runDir, join(runDir, CHECKPOINTS)]) {
    const names = await namesIn(folder);
    for (const name of names) {
      const path = join(folder, name);
      const original = name.startsWith(REPLACED_PREFIX) ? name.slice(REPLACED_PREFIX.length) : null;
      if (original === null && !name.startsWith(TEMPORARY_PREFIX)) continue;
      if (original === null && await isBeingWritten(path)) continue;
      await explained(`Cannot clean up ${path}`, async () => {
        if (original !== null && !names.includes(original)) await Deno.rename(path, join(folder, original));
        else await Deno.remove(path, { recursive: true });
      });
      cleaned.push(path);
    }
  }
  return cleaned;
}

/**
 * Writes `run.json`, the whole configuration of a run, atomically.
 *
 * @param runDir The run's folder; made if it does not exist.
 * @param run The configuration.
 * @throws {TypeError} If it is not representable in JSON.
 * @throws {Error} If it cannot be written, with what to do about it.
 */
export async function writeRunFile(runDir: string, run: Readonly<Record<string, unknown>>): Promise<void> {
  await explained(`Cannot make the run folder ${runDir}`, () => Deno.mkdir(runDir, { recursive: true }));
  await writeJsonFile(join(runDir, RUN), run);
}

/**
 * Reads `run.json`.
 *
 * @param runDir The run's folder.
 * @returns The configuration.
 * @throws {Deno.errors.NotFound} If there is none.
 * @throws {SyntaxError} If it is broken or cut short.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readRunFile(runDir: string): Promise<Record<string, unknown>> {
  return await readJsonFile(join(runDir, RUN));
}

/**
 * The run that a checkpoint belongs to.
 *
 * @param checkpoint The checkpoint's folder.
 * @returns The run's folder and its `run.json`; nothing for a folder that stands for itself.
 * @throws {SyntaxError} If `run.json` is broken or cut short.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readRunOf(
  checkpoint: string,
): Promise<{ readonly runDir: string; readonly run: Record<string, unknown> } | undefined> {
  const parent = dirname(resolve(checkpoint));
  if (basename(parent) !== CHECKPOINTS) return undefined;
  const runDir = dirname(parent);
  try {
    return { runDir, run: await readRunFile(runDir) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The names in a folder, sorted; none if there is no such folder. */
async function namesIn(folder: string): Promise<string[]> {
  return await explained(`Cannot read the folder ${folder}`, async () => {
    try {
      return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
}
