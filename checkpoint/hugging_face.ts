/**
 * Hugging Face model folders: what Python's `AutoModelForCausalLM.from_pretrained(dir)` and
 * `AutoTokenizer.from_pretrained(dir)` load without options, and what they save.
 *
 * @module
 */

import { join } from "node:path";
import { explained, writeTextAtomically } from "../files/atomic_file.ts";
import {
  CHAT_TEMPLATE_FILE,
  CONFIG_FILE,
  END_OF_TEXT,
  GENERATION_CONFIG_FILE,
  TOKENIZER_CONFIG_FILE,
  TOKENIZER_FILE,
} from "../files/hugging_face_names.ts";
import { parseJsonObject, writeJsonFile } from "../files/json_file.ts";
import type { TensorToWrite } from "./safetensors/safetensors.ts";
import { writeWeights } from "./weights_files.ts";

export {
  type ModelDocuments,
  ModelFolder,
  readModelFolder,
  type TensorPlace,
  type TokenizerDocuments,
} from "./model_folder.ts";

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
  /** `tokenizer_config.json`. Default: what makes Python take `tokenizer.json` as it is. */
  readonly tokenizerConfig?: Readonly<Record<string, unknown>>;
  /** Text of `chat_template.jinja`, written beside a tokenizer. Default: there is none. */
  readonly chatTemplate?: string;
  /** The most bytes of a weights file, see {@linkcode writeWeights}. Default: one file for all. */
  readonly maxShardBytes?: number;
}

/**
 * Writes a model folder: `config.json`, `model.safetensors` (or shards), `generation_config.json` and, with a tokenizer,
 * `tokenizer.json`, `tokenizer_config.json` and a chat template. Each file is atomic; the folder as a whole is not (a checkpoint
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
  const { config, tensors, generationConfig, maxShardBytes } = contents;
  await makeTokenizerFolder(dir, contents, true);
  await writeJsonFile(join(dir, CONFIG_FILE), config);
  await writeJsonFile(join(dir, GENERATION_CONFIG_FILE), generationConfig ?? defaultGenerationConfig(config));
  await writeWeights(dir, tensors, maxShardBytes);
}

/**
 * Makes a folder and writes `tokenizer.json`, `tokenizer_config.json` and the chat template into it, as far as there are.
 *
 * @param dir The folder; made if it does not exist.
 * @param contents The tokenizer, and the `config.json` of its model.
 * @param isModel Whether the folder gets that `config.json` too. Where it does not, `tokenizer_config.json` alone must
 * say which class opens the tokenizer: one that does not is filled up.
 * @throws {SyntaxError} If the tokenizer is not a JSON object; nothing is made then.
 * @throws {Error} If a file cannot be written, with what to do about it.
 */
export async function makeTokenizerFolder(
  dir: string,
  { config, tokenizerJson, tokenizerConfig, chatTemplate }: Omit<ModelFolderContents, "tensors">,
  isModel: boolean,
): Promise<void> {
  const tokenizer = tokenizerJson === undefined ? null : parseJsonObject(tokenizerJson, TOKENIZER_FILE);
  await explained(`Cannot make ${dir}`, () => Deno.mkdir(dir, { recursive: true }));
  if (tokenizer === null) return;
  await writeTextAtomically(join(dir, TOKENIZER_FILE), tokenizerJson!);
  const isWhole = tokenizerConfig !== undefined && (isModel || "tokenizer_class" in tokenizerConfig);
  const ofTokenizer = isWhole
    ? tokenizerConfig
    : { ...defaultTokenizerConfig(tokenizer, config), ...tokenizerConfig };
  await writeJsonFile(join(dir, TOKENIZER_CONFIG_FILE), ofTokenizer);
  if (chatTemplate !== undefined) await writeTextAtomically(join(dir, CHAT_TEMPLATE_FILE), chatTemplate);
}

function defaultGenerationConfig(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> = { _from_model_config: true };
  for (const key of ["bos_token_id", "eos_token_id", "pad_token_id"]) {
    if (config[key] !== undefined && config[key] !== null) result[key] = config[key];
  }
  return result;
}

function defaultTokenizerConfig(
  tokenizer: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const fallback = hasToken(tokenizer, END_OF_TEXT) ? END_OF_TEXT : undefined;
  return {
    bos_token: tokenOf(tokenizer, config.bos_token_id) ?? fallback,
    // Python would otherwise glue punctuation to the word before it when it decodes.
    clean_up_tokenization_spaces: false,
    eos_token: tokenOf(tokenizer, config.eos_token_id) ?? fallback,
    // Older versions would add token_type_ids, which GPT-2 would take for words and Llama refuses.
    model_input_names: ["input_ids", "attention_mask"],
    model_max_length: config.n_positions ?? config.max_position_embeddings,
    pad_token: tokenOf(tokenizer, config.pad_token_id),
    tokenizer_class: "PreTrainedTokenizerFast",
    unk_token: fallback,
  };
}

/** The text of an added token; of several ends, as Llama 3 has them, the first. */
function tokenOf(tokenizer: Readonly<Record<string, unknown>>, ids: unknown): string | undefined {
  const id = Array.isArray(ids) ? ids[0] : ids;
  const added = tokenizer.added_tokens;
  return Array.isArray(added) ? added.find((entry) => entry?.id === id)?.content : undefined;
}

function hasToken(tokenizer: Readonly<Record<string, unknown>>, token: string): boolean {
  const added = tokenizer.added_tokens;
  if (Array.isArray(added) && added.some((entry) => entry?.content === token)) return true;
  const vocab = (tokenizer.model as { vocab?: unknown } | null | undefined)?.vocab;
  return typeof vocab === "object" && vocab !== null && Object.hasOwn(vocab, token);
}
