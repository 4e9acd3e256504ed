/**
 * `--init-from`: a Hugging Face folder whose weights a run starts from, or an adapter's.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { type AdapterFolder, isAdapterFolder, readAdapterFolder } from "../../checkpoint/adapter/folder.ts";
import {
  type ModelFolder,
  type ModelFolderContents,
  readModelFolder,
} from "../../checkpoint/hugging_face.ts";
import { openBase } from "../../checkpoint/open_model.ts";
import { matchTensors } from "../../checkpoint/tensor_names.ts";
import { weightsDigest } from "../../checkpoint/weights_digest.ts";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import { TOKENIZER_FILE } from "../../files/hugging_face_names.ts";
import { modelFromConfig } from "../../models/load.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import type { RunConfig, RunLora } from "../../training/run/config.ts";
import { UsageError } from "../command/command_line.ts";
import { givenLoraOption, type LoraValues, newAdapter } from "./lora_options.ts";

/** The options that say what a run starts from. */
export interface InitialValues extends LoraValues {
  /** The Hugging Face folder, or the adapter's. */
  readonly initFrom?: string;
  /** Path of another tokenizer than the folder's. */
  readonly tokenizer?: string;
  /** Ids of a tokenizer that is trained; here it can only be the model's own number. */
  readonly vocabSize: number;
}

/** What a run takes from the folder besides the weights themselves. */
export interface InitialModel {
  /** Its `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Path of the tokenizer: the folder's own, unless another was asked for. */
  readonly tokenizer: string;
  /** Fingerprint of the weights. */
  readonly digest: string;
  /** The adapter to train, if the weights are to stay as they are. */
  readonly lora?: RunLora;
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
  values: InitialValues,
  given: ReadonlySet<string>,
): Promise<InitialModel | undefined> {
  const { initFrom } = values;
  const loraOption = givenLoraOption(given);
  if (initFrom === undefined) {
    if (loraOption === undefined) return undefined;
    throw new UsageError(`${loraOption} trains an adapter of a model; say of which one with --init-from DIR`);
  }
  using adapter = await isAdapterFolder(initFrom) ? await readAdapterFolder(initFrom) : undefined;
  if (adapter && loraOption !== undefined && loraOption !== "--base") {
    throw new UsageError(
      `${initFrom} is an adapter that is trained on, with its own rank and targets; leave ${loraOption} out, or start a ` +
        "new adapter from its model",
    );
  }
  using folder = adapter ? await openBase(adapter, values.base) : await readModelFolder(initFrom);
  const model = modelFromConfig(folder.config);
  if (given.has("vocabSize") && values.vocabSize !== model.vocabSize) {
    throw new UsageError(
      `--vocab-size must be left out, or be the ${model.vocabSize} of ${initFrom}, got ${values.vocabSize}`,
    );
  }
  // An adapter's own tokenizer goes before its model's.
  const source = adapter && adapter.tokenizerJson !== null ? adapter : folder;
  if (values.tokenizer === undefined && source.tokenizerJson === null) {
    throw new UsageError(
      `${source.path} must hold tokenizer.json, got none; name one that fits its vocabulary with --tokenizer, or save it ` +
        "there in Python by AutoTokenizer.from_pretrained(...).save_pretrained(...)",
    );
  }
  const tokenizer = values.tokenizer ?? join(source.path, TOKENIZER_FILE);
  const { vocabSize } = await loadTokenizer(tokenizer);
  if (vocabSize > model.vocabSize) {
    throw new UsageError(
      `The ids of the tokenizer ${tokenizer} must be below the ${model.vocabSize} of ${initFrom}, got ${vocabSize} of ` +
        "them; use the tokenizer that the model was trained with",
    );
  }
  matchTensors(declareParameters(model).all, folder.tensors);
  // Another tokenizer has special tokens of its own.
  const isOwn = isTokenizerOf(source, tokenizer);
  const ids = TOKEN_IDS.filter((key) => isOwn && isIdBelow(folder.config[key], model.vocabSize));
  const config = { ...model.config, ...Object.fromEntries(ids.map((key) => [key, folder.config[key]])) };
  const digest = await weightsDigest(adapter ?? folder);
  adapter?.layersOf(folder);
  const lora = adapter?.adapter ?? newAdapter(values, given, folder.config, folder.path);
  if (lora === undefined) return { config, tokenizer, digest };
  const base_weights = adapter ? adapter.baseWeights ?? await weightsDigest(folder) : digest;
  return { config, tokenizer, digest, lora: { ...lora, base_model_name_or_path: folder.path, base_weights } };
}

