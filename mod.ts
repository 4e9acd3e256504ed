/**
 * koala-lm trains transformer language models on Deno's native WebGPU.
 *
 * A model is an ordinary function over symbolic tensors: its ops record GPU kernels and how to differentiate
 * them. A {@linkcode Trainer} compiles the recording once, together with clipping and the optimizers, and
 * replays it for every step. Weights carry Hugging Face's names, so checkpoints need no conversion.
 *
 * @example Train GPT-2 on random tokens
 * ```ts
 * import { ok } from "node:assert/strict";
 *
 * const gpu = await requestGpu();
 * const model = gpt2({ vocab_size: 64, n_positions: 16, n_embd: 32, n_layer: 1, n_head: 2 });
 * const trainer = await Trainer.create(gpu, {
 *   record: languageModelLoss(model, 4, 16),
 *   optimizer: partition([
 *     { owns: hiddenMatrices, optimizer: koalaPlusPlus({ lr: 0.02 }) },
 *     { optimizer: adamw({ lr: 0.006 }) },
 *   ]),
 * });
 * const tokens = Uint32Array.from({ length: 64 }, (_, i) => i % 64);
 * const targets = tokens.map((id) => (id + 1) % 64);
 * for (let step = 0; step < 5; step++) trainer.step([{ tokens, targets }]);
 * const metrics = await trainer.metrics();
 * ok(metrics[4].loss < metrics[0].loss);
 * trainer.destroy();
 * gpu.destroy();
 * ```
 *
 * @module
 */

// gpu: WebGPU without machine learning
export {
  type Gpu,
  GpuError,
  type GpuOptions,
  GpuUnavailableError,
  type Profile,
  requestGpu,
} from "./gpu/device.ts";
export {
  type Choice,
  type Collected,
  type Constant,
  type DispatchOptions,
  type GradientTarget,
  Graph,
  type GraphOptions,
  type Input,
  type Operand,
  type UpdateSegment,
  vec4,
} from "./gpu/graph.ts";
export {
  type Access,
  type Binding,
  flatIndexWgsl,
  flatWorkgroups,
  type Kernel,
  mainInputs,
  type WgslType,
} from "./gpu/kernel.ts";
export type { MemoryPlan } from "./gpu/memory.ts";
export {
  type Initializer,
  type Parameter,
  type ParameterRole,
  type ParameterSpec,
  ParameterStore,
} from "./gpu/parameters.ts";
export type { ClockMethod, SubmissionTime } from "./gpu/clock.ts";
export type { KernelTime, ReplayProfile } from "./gpu/profile.ts";
export { compileProgram, type Program } from "./gpu/program.ts";
export { readTensors } from "./gpu/readback.ts";
export { type Dtype, type Place, Storage, type StorageKind, Tensor } from "./gpu/tensor.ts";

// ops: one layer-sized op each, forward and backward
export { add } from "./ops/add.ts";
export { attention, type AttentionOptions, packedAttention } from "./ops/attention/attention.ts";
export { type CrossEntropy, headLogits, linearCrossEntropy } from "./ops/cross_entropy.ts";
export { dropout } from "./ops/dropout.ts";
export { elementwise, type ElementwiseOptions, passGradient } from "./ops/elementwise.ts";
export { addPositions, embedding } from "./ops/embedding.ts";
export { IGNORED_TARGET } from "./ops/ignored_target.ts";
export { gelu, type GeluKind } from "./ops/gelu.ts";
export { KeyValueCache, type LayerCache, type SequenceContext } from "./ops/attention/key_value_cache.ts";
export { layerNorm } from "./ops/layer_norm.ts";
export { linear, type LinearOptions } from "./ops/linear.ts";
export { rmsNorm } from "./ops/rms_norm.ts";
export {
  rotary,
  rotaryFrequencies,
  type RotaryOptions,
  type RotaryScaling,
  rotaryTable,
} from "./ops/rotary.ts";
export { scale } from "./ops/scale.ts";
export { swiglu } from "./ops/swiglu.ts";

// optim: optimizers and schedules
export { adamw, type AdamWOptions } from "./optim/adamw.ts";
export { koalaM, type KoalaMOptions, koalaV, type KoalaVOptions } from "./optim/koala/koala.ts";
export { koalaPlusPlus } from "./optim/koala/koala_plus_plus.ts";
export type { KoalaPlusPlusOptions } from "./optim/koala/koala_plus_plus_scalars.ts";
export { lion, type LionOptions } from "./optim/lion.ts";
export type { MeasurementNoise, MeasurementNoiseOptions } from "./optim/koala/measurement_noise.ts";
export { muon, type MuonOptions } from "./optim/muon.ts";
export type {
  BegunUpdate,
  Optimizer,
  OwnedParameters,
  OwnedState,
  RecordedUpdate,
  SquareSums,
  UpdateInputs,
  UpdateSummary,
} from "./optim/optimizer.ts";
export { hiddenMatrices, type OptimizerPartition, partition, type PartitionRule } from "./optim/partition.ts";
export {
  learningRateSchedule,
  SCHEDULE_KINDS,
  type ScheduleKind,
  type ScheduleOptions,
} from "./optim/schedule.ts";
export { sgd, type SgdOptions } from "./optim/sgd.ts";
export { soap, type SoapOptions } from "./optim/soap.ts";

