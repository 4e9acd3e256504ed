/**
 * Checkpoints of a training run: a Hugging Face model folder, or an adapter's, with `optimizer.safetensors` and
 * `training_state.json` beside the weights, which together say how to go on bit for bit.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import {
  type AdapterFolder,
  type AdapterFolderContents,
  isAdapterFolder,
  readAdapterFolder,
  writeAdapterFolder,
} from "../adapter/folder.ts";
import { explained, syncFolder, temporaryPath } from "../../files/atomic_file.ts";
import {
  type ModelFolder,
  type ModelFolderContents,
  readModelFolder,
  writeModelFolder,
} from "../hugging_face.ts";
import { type JsonObject, jsonText, readJsonFile, writeJsonFile } from "../../files/json_file.ts";
import { checkpointPath, OPTIMIZER_FILE, REPLACED_PREFIX, TRAINING_STATE_FILE } from "./run_folder.ts";
import {
  readSafetensors,
  type SafetensorsFile,
  type TensorToWrite,
  writeSafetensors,
} from "../safetensors/safetensors.ts";

const FORMAT = "koala-lm training state";

/** Version of `training_state.json` that this code writes and reads. */
export const TRAINING_STATE_VERSION = 1;

/** What a run needs beside tensors to go on where it was. Everything in it is exact in JSON. */
export interface TrainingState {
  /** How many steps are done. */
  readonly step: number;
  /** Seeds and positions of random number generators. */
  readonly seeds: JsonObject;
  /** Where in the data the next batch starts. */
  readonly dataCursor: JsonObject;
  /** Losses and the like: the best one so far, for instance. */
  readonly metrics: JsonObject;
}

/** What goes into a checkpoint. */
export interface CheckpointContents {
  /** The model folder, or that of an adapter. */
  readonly model: ModelFolderContents | AdapterFolderContents;
  /** The optimizer's tensors, under names of its choice. */
  readonly optimizer: Iterable<TensorToWrite> | AsyncIterable<TensorToWrite>;
  /** The rest. */
  readonly state: TrainingState;
}

/** An open checkpoint. Close it, or declare it with `using`. */
export interface Checkpoint extends Disposable {
  /** Its folder. */
  readonly path: string;
  /** Step, seeds, data cursor and metrics. */
  readonly state: TrainingState;
  /** Configuration, weights and tokenizer of the model, or of an adapter. */
  readonly model: ModelFolder | AdapterFolder;
  /** The optimizer's tensors. */
  readonly optimizer: SafetensorsFile;
  /** Closes its files. */
  close(): void;
}

/**
 * Writes the checkpoint of a step as `checkpoints/step-NNNNNNNN/`. The folder appears whole or not at all: it is
 * written beside its place, every file is flushed, and then it is renamed. A checkpoint of the same step is
 * replaced.
 *
 * @param runDir The run's folder; made if it does not exist.
 * @param contents What to write.
 * @returns The checkpoint's folder.
 * @throws {TypeError} If the state is not representable in JSON (a NaN, for instance), or a tensor is named twice.
 * @throws {RangeError} If the step is no whole number from 0, or a tensor's data has another size than its shape.
 * @throws {Error} If it cannot be written, with what to do about it; nothing is left behind then.
 */
export async function writeCheckpoint(runDir: string, contents: CheckpointContents): Promise<string> {
  const { model, optimizer, state } = contents;
  const path = checkpointPath(runDir, state.step);
  const { step, seeds, dataCursor, metrics } = state;
  const document = { format: FORMAT, version: TRAINING_STATE_VERSION, step, seeds, dataCursor, metrics };
  jsonText(document); // before anything large is written
  const temporary = temporaryPath(path);
  const attempt = `Cannot write the checkpoint ${path}`;
  try {
    await explained(attempt, () => Deno.mkdir(temporary, { recursive: true }));
    if ("adapter" in model) await writeAdapterFolder(temporary, model);
    else await writeModelFolder(temporary, model);
    await writeSafetensors(join(temporary, OPTIMIZER_FILE), optimizer, { format: "pt" });
    await writeJsonFile(join(temporary, TRAINING_STATE_FILE), document);
    await explained(attempt, () => renameInto(temporary, path));
  } catch (error) {
    await Deno.remove(temporary, { recursive: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
  await syncFolder(runDir);
  return path;
}

/**
 * Opens a checkpoint.
 *
 * @param dir The checkpoint's folder.
 * @returns The open checkpoint; close it, or declare it with `using`.
 * @throws {Deno.errors.NotFound} If the folder or a file of it is missing.
 * @throws {SyntaxError} If a file of it is broken, cut short or written by another version.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readCheckpoint(dir: string): Promise<Checkpoint> {
  const model = await (await isAdapterFolder(dir) ? readAdapterFolder(dir) : readModelFolder(dir));
  try {
    const state = await readTrainingState(dir);
    const optimizer = await readSafetensors(join(dir, OPTIMIZER_FILE));
    const close = () => {
      model.close();
      optimizer.close();
    };
    return { path: dir, state, model, optimizer, close, [Symbol.dispose]: close };
  } catch (error) {
    model.close();
    throw error;
  }
}

/**
 * Reads the `training_state.json` of a checkpoint.
 *
 * @param dir The checkpoint's folder.
 * @returns Its content.
 * @throws {Deno.errors.NotFound} If there is none, as in a model folder that no training can continue.
 * @throws {SyntaxError} If it is broken, cut short or written by another version.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readTrainingState(dir: string): Promise<TrainingState> {
  const path = join(dir, TRAINING_STATE_FILE);
  const document = await readJsonFile(path);
  if (document.format !== FORMAT) {
    fail(path, `its format must be "${FORMAT}"`, document.format, "it is not a checkpoint of a training run");
  }
  if (document.version !== TRAINING_STATE_VERSION) {
    const remedy = "it was written by another version: continue with the koala-lm that wrote it";
    fail(path, `its version must be ${TRAINING_STATE_VERSION}`, document.version, remedy);
  }
  const { format: _format, version: _version, step, ...parts } = document;
  if (!Number.isSafeInteger(step) || step as number < 0) {
    fail(path, "its step must be a whole number from 0", step, "use another checkpoint");
  }
  const names = ["seeds", "dataCursor", "metrics"];
  for (const name of [...names, ...Object.keys(parts)]) {
    const part = parts[name];
    const isObject = typeof part === "object" && part !== null && !Array.isArray(part);
    if (!names.includes(name)) {
      fail(path, `it must not hold ${JSON.stringify(name)}`, part, "use another checkpoint");
    }
    if (!isObject) fail(path, `its ${name} must be an object`, part, "use another checkpoint");
  }
  return { step, ...parts } as unknown as TrainingState;
}

/** Puts a folder in its place. Only an empty folder can be renamed over, so an older one steps aside first. */
async function renameInto(temporary: string, path: string): Promise<void> {
  const aside = join(dirname(path), REPLACED_PREFIX + basename(path));
  await Deno.remove(aside, { recursive: true }).catch(() => {});
  let replaced = true;
  try {
    await Deno.rename(path, aside);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    replaced = false;
  }
  try {
    await Deno.rename(temporary, path);
  } catch (error) {
    if (replaced) await Deno.rename(aside, path);
    throw error;
  }
  if (replaced) await Deno.remove(aside, { recursive: true });
}

function fail(path: string, rule: string, got: unknown, remedy: string): never {
  const text = JSON.stringify(got) ?? "nothing";
  const shown = text.length > 60 ? text.slice(0, 60) + "…" : text;
  throw new SyntaxError(`Cannot read ${path}: ${rule}, got ${shown}; ${remedy}`);
}
