/**
 * Hugging Face's folders and files: models, tokenizers beside them, LoRA adapters and safetensors, read by place and
 * written whole or not at all, and pushed to the Hub.
 *
 * @example Write a model folder and read it again
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { readModelFolder, writeModelFolder } from "@koala-lm/koala-lm/checkpoint";
 *
 * const dir = await Deno.makeTempDir();
 * await writeModelFolder(dir, {
 *   config: { model_type: "gpt2" },
 *   tensors: [{ name: "transformer.ln_f.bias", dtype: "F32", shape: [1], data: new Uint8Array(4) }],
 * });
 * using folder = await readModelFolder(dir);
 * deepEqual(await folder.readF32("transformer.ln_f.bias"), Float32Array.of(0));
 * ```
 *
 * @module
 */
export type { AdapterConfig } from "./adapter/config.ts";
export {
  type AdaptedModel,
  AdapterFolder,
  type AdapterFolderContents,
  readAdapterFolder,
  writeAdapterFolder,
} from "./adapter/folder.ts";
export { parseByteSize } from "../files/byte_size.ts";
export type { JsonObject, JsonValue } from "../files/json_file.ts";
export type { MetricsFile, MetricsRecord } from "./run/metrics_file.ts";
export { convertTensors } from "./safetensors/convert_tensors.ts";
export { type EmbeddingSource, embeddingTables } from "./embedding_tables.ts";
export type { FloatFormat } from "./safetensors/float_formats.ts";
export {
  type FileState,
  type PushOptions,
  type PushProgress,
  type PushResult,
  pushToHub,
} from "../hub/push.ts";
export {
  type ModelDocuments,
  ModelFolder,
  type ModelFolderContents,
  readModelFolder,
  type TensorPlace,
  type TokenizerDocuments,
  writeModelFolder,
} from "./hugging_face.ts";
export { mergedTensors } from "./adapter/merge.ts";
export { openBase, type OpenModel, openModel } from "./open_model.ts";
export {
  encodeSafetensors,
  type FloatTensors,
  type ParsedSafetensors,
  parseSafetensors,
  readSafetensors,
  type SafetensorsDtype,
  SafetensorsFile,
  type TensorData,
  type TensorInfo,
  type TensorToWrite,
  writeSafetensors,
} from "./safetensors/safetensors.ts";
export type { LinearLayer } from "./tensor_names.ts";
export { weightsDigest } from "./weights_digest.ts";
