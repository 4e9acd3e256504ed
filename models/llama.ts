/**
 * Llama (arXiv 2302.13971, 2307.09288): pre-norm transformer decoder with rotary positions, RMS normalisation,
 * SwiGLU and keys shared by groups of heads (arXiv 2305.13245).
 *
 * Parameters carry Hugging Face's names and orientation (`model.layers.0.self_attn.q_proj.weight` as [out, in]),
 * so a checkpoint needs no renaming.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { attention } from "../ops/attention/attention.ts";
import { embedding } from "../ops/embedding.ts";
import { rmsNorm } from "../ops/norm/rms_norm.ts";
import { rotary, rotaryTable } from "../ops/rotary.ts";
import { swiglu } from "../ops/activation/swiglu.ts";
import { type Layers, plainLayers } from "./layers.ts";
import { constant, type HiddenOptions, type LanguageModel, normal } from "./model.ts";
import { ropeKeys, type RopeParameters, ropeParameters, rotaryOptions } from "./rope.ts";

/** Hyper-parameters under the names of Hugging Face's config.json. */
export interface LlamaConfig {
  /** Number of token ids, V. */
  readonly vocab_size: number;
  /** Width, C; default 4096. */
  readonly hidden_size: number;
  /** Width of the MLP; default 11,008. */
  readonly intermediate_size: number;
  /** Number of blocks, L; default 32. */
  readonly num_hidden_layers: number;
  /** Number of query heads, NH; default 32. */
  readonly num_attention_heads: number;
  /** Number of key and value heads; default null: NH. */
  readonly num_key_value_heads: number;
  /** Values of a head, HS; default null: C / NH. */
  readonly head_dim: number;
  /** `silu`, the only one. */
  readonly hidden_act: string;
  /** Longest sequence; default 2048. */
  readonly max_position_embeddings: number;
  /** Standard deviation of the starting weights; default 0.02. */
  readonly initializer_range: number;
  /** Default 1e-6. */
  readonly rms_norm_eps: number;
  /** Whether the head is the token embedding; default false. */
  readonly tie_word_embeddings: boolean;
  /** Rotary positions; `rope_theta` and `rope_scaling` are understood as well. Default: theta 10,000. */
  readonly rope_parameters: RopeParameters;
  /** Whether the projections of attention have biases; default false. */
  readonly attention_bias: boolean;
  /** Dropout on attention weights; default 0. */
  readonly attention_dropout: number;
  /** Whether the projections of the MLP have biases; default false. */
  readonly mlp_bias: boolean;
}

const defaults: Omit<LlamaConfig, "vocab_size" | "num_key_value_heads" | "head_dim" | "rope_parameters"> = {
  hidden_size: 4096,
  intermediate_size: 11_008,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  hidden_act: "silu",
  max_position_embeddings: 2048,
  initializer_range: 0.02,
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  attention_bias: false,
  attention_dropout: 0,
  mlp_bias: false,
};

/** A preset whose hidden matrices have as many weights as those of the GPT-2 preset of that size. */
function preset(width: number, layers: number, heads: number, length: number): Partial<LlamaConfig> {
  return {
    hidden_size: width,
    intermediate_size: 3 * width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: heads / 2,
    max_position_embeddings: length,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
  };
}

/**
 * Sizes by name: `llama-nano`, `llama-mini` and `llama-small` are counterparts of the GPT-2 presets of these
 * sizes, `smollm2-135m` is the shape of Hugging Face's SmolLM2-135M (with its 49,152 token ids).
 */
export const llamaPresets: Readonly<Record<string, Partial<LlamaConfig>>> = {
  "llama-nano": preset(128, 4, 4, 128),
  "llama-mini": preset(256, 6, 8, 256),
  "llama-small": preset(512, 8, 8, 512),
  "smollm2-135m": {
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    max_position_embeddings: 8192,
    initializer_range: 1 / 24,
    rms_norm_eps: 1e-5,
    rope_parameters: { rope_type: "default", rope_theta: 100_000 },
    tie_word_embeddings: true,
  },
};

/**
 * Fills in defaults and checks a configuration.
 *
 * @param config Keys of Hugging Face's config.json; unknown keys are ignored, as `transformers` does.
 * @throws {RangeError} If a value is impossible or a feature is not supported; the message names the key.
 */
export function llamaConfig(config: Readonly<Record<string, unknown>>): LlamaConfig {
  const given = Object.fromEntries(
    Object.entries(config).filter(([key, value]) => value !== undefined && key in defaults),
  );
  const c = { ...defaults, ...given } as typeof defaults;
  const refuse = (key: string, must: string, value: unknown): never => {
    throw new RangeError(`Llama's ${key} must be ${must}, got ${JSON.stringify(value)}`);
  };
  const positive = (key: string, value: unknown) => {
    if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
    return refuse(key, "a positive integer", value);
  };
  for (
    const key of [
      "hidden_size",
      "intermediate_size",
      "num_hidden_layers",
      "num_attention_heads",
      "max_position_embeddings",
    ] as const
  ) positive(key, c[key]);
  const vocab_size = positive("vocab_size", config.vocab_size);
  const [width, heads] = [c.hidden_size, c.num_attention_heads];
  // transformers holds this even where head_dim is given.
  if (width % heads !== 0) refuse("hidden_size", `a multiple of num_attention_heads ${heads}`, width);
  const num_key_value_heads = positive("num_key_value_heads", config.num_key_value_heads ?? heads);
  if (heads % num_key_value_heads !== 0) {
    refuse("num_attention_heads", `a multiple of num_key_value_heads ${num_key_value_heads}`, heads);
  }
  const head_dim = positive("head_dim", config.head_dim ?? width / heads);
  if (head_dim % 2 !== 0) refuse("head_dim", "even, since rotary positions turn pairs", head_dim);
  if (c.hidden_act !== "silu") {
    throw new RangeError(`Llama's hidden_act is supported as silu only, got ${JSON.stringify(c.hidden_act)}`);
  }
  const inRange = (key: "attention_dropout" | "initializer_range" | "rms_norm_eps", end: number) => {
    if (!(typeof c[key] === "number" && c[key] >= 0 && c[key] < end)) refuse(key, `in [0, ${end})`, c[key]);
  };
  inRange("attention_dropout", 1);
  inRange("initializer_range", 1);
  inRange("rms_norm_eps", 1);
  for (const key of ["tie_word_embeddings", "attention_bias", "mlp_bias"] as const) {
    if (typeof c[key] !== "boolean") refuse(key, "true or false", c[key]);
  }
  if (config.quantization_config !== undefined && config.quantization_config !== null) {
    throw new RangeError("Llama's quantization_config is not supported; use the model's unquantized weights");
  }
  const rope_parameters = ropeParameters(config, c.max_position_embeddings);
  return { vocab_size, ...c, num_key_value_heads, head_dim, rope_parameters };
}

