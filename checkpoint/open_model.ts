/**
 * Opens whatever holds a model's weights: a Hugging Face folder, or a LoRA adapter together with the folder of its
 * model.
 *
 * @module
 */

import { type AdapterFolder, isAdapterFolder, readAdapterFolder } from "./adapter/folder.ts";
import { mergedTensors } from "./adapter/merge.ts";
import { type ModelDocuments, type ModelFolder, readModelFolder } from "./model_folder.ts";
import type { FloatTensors } from "./safetensors/safetensors.ts";
import { weightsDigest } from "./weights_digest.ts";

/** A model with its weights open. Close it, or declare it with `using`. */
export interface OpenModel extends ModelDocuments, FloatTensors, Disposable {
  /** The folder that was opened: of an adapter its own. */
  readonly path: string;
}

/**
 * Opens a model folder, or an adapter's as the model that it makes: the weights are merged while they are read.
 *
 * @param dir The folder.
 * @param base Of an adapter the folder of its model. Default: what the adapter says. Of no matter for a model folder.
 * @returns The open model; close it, or declare it with `using`.
 * @throws {TypeError} If the adapter does not fit the model.
 * @throws {RangeError} If the model is not the one that the adapter was trained on, or the adapter uses a feature that
 * is not supported.
 * @throws {Error} If a folder cannot be read, with what to do about it.
 */
export async function openModel(dir: string, base?: string): Promise<OpenModel> {
  if (!(await isAdapterFolder(dir))) return await readModelFolder(dir);
  using opening = new DisposableStack();
  const adapter = opening.use(await readAdapterFolder(dir));
  const model = opening.use(await openBase(adapter, base));
  const { config, generationConfig } = model;
  const { tokenizerJson, tokenizerConfig, chatTemplate } = adapter.tokenizerJson === null ? model : adapter;
  const tensors = mergedTensors(model, adapter);
  const open = opening.move();
  return {
    path: dir,
    config,
    generationConfig,
    tokenizerJson,
    tokenizerConfig,
    chatTemplate,
    ...tensors,
    [Symbol.dispose]: () => open.dispose(),
  };
}

/**
 * Opens the model that an adapter belongs to.
 *
 * @param adapter The adapter.
 * @param base The model's folder. Default: what the adapter says.
 * @returns The open folder; close it, or declare it with `using`.
 * @throws {Deno.errors.NotFound} If there is no such folder.
 * @throws {RangeError} If the adapter names no model, or its weights are not those that it was trained on.
 * @throws {Error} If the folder cannot be read for another reason, with what to do about it.
 */
export async function openBase(adapter: AdapterFolder, base?: string): Promise<ModelFolder> {
  const dir = base ?? adapter.adapter.base_model_name_or_path;
  if (dir === null) {
    throw new RangeError(
      `The adapter of ${adapter.path} must name its model, but base_model_name_or_path is null; give the model's ` +
        "folder with --base DIR",
    );
  }
  const model = await readModelFolder(dir).catch((error) => {
    if (base !== undefined || !(error instanceof Deno.errors.NotFound)) throw error;
    throw new Deno.errors.NotFound(
      `The adapter of ${adapter.path} belongs to the model ${dir}, which must be a folder here, but: ${error.message}. ` +
        "Give the model's folder with --base DIR",
      { cause: error },
    );
  });
  try {
    if (adapter.baseWeights === null || adapter.baseWeights === await weightsDigest(model)) return model;
    throw new RangeError(
      `The adapter of ${adapter.path} must be used with the weights that it was trained on, but those of ${dir} differ; ` +
        "give the folder of the right model with --base DIR",
    );
  } catch (error) {
    model.close();
    throw error;
  }
}
