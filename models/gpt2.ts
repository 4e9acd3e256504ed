/**
 * GPT-2 (Radford et al., 2019): pre-norm transformer decoder with learned positions and a tied head.
 *
 * Parameters carry Hugging Face's names and orientation (`transformer.h.0.attn.c_attn.weight` as [in, out]),
 * so a checkpoint needs no renaming.
 *
 * @module
 */
import type { GeluKind } from "../ops/activation/gelu.ts";
import {
  type GptConfig,
  gptConfig,
  gptDefaults,
  type GptKind,
  gptLayers,
  positiveKey,
} from "./gpt_layers.ts";
import { type Layers, plainLayers } from "./layers.ts";
import type { LanguageModel } from "./model.ts";

/** Hyper-parameters under the names of Hugging Face's config.json. */
export interface Gpt2Config extends GptConfig {
  /** Width of the MLP; default null: 4 C. */
  readonly n_inner: number | null;
  /** `gelu_new` (tanh; default), `gelu_pytorch_tanh` or `gelu` (erf). */
  readonly activation_function: string;
}

/** Sizes by name: `gpt2-nano` trains in minutes on a CPU, `gpt2` and larger are OpenAI's. */
export const gpt2Presets: Readonly<Record<string, Partial<Gpt2Config>>> = {
  "gpt2-nano": { n_positions: 128, n_embd: 128, n_layer: 4, n_head: 4 },
  "gpt2-mini": { n_positions: 256, n_embd: 256, n_layer: 6, n_head: 8 },
  "gpt2-small": { n_positions: 512, n_embd: 512, n_layer: 8, n_head: 8 },
  "gpt2": {},
  "gpt2-medium": { n_embd: 1024, n_layer: 24, n_head: 16 },
  "gpt2-large": { n_embd: 1280, n_layer: 36, n_head: 20 },
  "gpt2-xl": { n_embd: 1600, n_layer: 48, n_head: 25 },
};

const activations: Readonly<Record<string, GeluKind>> = {
  gelu_new: "tanh",
  gelu_pytorch_tanh: "tanh",
  gelu: "erf",
};

const kind: GptKind<Gpt2Config> = {
  name: "GPT-2",
  defaults: gptDefaults(1024, { n_inner: null, activation_function: "gelu_new" }),
  activationKey: "activation_function",
  activations,
};

/**
 * Fills in defaults and checks a configuration.
 *
 * @param config Keys of Hugging Face's config.json; unknown keys are ignored, as `transformers` does.
 * @throws {RangeError} If a value is impossible or a feature is not supported; the message names the key.
 */
export function gpt2Config(config: Readonly<Record<string, unknown>>): Gpt2Config {
  const c = gptConfig(kind, config);
  if (c.n_inner !== null) positiveKey("GPT-2", "n_inner", c.n_inner);
  const unsupported: Record<string, unknown> = {
    scale_attn_weights: true,
    scale_attn_by_inverse_layer_idx: false,
    add_cross_attention: false,
  };
  for (const [key, only] of Object.entries(unsupported)) {
    if (config[key] !== undefined && config[key] !== only) {
      throw new RangeError(`GPT-2's ${key} is supported as ${only} only, got ${config[key]}`);
    }
  }
  return c;
}

/**
 * A GPT-2 model.
 *
 * @param options Any of {@linkcode Gpt2Config}; `vocab_size` is required.
 * @param layers How weights are declared and applied; default all are trained.
 * @returns The model, to be recorded in graphs.
 * @throws {RangeError} If a value is impossible or a feature is not supported.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * const model = gpt2({ ...gpt2Presets["gpt2-nano"], vocab_size: 2048 });
 * equal(model.maxSeqLen, 128);
 * ```
 */
export function gpt2(
  options: Readonly<Record<string, unknown>>,
  layers: Layers = plainLayers,
): LanguageModel {
  const c = gpt2Config(options);
  const { stack, norm, attention, mlp, head } = gptLayers({
    config: c,
    inner: c.n_inner ?? 4 * c.n_embd,
    activation: activations[c.activation_function],
    // The residual stream sums 2 L outputs; scaling them keeps its variance at the start.
    residualStd: c.initializer_range / Math.sqrt(2 * c.n_layer),
    tokens: "transformer.wte.weight",
    positions: "transformer.wpe.weight",
  }, layers);
  return {
    config: {
      architectures: ["GPT2LMHeadModel"],
      model_type: "gpt2",
      ...c,
      n_ctx: c.n_positions,
      dtype: "float32",
    },
    vocabSize: c.vocab_size,
    maxSeqLen: c.n_positions,
    hidden(g, tokens, options = {}) {
      const x = stack(g, tokens, options, (x, i) => {
        x = attention(g, i, norm(g, `h.${i}.ln_1`, x), x, options);
        return mlp(g, i, norm(g, `h.${i}.ln_2`, x), x);
      });
      return norm(g, "ln_f", x);
    },
    head,
  };
}
