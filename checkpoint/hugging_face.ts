/**
 * Hugging Face model folders: what Python's `AutoModelForCausalLM.from_pretrained(dir)` and
 * `AutoTokenizer.from_pretrained(dir)` load without options, and what they save.
 *
 * @module
 */

import { join } from "node:path";
import { explained, writeTextAtomically } from "./atomic_file.ts";
import { parseJsonObject, readJsonFile, readText, writeJsonFile } from "./json_file.ts";
import { readSafetensors, type SafetensorsFile, type TensorInfo, writeSafetensors } from "./safetensors.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { modelTensorNames } from "./tensor_names.ts";

const CONFIG = "config.json";
const WEIGHTS = "model.safetensors";
const SHARD_INDEX = "model.safetensors.index.json";
const TOKENIZER = "tokenizer.json";
const TOKENIZER_CONFIG = "tokenizer_config.json";
const GENERATION_CONFIG = "generation_config.json";
const END_OF_TEXT = "<|endoftext|>";

/** What goes into a model folder. */
export interface ModelFolderContents {
  /** `config.json`, with `model_type` and `architectures` for Python to know the model. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The parameters under Hugging Face's names. */
  readonly tensors: Iterable<TensorToWrite> | AsyncIterable<TensorToWrite>;
  /** Text of `tokenizer.json`. Default: the folder has no tokenizer. */
  readonly tokenizerJson?: string;
  /** `generation_config.json`. Default: the special token ids of `config`. */
  readonly generationConfig?: Readonly<Record<string, unknown>>;
}

/**
 * Writes a model folder: `config.json`, `model.safetensors`, `generation_config.json` and, with a tokenizer,
 * `tokenizer.json` and `tokenizer_config.json`. Each file is atomic; the folder as a whole is not (a checkpoint
 * of a run is: see `training_state.ts`).
 *
 * @param dir The folder; made if it does not exist.
 * @param contents What to write.
 * @throws {SyntaxError} If the tokenizer is not a JSON object.
 * @throws {TypeError} If a configuration is not representable in JSON, or a tensor's name is repeated.
 * @throws {RangeError} If a tensor's data has another size than its shape says.
 * @throws {Error} If a file cannot be written, with what to do about it.
 *
 * @example Write a folder and read it again
 * ```ts
 * import { readModelFolder, writeModelFolder } from "./hugging_face.ts";
 * import assert from "node:assert/strict";
 *
 * const dir = await Deno.makeTempDir();
 * await writeModelFolder(dir, {
 *   config: { model_type: "gpt2" },
 *   tensors: [{ name: "transformer.ln_f.bias", dtype: "F32", shape: [1], data: new Uint8Array(4) }],
 * });
 * using folder = await readModelFolder(dir);
 * assert.deepEqual(await folder.readF32("transformer.ln_f.bias"), Float32Array.of(0));
 * ```
 */
export async function writeModelFolder(dir: string, contents: ModelFolderContents): Promise<void> {
  const { config, tensors, tokenizerJson, generationConfig } = contents;
  const tokenizer = tokenizerJson === undefined ? null : parseJsonObject(tokenizerJson, TOKENIZER);
  await explained(`Cannot make ${dir}`, () => Deno.mkdir(dir, { recursive: true }));
  await writeJsonFile(join(dir, CONFIG), config);
  await writeJsonFile(join(dir, GENERATION_CONFIG), generationConfig ?? defaultGenerationConfig(config));
  if (tokenizer !== null) {
    await writeTextAtomically(join(dir, TOKENIZER), tokenizerJson!);
    await writeJsonFile(join(dir, TOKENIZER_CONFIG), tokenizerConfig(tokenizer, config));
  }
  await writeSafetensors(join(dir, WEIGHTS), tensors, { format: "pt" });
}

