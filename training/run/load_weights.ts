/**
 * From a checkpoint's files to the GPU, piece by piece, so that the host never holds a large tensor.
 *
 * @module
 */
import { matchTensors } from "../../checkpoint/tensor_names.ts";
import type { FloatTensors } from "../../checkpoint/safetensors/safetensors.ts";
import type { Gpu, Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import { type ParameterStore, writeTensor } from "../../gpu/parameters.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { LanguageModel } from "../../models/model.ts";

/** Bytes that may be on their way to the GPU at a time; WebGPU keeps a copy of each write until it is done. */
const IN_FLIGHT_BYTES = 64 << 20;

/**
 * Fills tensors from a checkpoint.
 *
 * @param gpu The device.
 * @param targets Tensors with buffers, under the checkpoint's names.
 * @param source Where the values are, such as a `ModelFolder`; it must hold exactly these tensors.
 * @throws {TypeError} If the source holds other tensors, before any is written; one error lists all differences.
 * @throws {Error} If a file can no longer be read.
 * @throws {GpuError} If the device reports an error.
 */
export async function loadTensors(
  gpu: Gpu,
  targets: readonly { readonly name: string; readonly tensor: Tensor }[],
  source: FloatTensors,
): Promise<void> {
  matchTensors(targets.map(({ name, tensor }) => ({ name, shape: tensor.shape })), source.tensors);
  let inFlight = 0;
  for (const { name, tensor } of targets) {
    let first = 0;
    for await (const piece of source.piecesF32(name)) {
      writeTensor(gpu, tensor, piece, first);
      first += piece.length;
      inFlight += piece.byteLength;
      if (inFlight < IN_FLIGHT_BYTES) continue;
      gpu.device.queue.submit([]);
      await gpu.device.queue.onSubmittedWorkDone();
      inFlight = 0;
    }
  }
  gpu.check();
}

/**
 * Fills those parameters that a source has, such as embeddings, and leaves the others as they are.
 *
 * @param gpu The device.
 * @param parameters Parameters with buffers.
 * @param source Where the values are; it must hold nothing else than parameters.
 * @throws {TypeError} If it holds other tensors, before any is written; one error lists all differences.
 * @throws {Error} If a file can no longer be read.
 * @throws {GpuError} If the device reports an error.
 */
export async function loadSome(gpu: Gpu, parameters: ParameterStore, source: FloatTensors): Promise<void> {
  await loadTensors(gpu, parameters.all.filter(({ name }) => source.tensors.has(name)), source);
}

/** An adapter without limits, for recordings of which nothing but the parameters matters. */
const ANY_ADAPTER: Profile = {
  subgroupSize: 0,
  isSoftware: false,
  maxBindingBytes: Infinity,
  maxBufferBytes: Infinity,
};

/**
 * The parameters of a model, without buffers.
 *
 * @param model The model.
 * @param profile The adapter that will hold them. Default: none in particular.
 * @throws {TypeError} If the model is inconsistent.
 */
export function declareParameters(model: LanguageModel, profile: Profile = ANY_ADAPTER): ParameterStore {
  const g = new Graph({ profile });
  model.hidden(g, g.input("tokens", [1, 1], "u32"));
  model.head(g);
  return g.parameters;
}

/**
 * Puts a model's weights from a checkpoint onto the GPU.
 *
 * @param gpu The device.
 * @param model The model.
 * @param source Its weights, such as a `ModelFolder`.
 * @returns The parameters, for a `Generator` or an `Evaluator`; destroy them when done.
 * @throws {TypeError} If the source holds other tensors than the model; one error lists all differences.
 * @throws {RangeError} If a parameter is too large for the adapter.
 * @throws {Error} If a file can no longer be read.
 *
 * @example Continue a text with a Hugging Face folder
 * ```ts ignore
 * using folder = await readModelFolder("models/gpt2");
 * const model = modelFromConfig(folder.config);
 * const parameters = await loadParameters(gpu, model, folder);
 * const generator = await Generator.create(gpu, model, parameters);
 * ```
 */
export async function loadParameters(
  gpu: Gpu,
  model: LanguageModel,
  source: FloatTensors,
): Promise<ParameterStore> {
  const parameters = declareParameters(model, gpu.profile);
  matchTensors(parameters.all, source.tensors); // before memory is taken
  await parameters.allocate(gpu, 0);
  await loadTensors(gpu, parameters.all, source);
  return parameters;
}