/** The weights that a run starts from. */
export interface InitialWeights extends Disposable {
  /** Of those that are trained, unless they start as usual. */
  readonly initial?: ModelFolder | AdapterFolder;
  /** Of those that stay as they are, if there are such. */
  readonly base?: ModelFolder;
}

/**
 * Opens the folders that a run starts from.
 *
 * @param config The run's configuration.
 * @param resumes Whether what is trained comes from a checkpoint of the run.
 * @returns The open folders; close them, or declare them with `using`.
 * @throws {RangeError} If their weights are not those that the run has recorded.
 * @throws {Error} If a folder cannot be read, with what to do about it.
 */
export async function openInitialWeights(config: RunConfig, resumes: boolean): Promise<InitialWeights> {
  const { initFrom, initWeights, lora } = config;
  using opening = new DisposableStack();
  const held = async <T extends ModelFolder | AdapterFolder>(folder: T, recorded?: string): Promise<T> => {
    opening.use(folder);
    if (await weightsDigest(folder) === recorded) return folder;
    throw new RangeError(
      `The weights of ${folder.path} must be those that the run has recorded, but have changed; put them back, or ` +
        "start a new run",
    );
  };
  const base = lora && await held(await readModelFolder(lora.base_model_name_or_path), lora.base_weights);
  let initial: ModelFolder | AdapterFolder | undefined;
  if (!resumes && initFrom !== undefined) {
    const isAdapter = await isAdapterFolder(initFrom);
    if (isAdapter) initial = await held(await readAdapterFolder(initFrom), initWeights);
    // A new adapter starts as usual.
    else if (!lora) initial = await held(await readModelFolder(initFrom), initWeights);
  }
  const kept = opening.move();
  return { base, initial, [Symbol.dispose]: () => kept.dispose() };
}

/** What checkpoints take over from the folder that a run started from. */
export type KeptDocuments = Pick<
  ModelFolderContents,
  "tokenizerConfig" | "generationConfig" | "chatTemplate"
>;

/**
 * What Python needs beside weights and tokenizer to use a model as the one that it was made from.
 *
 * @param config The run's configuration.
 * @param weights The folders that it started from.
 * @param checkpoint The checkpoint's model where the run goes on, which has what it took over before.
 * @returns The documents. Where the tokenizer is another one than the folder's there are none: their tokens are not its.
 */
export function keptDocuments(
  { tokenizer }: RunConfig,
  { initial, base }: InitialWeights,
  checkpoint?: ModelFolder | AdapterFolder,
): KeptDocuments {
  const folders = checkpoint ? [checkpoint] : [initial, base].filter((folder) => folder !== undefined);
  const source = checkpoint ?? folders.find((folder) => isTokenizerOf(folder, tokenizer));
  if (source === undefined) return {};
  // An adapter's folder has no generation_config.json: that of its model holds.
  const model = folders.find((folder): folder is ModelFolder => "generationConfig" in folder);
  return {
    tokenizerConfig: source.tokenizerConfig ?? undefined,
    generationConfig: model?.generationConfig ?? undefined,
    chatTemplate: source.chatTemplate ?? undefined,
  };
}

/** Whether a tokenizer is the one that lies in a folder. */
function isTokenizerOf({ path }: { readonly path: string }, tokenizer: string | null): boolean {
  return tokenizer !== null && resolve(tokenizer) === resolve(path, TOKENIZER_FILE);
}

/** Whether every id that is meant (Llama 3 has several ends) is a token of the model. */
function isIdBelow(value: unknown, vocabSize: number): boolean {
  const ids = Array.isArray(value) ? value : [value];
  return ids.length > 0 && ids.every((id) => Number.isInteger(id) && id >= 0 && id < vocabSize);
}
