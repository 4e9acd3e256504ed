/**
 * Opens Hugging Face model folders: GPT's, GPT-2's and Llama's as Python's `save_pretrained` has written them over the
 * years, and our own checkpoints.
 *
 * @module
 */

import { join } from "node:path";
import { explained } from "../files/atomic_file.ts";
import {
  CHAT_TEMPLATE_FILE,
  CONFIG_FILE,
  GENERATION_CONFIG_FILE,
  TOKENIZER_CONFIG_FILE,
  TOKENIZER_FILE,
} from "../files/hugging_face_names.ts";
import { parseJsonObject, readJsonFile, readText } from "../files/json_file.ts";
import type { FloatTensors, SafetensorsFile, TensorInfo } from "./safetensors/safetensors.ts";
import { modelTensorNames } from "./tensor_names.ts";
import { openWeights, summary } from "./weights_files.ts";

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
  const entries = await entriesOf(dir);
  if (!entries.has(CONFIG_FILE)) {
    throw new Deno.errors.NotFound(
      `${dir} is not a model folder: it must hold ${CONFIG_FILE}, got ${
        summary(entries)
      }; give the checkpoint's own folder`,
    );
  }
  const config = await readJsonFile(join(dir, CONFIG_FILE));
  const generationConfig = entries.has(GENERATION_CONFIG_FILE)
    ? await readJsonFile(join(dir, GENERATION_CONFIG_FILE))
    : null;
  const tokenizer = await readTokenizer(dir, entries);
  const files: SafetensorsFile[] = [];
  try {
    const owners = await openWeights(dir, entries, files);
    const places = new Map<string, TensorPlace>();
    for (const [name, savedName] of modelTensorNames(owners.keys(), config)) {
      places.set(name, { file: owners.get(savedName)!, savedName });
    }
    return new ModelFolder(dir, { config, generationConfig, ...tokenizer }, places, files);
  } catch (error) {
    for (const file of files) file.close();
    throw error;
  }
}

/** The documents of a tokenizer. */
export type TokenizerDocuments = Pick<ModelDocuments, "tokenizerJson" | "tokenizerConfig" | "chatTemplate">;

/**
 * Reads the tokenizer of a folder.
 *
 * @param dir The folder.
 * @param entries The names of what is in it.
 * @throws {SyntaxError} If a file is not a JSON object.
 * @throws {Error} If a file cannot be read, with what to do about it.
 */
export async function readTokenizer(dir: string, entries: ReadonlySet<string>): Promise<TokenizerDocuments> {
  const tokenizerConfig = entries.has(TOKENIZER_CONFIG_FILE)
    ? await readJsonFile(join(dir, TOKENIZER_CONFIG_FILE))
    : null;
  let tokenizerJson: string | null = null;
  if (entries.has(TOKENIZER_FILE)) {
    tokenizerJson = await readText(join(dir, TOKENIZER_FILE));
    parseJsonObject(tokenizerJson, join(dir, TOKENIZER_FILE));
  }
  // Older versions of Python's transformers keep the template in the other file.
  const within = tokenizerConfig?.chat_template;
  const chatTemplate = entries.has(CHAT_TEMPLATE_FILE)
    ? await readText(join(dir, CHAT_TEMPLATE_FILE))
    : typeof within === "string"
    ? within
    : null;
  return { tokenizerJson, tokenizerConfig, chatTemplate };
}

/**
 * The names in a folder.
 *
 * @param dir The folder.
 * @returns The names in alphabetical order.
 * @throws {Error} If it cannot be read, with what to do about it.
 */
export async function entriesOf(dir: string): Promise<ReadonlySet<string>> {
  return await explained(`Cannot read the model folder ${dir}`, async () => {
    const names = await Array.fromAsync(Deno.readDir(dir), ({ name }) => name);
    return new Set(names.sort());
  });
}

/** Where a tensor of a {@linkcode ModelFolder} is. */
export interface TensorPlace {
  /** The weights file. */
  readonly file: SafetensorsFile;
  /** Its name in that file. */
  readonly savedName: string;
}

/** What a model folder holds besides weights. */
export interface ModelDocuments {
  /** `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** `generation_config.json`, or `null` if there is none. */
  readonly generationConfig: Readonly<Record<string, unknown>> | null;
  /** Text of `tokenizer.json`, or `null` if there is none. */
  readonly tokenizerJson: string | null;
  /** `tokenizer_config.json`, or `null` if there is none. */
  readonly tokenizerConfig: Readonly<Record<string, unknown>> | null;
  /** The chat template: `chat_template.jinja`, else that in `tokenizer_config.json`, or `null` if there is none. */
  readonly chatTemplate: string | null;
}

/** An open model folder. {@linkcode readModelFolder} makes it. */
export class ModelFolder implements Disposable, ModelDocuments, FloatTensors {
  /** `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** `generation_config.json`, or `null` if there is none. */
  readonly generationConfig: Readonly<Record<string, unknown>> | null;
  /** Text of `tokenizer.json`, or `null` if there is none. */
  readonly tokenizerJson: string | null;
  /** `tokenizer_config.json`, or `null` if there is none. */
  readonly tokenizerConfig: Readonly<Record<string, unknown>> | null;
  /** The chat template: `chat_template.jinja`, else that in `tokenizer_config.json`, or `null` if there is none. */
  readonly chatTemplate: string | null;
  /** The tensors by Hugging Face's name for the full model, whatever the file calls them. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly #places: ReadonlyMap<string, TensorPlace>;
  readonly #files: readonly SafetensorsFile[];

  /**
   * Puts together what {@linkcode readModelFolder} has read.
   *
   * @param path The folder.
   * @param documents Its files other than weights.
   * @param places Where the tensors are.
   * @param files The open weights files; they belong to this object from now on.
   */
  constructor(
    readonly path: string,
    documents: ModelDocuments,
    places: ReadonlyMap<string, TensorPlace>,
    files: readonly SafetensorsFile[],
  ) {
    this.config = documents.config;
    this.generationConfig = documents.generationConfig;
    this.tokenizerJson = documents.tokenizerJson;
    this.tokenizerConfig = documents.tokenizerConfig;
    this.chatTemplate = documents.chatTemplate;
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

  /**
   * Reads a tensor of floats as single precision in pieces, see {@linkcode SafetensorsFile.piecesF32}.
   *
   * @param name Its name in {@linkcode ModelFolder.tensors}.
   * @param maxValues The most values of a piece. Default: 4 MiB of them.
   * @returns The pieces in order; each one is overwritten by the next.
   * @throws {RangeError} If there is no tensor of this name.
   * @throws {TypeError} If its elements are of another type than `F32`, `F16` or `BF16`.
   * @throws {Error} If the folder is closed or can no longer be read.
   */
  async *piecesF32(name: string, maxValues?: number): AsyncGenerator<Float32Array<ArrayBuffer>> {
    const { file, savedName } = this.#place(name);
    yield* file.piecesF32(savedName, maxValues);
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
