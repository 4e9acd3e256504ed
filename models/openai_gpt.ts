/**
 * GPT (Radford et al., 2018, "Improving Language Understanding by Generative Pre-Training"): post-norm transformer
 * decoder with learned positions and a tied head. A block is
 *
 * x = norm1(x + attention(x)), x = norm2(x + mlp(x)),
 *
 * and no normalisation follows the last one.
 *
 * Parameters carry the names and orientation of Hugging Face's `OpenAIGPTLMHeadModel`
 * (`transformer.h.0.attn.c_attn.weight` as [in, out]), so a checkpoint needs no renaming.
 *
 * @module
 */
import type { GeluKind } from "../ops/activation/gelu.ts";
import { type GptConfig, gptConfig, gptDefaults, type GptKind, gptLayers } from "./gpt_layers.ts";
import { type Layers, plainLayers } from "./layers.ts";
import type { LanguageModel } from "./model.ts";

/** Hyper-parameters under the names of Hugging Face's config.json. */
export interface OpenaiGptConfig extends GptConfig {
  /** `gelu`, the only one; under this name `transformers` computes the form with tanh. */
  readonly afn: string;
}

/** Sizes by name: `openai-gpt` is OpenAI's, `openai-gpt-nano` the counterpart of `gpt2-nano`. */
export const openaiGptPresets: Readonly<Record<string, Partial<OpenaiGptConfig>>> = {
  "openai-gpt-nano": { n_positions: 128, n_embd: 128, n_layer: 4, n_head: 4 },
  "openai-gpt": {},
};

const activations: Readonly<Record<string, GeluKind>> = { gelu: "tanh" };

const kind: GptKind<OpenaiGptConfig> = {
  name: "GPT",
  defaults: gptDefaults(512, { afn: "gelu" }),
  activationKey: "afn",
  activations,
};

/**
 * A GPT model.
 *
 * All matrices start with the deviation `initializer_range`, as in `transformers`; the normalisation after each sum
 * holds the variance, so that projections into the residual stream need not start smaller.
 *
 * @param options Any of {@linkcode OpenaiGptConfig}; `vocab_size` is required, unknown keys are ignored.
 * @param layers How weights are declared and applied; default all are trained.
 * @returns The model, to be recorded in graphs.
 * @throws {RangeError} If a value is impossible or a feature is not supported; the message names the key.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * const model = openaiGpt({ ...openaiGptPresets["openai-gpt-nano"], vocab_size: 2048 });
 * equal(model.config.model_type, "openai-gpt");
 * ```
 */
export function openaiGpt(
  options: Readonly<Record<string, unknown>>,
  layers: Layers = plainLayers,
): LanguageModel {
  const c = gptConfig(kind, options);
  const { stack, norm, attention, mlp, head } = gptLayers({
    config: c,
    inner: 4 * c.n_embd,
    activation: activations[c.afn],
    residualStd: c.initializer_range,
    tokens: "transformer.tokens_embed.weight",
    positions: "transformer.positions_embed.weight",
  }, layers);
  return {
    config: { architectures: ["OpenAIGPTLMHeadModel"], model_type: "openai-gpt", ...c, dtype: "float32" },
    vocabSize: c.vocab_size,
    maxSeqLen: c.n_positions,
    hidden(g, tokens, options = {}) {
      return stack(g, tokens, options, (x, i) => {
        x = norm(g, `h.${i}.ln_1`, attention(g, i, x, x, options));
        return norm(g, `h.${i}.ln_2`, mlp(g, i, x, x));
      });
    },
    head,
  };
}
