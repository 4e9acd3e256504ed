/**
 * From the GPU to a Hugging Face model folder.
 *
 * @module
 */
import { type ModelFolderContents, writeModelFolder } from "../../checkpoint/hugging_face.ts";
import type { TensorToWrite } from "../../checkpoint/safetensors/safetensors.ts";
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { formatTokenizerJson } from "../../data/tokenizer/tokenizer_json.ts";
import { writeFolderAtomically } from "../../files/atomic_file.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import { readTensors } from "../../gpu/readback.ts";
import type { Tensor } from "../../gpu/tensor.ts";

/** What a model folder says besides its weights. */
export interface ModelDescription
  extends Pick<ModelFolderContents, "config" | "chatTemplate" | "tokenizerConfig" | "generationConfig"> {
  /** The tokenizer; default none. Its end-of-text token becomes the model's where `config` names none. */
  readonly tokenizer?: Tokenizer;
}

/** What {@linkcode saveModel} takes. */
export interface SaveModelOptions extends ModelDescription {
  /** The device. */
  readonly gpu: Gpu;
  /** The weights, such as a trainer's. */
  readonly parameters: ParameterStore;
}

/**
 * Writes a model folder: `model.safetensors`, `config.json`, and the tokenizer if there is one. It appears whole or not
 * at all. `openModel()` opens it; of a GPT, GPT-2 or Llama Python's `AutoModelForCausalLM` does, too.
 *
 * @param dir The folder: there must be none, or an empty one.
 * @param options The weights and what to say of them.
 * @throws {Deno.errors.AlreadyExists} If there is something at the path, before anything is read or written.
 * @throws {TypeError} If `config` is not representable in JSON.
 * @throws {GpuError} If the device reports an error.
 * @throws {Error} If it cannot be written, with what to do about it.
 *
 * @example
 * ```ts ignore
 * await saveModel("models/mine", { gpu, parameters: trainer.parameters, config: model.config, tokenizer });
 * using folder = await openModel("models/mine");
 * const parameters = await loadParameters(gpu, model, folder);
 * ```
 */
export async function saveModel(dir: string, options: SaveModelOptions): Promise<void> {
  const { gpu, parameters } = options;
  const contents = { ...modelDocuments(options), tensors: tensorsToWrite(gpu, parameters.all) };
  await writeFolderAtomically(dir, (temporary) => writeModelFolder(temporary, contents));
}

/** The documents of a model folder. */
export function modelDocuments(
  { config, tokenizer, chatTemplate, tokenizerConfig, generationConfig }: ModelDescription,
): Omit<ModelFolderContents, "tensors"> {
  return {
    config: { ...config, ...specialTokens(config, tokenizer) },
    tokenizerJson: tokenizer && formatTokenizerJson(tokenizer.json),
    chatTemplate,
    tokenizerConfig,
    generationConfig,
  };
}

/** The tokenizer's end for both ends, where the model names none. */
function specialTokens(config: ModelDescription["config"], tokenizer?: Tokenizer): Record<string, unknown> {
  // A Llama without them says null, since transformers would take ids of its own.
  const isNamed = config.eos_token_id !== undefined && config.eos_token_id !== null;
  if (isNamed || !tokenizer || tokenizer.eosId === null) return {};
  return { bos_token_id: tokenizer.eosId, eos_token_id: tokenizer.eosId };
}

/** The most bytes of tensors that the host holds at once while saving. */
const HOST_BYTES = 256 << 20;

/**
 * Tensors as they go into a file: small models are read in one go, since each read waits for the GPU, and large ones
 * tensor by tensor.
 */
export async function* tensorsToWrite(
  gpu: Gpu,
  tensors: readonly { readonly name: string; readonly tensor: Tensor }[],
): AsyncGenerator<TensorToWrite> {
  const bytes = tensors.reduce((sum, { tensor }) => sum + tensor.byteLength, 0);
  const all = bytes <= HOST_BYTES ? await readTensors(gpu, tensors.map((t) => t.tensor)) : undefined;
  for (const [i, { name, tensor }] of tensors.entries()) {
    const read = async () => new Uint8Array((all?.[i] ?? (await readTensors(gpu, [tensor]))[0]).buffer);
    yield { name, dtype: "F32", shape: tensor.shape, data: read };
  }
}