// models: plain functions over ops
export { gpt2, type Gpt2Config, gpt2Presets } from "./models/gpt2.ts";
export type { GptConfig } from "./models/gpt_layers.ts";
export { frozenEmbeddings, type Layers, plainLayers } from "./models/layers.ts";
export { llama, type LlamaConfig, llamaPresets } from "./models/llama.ts";
export { defaultLoraTargets, modelFromConfig, modelPresets } from "./models/load.ts";
export { loraLayers, type LoraOptions } from "./models/lora.ts";
export { constant, type HiddenOptions, type LanguageModel, normal, uniform } from "./models/model.ts";
export { openaiGpt, type OpenaiGptConfig, openaiGptPresets } from "./models/openai_gpt.ts";
export type { RopeParameters } from "./models/rope.ts";

// data: text, tokenizers, batches
export {
  type Batch,
  Batches,
  type BatchesOptions,
  type BatchShape,
  type DataCursor,
  sequentialBatchCount,
  sequentialBatches,
  type SequentialOptions,
} from "./data/batches.ts";
export {
  type CorpusOptions,
  type CorpusReport,
  openCorpus,
  type SourceCorpus,
  type SourceShare,
} from "./data/corpus/corpus.ts";
export type { SourceOptions } from "./data/corpus/sources.ts";
export type { Corpus, Document, RejectedRow } from "./data/document.ts";
export type { DownloadProgress } from "./data/bytes/download.ts";
export type { HttpVersion, RemoteText } from "./data/bytes/http_version.ts";
export type { HubOptions } from "./data/bytes/hub_source.ts";
export {
  type CorpusInspection,
  inspectCorpus,
  type InspectOptions,
  type LengthBar,
  type Lengths,
  type SampleSequence,
  type SourceSize,
} from "./data/corpus/inspect.ts";
export { StepBatches } from "./data/prefetch.ts";
export { type CorpusScan, scanCorpus } from "./data/corpus/split.ts";
export { openTokenFiles, type TokenFilesOptions } from "./data/tokens/bins.ts";
export {
  type DataOptions,
  type DataProgress,
  prepareTokens,
  type TokenDataset,
  trainOrLoadTokenizer,
} from "./data/tokens/dataset.ts";
export {
  type BytesPerToken,
  readTokens,
  type TokenArray,
  TokenFiles,
  type TokenIds,
  tokenRange,
  type TokenReader,
} from "./data/tokens/files.ts";
export { loadTokenizer, Tokenizer } from "./data/tokenizer/tokenizer.ts";
export type {
  AddedToken,
  TokenizerJson,
  TokenizerModel,
  TokenizerStep,
} from "./data/tokenizer/tokenizer_json.ts";

// checkpoint: Hugging Face folders
export type { AdapterConfig } from "./checkpoint/adapter/config.ts";
export {
  type AdaptedModel,
  AdapterFolder,
  type AdapterFolderContents,
  readAdapterFolder,
  writeAdapterFolder,
} from "./checkpoint/adapter/folder.ts";
export { parseByteSize } from "./files/byte_size.ts";
export { convertTensors } from "./checkpoint/safetensors/convert_tensors.ts";
export { type EmbeddingSource, embeddingTables } from "./checkpoint/embedding_tables.ts";
export type { FloatFormat } from "./checkpoint/safetensors/float_formats.ts";
export {
  type FileState,
  type PushOptions,
  type PushProgress,
  type PushResult,
  pushToHub,
} from "./hub/push.ts";
export {
  type ModelDocuments,
  ModelFolder,
  type ModelFolderContents,
  readModelFolder,
  type TensorPlace,
  type TokenizerDocuments,
  writeModelFolder,
} from "./checkpoint/hugging_face.ts";
export { mergedTensors } from "./checkpoint/adapter/merge.ts";
export { openBase, type OpenModel, openModel } from "./checkpoint/open_model.ts";
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
} from "./checkpoint/safetensors/safetensors.ts";
export type { LinearLayer } from "./checkpoint/tensor_names.ts";
export { weightsDigest } from "./checkpoint/weights_digest.ts";

// training: steps, evaluation, text
export {
  type EvaluateOptions,
  evaluateTokens,
  type Evaluation,
  type EvaluationProgress,
  Evaluator,
  type TokenBatch,
} from "./training/evaluation.ts";
export {
  type GenerateOptions,
  type GenerateRequest,
  Generator,
  type GeneratorOptions,
} from "./training/generate/generation.ts";
export { declareParameters, loadParameters, loadSome, loadTensors } from "./training/run/load_weights.ts";
export { adapterLayers } from "./training/run/lora.ts";
export {
  sampleToken,
  type SamplingOptions,
  type TokenDistribution,
  tokenDistribution,
} from "./training/generate/sampling.ts";
export {
  boundaryIds,
  type GeneratedText,
  generateTexts,
  promptIds,
  type TextRequest,
} from "./training/generate/text_generation.ts";
export type { RecordedLoss, TrainerOptions } from "./training/step/recording.ts";
export { languageModelLoss, type StepInputs, type StepMetrics, Trainer } from "./training/step/trainer.ts";