/**
 * Opens a model folder, written by {@linkcode writeModelFolder} or Python, in one weights file or in several.
 *
 * @param dir The folder.
 * @returns The folder with its weights files open; close it, or declare it with `using`.
 * @throws {Deno.errors.NotFound} If there is no such folder, or it lacks `config.json`, weights or a shard.
 * @throws {SyntaxError} If a file of it is broken or cut short.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readModelFolder(dir: string): Promise<ModelFolder> {
  const entries = await explained(`Cannot read the model folder ${dir}`, async () => {
    const names = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name);
    return new Set(names.sort());
  });
  if (!entries.has(CONFIG)) {
    throw new Deno.errors.NotFound(
      `${dir} is not a model folder: it must hold ${CONFIG}, got ${
        summary(entries)
      }; give the checkpoint's own folder`,
    );
  }
  const config = await readJsonFile(join(dir, CONFIG));
  const generationConfig = entries.has(GENERATION_CONFIG)
    ? await readJsonFile(join(dir, GENERATION_CONFIG))
    : null;
  let tokenizerJson: string | null = null;
  if (entries.has(TOKENIZER)) {
    tokenizerJson = await readText(join(dir, TOKENIZER));
    parseJsonObject(tokenizerJson, join(dir, TOKENIZER));
  }
  const files: SafetensorsFile[] = [];
  try {
    const owners = await openWeights(dir, entries, files);
    const places = new Map<string, TensorPlace>();
    for (const [name, savedName] of modelTensorNames(owners.keys(), config)) {
      places.set(name, { file: owners.get(savedName)!, savedName });
    }
    return new ModelFolder(dir, config, generationConfig, tokenizerJson, places, files);
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/** Where a tensor of a {@linkcode ModelFolder} is. */
export interface TensorPlace {
  /** The weights file. */
  readonly file: SafetensorsFile;
  /** Its name in that file. */
  readonly savedName: string;
}

/** An open model folder. {@linkcode readModelFolder} makes it. */
export class ModelFolder implements Disposable {
  /** The tensors by Hugging Face's name for the full model, whatever the file calls them. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #places: ReadonlyMap<string, TensorPlace>;
  readonly #files: readonly SafetensorsFile[];

  /**
   * Puts together what {@linkcode readModelFolder} has read.
   *
   * @param path The folder.
   * @param config `config.json`.
   * @param generationConfig `generation_config.json`, or `null` if there is none.
   * @param tokenizerJson Text of `tokenizer.json`, or `null` if there is none.
   * @param places Where the tensors are.
   * @param files The open weights files; they belong to this object from now on.
   */
  constructor(
    readonly path: string,
    readonly config: Readonly<Record<string, unknown>>,
    readonly generationConfig: Readonly<Record<string, unknown>> | null,
    readonly tokenizerJson: string | null,
    places: ReadonlyMap<string, TensorPlace>,
    files: readonly SafetensorsFile[],
  ) {
    this.#places = places;
    this.#files = files;
    this.tensors = new Map(
      [...places].map(([name, { file, savedName }]) => [name, file.tensors.get(savedName)!]),
    );
  }

  /**
   * Reads the values of a tensor.
   *
   * @param name Its name in {@linkcode ModelFolder.tensors}.
   * @returns Little-endian, row-major values, in memory of their own.
   * @throws {RangeError} If there is no tensor of this name.
   * @throws {Error} If the folder is closed or can no longer be read.
   */
  async read(name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { file, savedName } = this.#place(name);
    return await file.read(savedName);
  }

  /**
   * Reads a tensor of floats as single precision.
   *
   * @param name Its name in {@linkcode ModelFolder.tensors}.
   * @returns The values; `F16` and `BF16` are widened exactly.
   * @throws {RangeError} If there is no tensor of this name.
   * @throws {TypeError} If its elements are of another type than `F32`, `F16` or `BF16`.
   * @throws {Error} If the folder is closed or can no longer be read.
   */
  async readF32(name: string): Promise<Float32Array<ArrayBuffer>> {
    const { file, savedName } = this.#place(name);
    return await file.readF32(savedName);
  }

