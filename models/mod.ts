/**
 * Language models, plain functions over ops, under Hugging Face's names: GPT, GPT-2 and Llama, by configuration or from
 * a `config.json`; LoRA and frozen embeddings as {@linkcode Layers}. Nothing here needs Deno.
 *
 * @example A model as its config.json describes it
 * ```ts
 * import { equal } from "node:assert/strict";
 * import { modelFromConfig } from "@koala-lm/koala-lm/models";
 *
 * const model = modelFromConfig({ model_type: "gpt2", n_positions: 64, n_embd: 32, n_layer: 2, n_head: 2, vocab_size: 96 });
 * equal(model.maxSeqLen, 64);
 * equal(model.vocabSize, 96);
 * ```
 *
 * @module
 */
export { gpt2, type Gpt2Config, gpt2Presets } from "./gpt2.ts";
export type { GptConfig } from "./gpt_layers.ts";
export { frozenEmbeddings, type Layers, plainLayers } from "./layers.ts";
export { llama, type LlamaConfig, llamaPresets } from "./llama.ts";
export { defaultLoraTargets, modelFromConfig, modelPresets } from "./load.ts";
export { loraLayers, type LoraOptions } from "./lora.ts";
export { constant, type HiddenOptions, type LanguageModel, normal, uniform } from "./model.ts";
export { openaiGpt, type OpenaiGptConfig, openaiGptPresets } from "./openai_gpt.ts";
export type { RopeParameters } from "./rope.ts";
