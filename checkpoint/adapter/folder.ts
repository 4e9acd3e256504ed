/**
 * Folders of LoRA adapters as Python's PEFT writes and opens them: `adapter_config.json`,
 * `adapter_model.safetensors`, and the tokenizer where there is one.
 *
 * @module
 */

import { join } from "node:path";
import { type AdapterConfig, formatAdapterConfig, isTargetModule, parseAdapterConfig } from "./config.ts";
import { makeTokenizerFolder, type ModelFolderContents } from "../hugging_face.ts";
import { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from "../../files/hugging_face_names.ts";
import { readJsonFile, writeJsonFile } from "../../files/json_file.ts";
import { entriesOf, readTokenizer, type TokenizerDocuments } from "../model_folder.ts";
import {
  type FloatTensors,
  readSafetensors,
  type SafetensorsFile,
  type TensorInfo,
  type TensorToWrite,
  writeSafetensors,
} from "../safetensors/safetensors.ts";
import { liesInOut, type LinearLayer, linearLayers, matchTensors } from "../tensor_names.ts";
import { summary } from "../weights_files.ts";

/** What PEFT puts before the model's own names. */
const PREFIX = "base_model.model.";
/** Key of the file's metadata for the digest of the weights that the adapter belongs to. */
const BASE_DIGEST = "base_weights";

/** What goes into an adapter folder; the model is the one that it belongs to. */
export interface AdapterFolderContents
  extends Pick<ModelFolderContents, "config" | "tokenizerJson" | "tokenizerConfig" | "chatTemplate"> {
  /** The LoRA. */
  readonly adapter: AdapterConfig;
  /** Fingerprint of the model's own weights, see `weightsDigest`. */
  readonly baseWeights: string;
  /** The adapters' matrices, `NAME.lora_A.weight` [r, in] and `NAME.lora_B.weight` [out, r] by layer. */
  readonly tensors: Iterable<TensorToWrite> | AsyncIterable<TensorToWrite>;
}

/**
 * Writes an adapter folder that PEFT's `PeftModel.from_pretrained(model, dir)` opens. Each file is atomic; the folder
 * as a whole is not.
 *
 * @param dir The folder; made if it does not exist.
 * @param contents What to write.
 * @throws {SyntaxError} If the tokenizer is not a JSON object.
 * @throws {Error} If a file cannot be written, with what to do about it.
 */
export async function writeAdapterFolder(dir: string, contents: AdapterFolderContents): Promise<void> {
  const { adapter, baseWeights, config } = contents;
  const tensors = await Array.fromAsync(contents.tensors, (t) => ({ ...t, name: PREFIX + t.name }));
  await makeTokenizerFolder(dir, contents, false);
  await writeJsonFile(join(dir, ADAPTER_CONFIG_FILE), formatAdapterConfig(adapter, liesInOut(config)));
  await writeSafetensors(join(dir, ADAPTER_WEIGHTS_FILE), tensors, {
    format: "pt",
    [BASE_DIGEST]: baseWeights,
  });
}

/**
 * Whether a folder holds an adapter. As in transformers, it is one then, even beside a model.
 *
 * @param dir The folder.
 * @throws {Error} If it cannot be read, with what to do about it.
 */
export async function isAdapterFolder(dir: string): Promise<boolean> {
  return (await entriesOf(dir)).has(ADAPTER_CONFIG_FILE);
}

/**
 * Opens an adapter folder.
 *
 * @param dir The folder.
 * @returns The folder with its weights file open; close it, or declare it with `using`.
 * @throws {Deno.errors.NotFound} If there is no such folder, or it lacks a file.
 * @throws {SyntaxError} If a file of it is broken or cut short.
 * @throws {RangeError} If it uses a feature of PEFT that is not supported; the message names it.
 * @throws {Error} If it cannot be read for another reason, with what to do about it.
 */
export async function readAdapterFolder(dir: string): Promise<AdapterFolder> {
  const entries = await entriesOf(dir);
  for (const file of [ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE]) {
    if (entries.has(file)) continue;
    const remedy = entries.has("adapter_model.bin")
      ? "open it in PEFT and save it again, which writes safetensors"
      : "give the adapter's own folder";
    throw new Deno.errors.NotFound(
      `${dir} is not an adapter's folder: it must hold ${file}, got ${summary(entries)}; ${remedy}`,
    );
  }
  const adapter = parseAdapterConfig(
    await readJsonFile(join(dir, ADAPTER_CONFIG_FILE)),
    join(dir, ADAPTER_CONFIG_FILE),
  );
  const tokenizer = await readTokenizer(dir, entries);
  return new AdapterFolder(dir, adapter, tokenizer, await readSafetensors(join(dir, ADAPTER_WEIGHTS_FILE)));
}

/** A model that an adapter may belong to, such as a `ModelFolder`. */
export type AdaptedModel = FloatTensors & {
  /** Its folder. */
  readonly path: string;
  /** Its `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
};

/** An open adapter folder. {@linkcode readAdapterFolder} makes it. */
export class AdapterFolder implements FloatTensors, TokenizerDocuments, Disposable {
  /** The matrices by the model's own names, without PEFT's prefix. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Text of its `tokenizer.json`, or null if there is none. */
  readonly tokenizerJson: TokenizerDocuments["tokenizerJson"];
  /** Its `tokenizer_config.json`, or null if there is none. */
  readonly tokenizerConfig: TokenizerDocuments["tokenizerConfig"];
  /** Its chat template, or null if there is none. */
  readonly chatTemplate: TokenizerDocuments["chatTemplate"];
  /** Fingerprint of the weights that the adapter was trained on; null if the file does not say. */
  readonly baseWeights: string | null;
  readonly #file: SafetensorsFile;

  /**
   * Puts together what {@linkcode readAdapterFolder} has read.
   *
   * @param path The folder.
   * @param adapter Its `adapter_config.json`.
   * @param tokenizer Its tokenizer.
   * @param file Its open weights file; it belongs to this object from now on.
   */
  constructor(
    readonly path: string,
    readonly adapter: AdapterConfig,
    tokenizer: TokenizerDocuments,
    file: SafetensorsFile,
  ) {
    this.#file = file;
    this.tokenizerJson = tokenizer.tokenizerJson;
    this.tokenizerConfig = tokenizer.tokenizerConfig;
    this.chatTemplate = tokenizer.chatTemplate;
    this.tensors = new Map(
      [...file.tensors].map(([name, info]) => [
        name.startsWith(PREFIX) ? name.slice(PREFIX.length) : name,
        info,
      ]),
    );
    this.baseWeights = file.metadata.get(BASE_DIGEST) ?? null;
  }

  /** A tensor's values in pieces, see {@linkcode SafetensorsFile.piecesF32}. */
  piecesF32(name: string): AsyncGenerator<Float32Array<ArrayBuffer>> {
    return this.#file.piecesF32(this.#savedName(name));
  }

  /** A tensor's values, see {@linkcode SafetensorsFile.readF32}. */
  async readF32(name: string): Promise<Float32Array<ArrayBuffer>> {
    return await this.#file.readF32(this.#savedName(name));
  }

  /**
   * The linear layers of a model that have an adapter.
   *
   * @param model The model that the adapter belongs to.
   * @throws {TypeError} If the adapter does not fit it; one error lists all differences.
   */
  layersOf(model: AdaptedModel): LinearLayer[] {
    const { r, target_modules } = this.adapter;
    const layers = linearLayers(model.tensors, model.config).filter(({ module }) =>
      isTargetModule(module, target_modules)
    );
    const matrices = layers.flatMap(({ module, inputs, outputs }) => [
      { name: `${module}.lora_A.weight`, shape: [r, inputs] },
      { name: `${module}.lora_B.weight`, shape: [outputs, r] },
    ]);
    matchTensors(matrices, this.tensors, {
      fault: `The adapter of ${this.path} does not fit ${model.path}`,
      remedy: "use the model that it was made for",
    });
    return layers;
  }

  /** Closes the weights file. Closing twice does nothing. */
  close(): void {
    this.#file.close();
  }

  /** Closes the weights file at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #savedName(name: string): string {
    return this.#file.tensors.has(PREFIX + name) ? PREFIX + name : name;
  }
}