  /** Closes the weights files. Closing twice does nothing. */
  close(): void {
    for (const file of this.#files) file.close();
  }

  /** Closes the weights files at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #place(name: string): TensorPlace {
    const place = this.#places.get(name);
    if (place !== undefined) return place;
    throw new RangeError(
      `Cannot read ${
        JSON.stringify(name)
      } from ${this.path}: it must be one of its ${this.#places.size} tensors`,
    );
  }
}

/** Opens the weights file or shards into `files`, and says which file owns which tensor. */
async function openWeights(
  dir: string,
  entries: ReadonlySet<string>,
  files: SafetensorsFile[],
): Promise<Map<string, SafetensorsFile>> {
  if (entries.has(WEIGHTS)) {
    const file = await readSafetensors(join(dir, WEIGHTS));
    files.push(file);
    return new Map(file.tensors.keys().map((name) => [name, file]));
  }
  if (!entries.has(SHARD_INDEX)) {
    throw new Deno.errors.NotFound(
      `${dir} has no weights to read: it must hold ${WEIGHTS} or ${SHARD_INDEX}, got ${summary(entries)}; ` +
        `weights in another format must be saved as safetensors first`,
    );
  }
  const indexPath = join(dir, SHARD_INDEX);
  const weightMap = (await readJsonFile(indexPath)).weight_map;
  if (typeof weightMap !== "object" || weightMap === null || Array.isArray(weightMap)) {
    throw new SyntaxError(`Cannot read ${indexPath}: it must hold an object weight_map, got none`);
  }
  const shards = new Map<string, SafetensorsFile>();
  const owners = new Map<string, SafetensorsFile>();
  for (const [name, shard] of Object.entries(weightMap)) {
    // Only names in this very folder: an index must not lead anywhere else.
    if (typeof shard !== "string" || !entries.has(shard)) {
      throw new Deno.errors.NotFound(
        `Cannot read ${
          JSON.stringify(name)
        }: the shard that ${indexPath} names must be in the same folder, ` +
          `got ${JSON.stringify(shard)}; copy all shards`,
      );
    }
    let file = shards.get(shard);
    if (file === undefined) {
      file = await readSafetensors(join(dir, shard));
      files.push(file);
      shards.set(shard, file);
    }
    if (!file.tensors.has(name)) {
      throw new SyntaxError(
        `Cannot read ${file.path}: it must hold ${JSON.stringify(name)}, as ${SHARD_INDEX} says`,
      );
    }
    owners.set(name, file);
  }
  return owners;
}

function defaultGenerationConfig(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> = { _from_model_config: true };
  for (const key of ["bos_token_id", "eos_token_id", "pad_token_id"]) {
    if (config[key] !== undefined && config[key] !== null) result[key] = config[key];
  }
  return result;
}

function tokenizerConfig(
  tokenizer: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const special = hasToken(tokenizer, END_OF_TEXT) ? END_OF_TEXT : undefined;
  return {
    bos_token: special,
    // Python would otherwise glue punctuation to the word before it when it decodes.
    clean_up_tokenization_spaces: false,
    eos_token: special,
    model_max_length: config.n_positions ?? config.max_position_embeddings,
    tokenizer_class: "PreTrainedTokenizerFast",
    unk_token: special,
  };
}

function hasToken(tokenizer: Readonly<Record<string, unknown>>, token: string): boolean {
  const added = tokenizer.added_tokens;
  if (Array.isArray(added) && added.some((entry) => entry?.content === token)) return true;
  const vocab = (tokenizer.model as { vocab?: unknown } | null | undefined)?.vocab;
  return typeof vocab === "object" && vocab !== null && Object.hasOwn(vocab, token);
}

function summary(names: ReadonlySet<string>): string {
  const shown = [...names].slice(0, 8).join(", ");
  return names.size === 0 ? "an empty folder" : names.size > 8 ? `${shown}, …` : shown;
}
