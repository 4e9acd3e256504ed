/**
 * `--checkpoint` and `--base`: what a task takes a trained model from.
 *
 * @module
 */
import { isAdapterFolder } from "../../checkpoint/adapter/folder.ts";
import { type OpenModel, openModel } from "../../checkpoint/open_model.ts";
import { latestCheckpoint } from "../../checkpoint/run/run_folder.ts";
import { UsageError } from "../command/command_line.ts";

/** Where an adapter's model is. */
export const baseOption = {
  type: "string",
  placeholder: "DIR",
  description: "of an adapter: the folder of its model (default: what adapter_config.json says)",
} as const;

/**
 * Opens a model folder, an adapter with its model, or the newest checkpoint of a run.
 *
 * @param checkpoint The folder.
 * @param base Of an adapter the folder of its model. Default: what the adapter says.
 * @returns The open model; close it, or declare it with `using`.
 * @throws {UsageError} If `base` is given without an adapter.
 * @throws {Error} If a folder cannot be read, with what to do about it.
 */
export async function openCheckpoint(checkpoint: string, base?: string): Promise<OpenModel> {
  const newest = await latestCheckpoint(checkpoint);
  const dir = newest?.path ?? checkpoint;
  if (base !== undefined && !(await isAdapterFolder(dir))) {
    throw new UsageError(`--base says where the model of an adapter is, but ${dir} is a model; leave it out`);
  }
  return await openModel(dir, base);
}
