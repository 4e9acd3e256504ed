/**
 * `--init-from`: a Hugging Face folder whose weights a run starts from.
 *
 * @module
 */
import { join } from "node:path";
import { type ModelFolder, readModelFolder } from "../checkpoint/hugging_face.ts";
import { matchTensors } from "../checkpoint/tensor_names.ts";
import { weightsDigest } from "../checkpoint/weights_digest.ts";
import { loadTokenizer } from "../data/tokenizer.ts";
import { modelFromConfig } from "../models/load.ts";
import { declareParameters } from "../training/load_weights.ts";
import type { RunConfig } from "../training/run_config.ts";
import { UsageError } from "./command_line.ts";
import type { TrainLmValues } from "./train_lm_options.ts";

/** What a run takes from the folder besides the weights themselves. */
export interface InitialModel {
  /** Its `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Path of the tokenizer: the folder's own, unless another was asked for. */
  readonly tokenizer: string;
  /** Fingerprint of the weights. */
  readonly digest: string;
}

/** Special tokens of `config.json`, by which Python knows where a text begins and ends. */
const TOKEN_IDS = ["bos_token_id", "eos_token_id", "pad_token_id"];

/**
 * Reads what `--init-from` names, so that mistakes show before any work is done.
 *
 * @returns The model, or nothing without `--init-from`.
 * @throws {UsageError} If other options contradict it, or there is no tokenizer.
 * @throws {RangeError} If the model is of an architecture that is not supported; the message names it.
 * @throws {TypeError} If its tensors are not the model's; one error lists all differences.
 * @throws {Error} If the folder cannot be read, with what to do about it.
 */
export async function readInitialModel(
  values: TrainLmValues,
  given: ReadonlySet<string>,
): Promise<InitialModel | undefined> {
  const { initFrom } = values;
  if (initFrom === undefined) return undefined;
  using folder = await readModelFolder(initFrom);
  const model = modelFromConfig(folder.config);
  if (given.has("vocabSize") && values.vocabSize !== model.vocabSize) {
    throw new UsageError(
      `--vocab-size must be left out, or be the ${model.vocabSize} of ${initFrom}, got ${values.vocabSize}`,
    );
  }
  if (values.tokenizer === undefined && folder.tokenizerJson === null) {
    throw new UsageError(
      `${initFrom} must hold tokenizer.json, got none; name one that fits its vocabulary with --tokenizer, or save it ` +
        "there in Python by AutoTokenizer.from_pretrained(...).save_pretrained(...)",
    );
  }
  const tokenizer = values.tokenizer ?? join(initFrom, "tokenizer.json");
  const { vocabSize } = await loadTokenizer(tokenizer);
  if (vocabSize > model.vocabSize) {
    throw new UsageError(
      `The ids of the tokenizer ${tokenizer} must be below the ${model.vocabSize} of ${initFrom}, got ${vocabSize} of ` +
        "them; use the tokenizer that the model was trained with",
    );
  }
  matchTensors(declareParameters(model).all, folder.tensors);
  // Another tokenizer has special tokens of its own.
  const ids = TOKEN_IDS.filter((key) =>
    values.tokenizer === undefined && isIdBelow(folder.config[key], model.vocabSize)
  );
  const config = { ...model.config, ...Object.fromEntries(ids.map((key) => [key, folder.config[key]])) };
  return { config, tokenizer, digest: await weightsDigest(folder) };
}

/**
 * Opens the folder that a run starts from.
 *
 * @param config The run's configuration.
 * @returns The open folder, or nothing if the run starts from random weights.
 * @throws {RangeError} If its weights are not those that the run has recorded.
 * @throws {Error} If the folder cannot be read, with what to do about it.
 */
export async function openInitialModel(
  { initFrom, initWeights }: RunConfig,
): Promise<ModelFolder | undefined> {
  if (initFrom === undefined) return undefined;
  const folder = await readModelFolder(initFrom);
  try {
    const digest = await weightsDigest(folder);
    if (digest === initWeights) return folder;
    throw new RangeError(
      `The weights of ${initFrom} must be those that the run has recorded, but have changed; put them back, or start a new run`,
    );
  } catch (error) {
    folder.close();
    throw error;
  }
}

/** Whether every id that is meant (Llama 3 has several ends) is a token of the model. */
function isIdBelow(value: unknown, vocabSize: number): boolean {
  const ids = Array.isArray(value) ? value : [value];
  return ids.length > 0 && ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize);
}