/**
 * A Llama model.
 *
 * @param options Any of {@linkcode LlamaConfig}; `vocab_size` is required.
 * @param layers How weights are declared and applied; default all are trained.
 * @returns The model, to be recorded in graphs.
 * @throws {RangeError} If a value is impossible or a feature is not supported.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * const model = llama({ ...llamaPresets["llama-nano"], vocab_size: 2048 });
 * equal(model.maxSeqLen, 128);
 * ```
 */
export function llama(
  options: Readonly<Record<string, unknown>>,
  layers: Layers = plainLayers,
): LanguageModel {
  const c = llamaConfig(options);
  const { parameter, linear } = layers;
  const C = c.hidden_size;
  const [numHeads, numKeyValueHeads] = [c.num_attention_heads, c.num_key_value_heads]; // NH, KV
  const [queries, keys] = [numHeads * c.head_dim, numKeyValueHeads * c.head_dim]; // NH * HS, KV * HS
  const init = normal(c.initializer_range);
  const table = (g: Graph, name: string, role: "embedding" | "head") =>
    parameter(g, name, [c.vocab_size, C], { init, role });
  const tokenTable = (g: Graph) => table(g, "model.embed_tokens.weight", "embedding");
  const norm = (g: Graph, name: string, x: Tensor) => {
    const weight = parameter(g, `model.${name}.weight`, [C], { init: constant(1), role: "norm" });
    return rmsNorm(g, x, weight, c.rms_norm_eps);
  };

  /** x W^T, with a bias where the model has them and a residual where one is given. */
  const project = (g: Graph, x: Tensor, name: string, out: number, biased: boolean, residual?: Tensor) => {
    const weight = parameter(g, `model.${name}.weight`, [out, x.shape[2]], { init, role: "matrix" });
    const bias = biased
      ? parameter(g, `model.${name}.bias`, [out], { init: constant(0), role: "bias" })
      : undefined;
    return linear(g, x, weight, { layout: "out-in", bias, residual });
  };

  const block = (
    g: Graph,
    x: Tensor,
    angles: Tensor,
    i: number,
    { context, starts }: HiddenOptions,
  ): Tensor => {
    const cache = context && { context, layer: i };
    const turned = (x: Tensor) => rotary(g, x, angles, context?.starts);
    const attn = (name: string) => `layers.${i}.self_attn.${name}`;
    const mlp = (name: string) => `layers.${i}.mlp.${name}`;
    let y = norm(g, `layers.${i}.input_layernorm`, x); // [B, T, C]
    const q = turned(project(g, y, attn("q_proj"), queries, c.attention_bias)); // [B, T, NH * HS]
    const k = turned(project(g, y, attn("k_proj"), keys, c.attention_bias)); // [B, T, KV * HS]
    const v = project(g, y, attn("v_proj"), keys, c.attention_bias); // [B, T, KV * HS]
    y = attention(g, q, k, v, { numHeads, numKeyValueHeads, dropout: c.attention_dropout, cache, starts });
    x = project(g, y, attn("o_proj"), C, c.attention_bias, x); // [B, T, C]
    y = norm(g, `layers.${i}.post_attention_layernorm`, x);
    const gate = project(g, y, mlp("gate_proj"), c.intermediate_size, c.mlp_bias); // [B, T, intermediate]
    const up = project(g, y, mlp("up_proj"), c.intermediate_size, c.mlp_bias);
    return project(g, swiglu(g, gate, up), mlp("down_proj"), C, c.mlp_bias, x);
  };

  return {
    config: {
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      ...c,
      ...ropeKeys(c.rope_parameters),
      // transformers would take 1 and 2, whatever these are in the vocabulary.
      bos_token_id: null,
      eos_token_id: null,
      dtype: "float32",
    },
    vocabSize: c.vocab_size,
    maxSeqLen: c.max_position_embeddings,
    hidden(g, tokens, options = {}) {
      const positions = options.context?.length ?? tokens.shape[1];
      const angles = rotaryTable(g, positions, c.head_dim, rotaryOptions(c.rope_parameters));
      let x = embedding(g, tokens, tokenTable(g)); // [B, T, C]
      for (let i = 0; i < c.num_hidden_layers; i++) {
        x = g.recompute(x, (x) => block(g, x, angles, i, options));
      }
      return norm(g, "norm", x);
    },
    head(g) {
      return c.tie_word_embeddings ? tokenTable(g) : table(g, "lm_head.weight", "head");
    },
  };
}
