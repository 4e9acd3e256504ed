/**
 * GPT-2 (Radford et al., 2019): pre-norm transformer decoder with learned positions and a tied head.
 *
 * Parameters carry Hugging Face's names and orientation (`transformer.h.0.attn.c_attn.weight` as [in, out]),
 * so a checkpoint needs no renaming.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { packedAttention } from "../ops/attention.ts";
import { add } from "../ops/add.ts";
import { dropout } from "../ops/dropout.ts";
import { addPositions, embedding } from "../ops/embedding.ts";
import { gelu, type GeluKind } from "../ops/gelu.ts";
import { layerNorm } from "../ops/layer_norm.ts";
import { type Layers, plainLayers } from "./layers.ts";
import { constant, type HiddenOptions, type LanguageModel, normal } from "./model.ts";

/** Hyper-parameters under the names of Hugging Face's config.json. */
export interface Gpt2Config {
  /** Number of token ids, V. */
  readonly vocab_size: number;
  /** Longest sequence; default 1024. */
  readonly n_positions: number;
  /** Width, C; default 768. */
  readonly n_embd: number;
  /** Number of blocks, L; default 12. */
  readonly n_layer: number;
  /** Number of heads, NH; default 12. */
  readonly n_head: number;
  /** Width of the MLP; default null: 4 C. */
  readonly n_inner: number | null;
  /** `gelu_new` (tanh; default), `gelu_pytorch_tanh` or `gelu` (erf). */
  readonly activation_function: string;
  /** Dropout on the outputs of attention and MLP; default 0. */
  readonly resid_pdrop: number;
  /** Dropout on the embeddings; default 0. */
  readonly embd_pdrop: number;
  /** Dropout on attention weights; default 0. */
  readonly attn_pdrop: number;
  /** Default 1e-5. */
  readonly layer_norm_epsilon: number;
  /** Standard deviation of the starting weights; default 0.02. */
  readonly initializer_range: number;
  /** Whether the head is the token embedding; default true. */
  readonly tie_word_embeddings: boolean;
}

const defaults: Omit<Gpt2Config, "vocab_size"> = {
  n_positions: 1024,
  n_embd: 768,
  n_layer: 12,
  n_head: 12,
  n_inner: null,
  activation_function: "gelu_new",
  resid_pdrop: 0,
  embd_pdrop: 0,
  attn_pdrop: 0,
  layer_norm_epsilon: 1e-5,
  initializer_range: 0.02,
  tie_word_embeddings: true,
};

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

/**
 * Fills in defaults and checks a configuration.
 *
 * @param config Keys of Hugging Face's config.json; unknown keys are ignored, as `transformers` does.
 * @throws {RangeError} If a value is impossible or a feature is not supported; the message names the key.
 */
export function gpt2Config(config: Readonly<Record<string, unknown>>): Gpt2Config {
  const given = Object.fromEntries(
    Object.entries(config).filter(([key, value]) =>
      value !== undefined && (key in defaults || key === "vocab_size")
    ),
  );
  const c = { ...defaults, ...given } as Gpt2Config;
  const positive = (key: keyof Gpt2Config) => {
    const value = c[key];
    if (!Number.isSafeInteger(value) || (value as number) < 1) {
      throw new RangeError(`GPT-2's ${key} must be a positive integer, got ${JSON.stringify(value)}`);
    }
  };
  for (const key of ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head"] as const) positive(key);
  if (c.n_inner !== null) positive("n_inner");
  if (c.n_embd % c.n_head !== 0) {
    throw new RangeError(`GPT-2's n_embd must be a multiple of n_head, got ${c.n_embd} and ${c.n_head}`);
  }
  for (const key of ["resid_pdrop", "embd_pdrop", "attn_pdrop"] as const) {
    if (!(typeof c[key] === "number" && c[key] >= 0 && c[key] < 1)) {
      throw new RangeError(`GPT-2's ${key} must be in [0, 1), got ${JSON.stringify(c[key])}`);
    }
  }
  if (!(c.activation_function in activations)) {
    throw new RangeError(
      `GPT-2's activation_function must be one of ${
        Object.keys(activations).join(", ")
      }, got ${c.activation_function}`,
    );
  }
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
  const { parameter, linear } = layers;
  const C = c.n_embd;
  const inner = c.n_inner ?? 4 * C;
  const std = c.initializer_range;
  // The residual stream sums 2 L outputs; scaling them keeps its variance at the start.
  const residualStd = std / Math.sqrt(2 * c.n_layer);
  const matrix = (g: Graph, name: string, shape: number[], { deviation = std, parts = 1 } = {}) =>
    parameter(g, `transformer.${name}`, shape, {
      init: normal(deviation),
      role: "matrix",
      layout: "in-out",
      parts,
    });
  const bias = (g: Graph, name: string, size: number) =>
    parameter(g, `transformer.${name}`, [size], { init: constant(0), role: "bias" });
  const table = (g: Graph, name: string, rows: number) =>
    parameter(g, name, [rows, C], { init: normal(std), role: "embedding" });
  const norm = (g: Graph, name: string, x: Tensor) =>
    layerNorm(
      g,
      x,
      parameter(g, `transformer.${name}.weight`, [C], { init: constant(1), role: "norm" }),
      parameter(g, `transformer.${name}.bias`, [C], { init: constant(0), role: "norm" }),
      c.layer_norm_epsilon,
    );
  const tokenTable = (g: Graph) => table(g, "transformer.wte.weight", c.vocab_size);

  /** x + dropout(y W + b); the sum is part of the product where nothing is dropped. */
  const projectBack = (g: Graph, x: Tensor, y: Tensor, name: string) => {
    const weight = matrix(g, `${name}.weight`, [y.shape[2], C], { deviation: residualStd });
    const b = bias(g, `${name}.bias`, C);
    if (!g.training || c.resid_pdrop === 0) return linear(g, y, weight, { bias: b, residual: x });
    return add(g, x, dropout(g, linear(g, y, weight, { bias: b }), c.resid_pdrop));
  };

  const block = (g: Graph, x: Tensor, i: number, { context, starts }: HiddenOptions): Tensor => {
    const cache = context && { context, layer: i };
    const h = `h.${i}`;
    let y = norm(g, `${h}.ln_1`, x); // [B, T, C]
    const bias3 = bias(g, `${h}.attn.c_attn.bias`, 3 * C);
    const qkv = matrix(g, `${h}.attn.c_attn.weight`, [C, 3 * C], { parts: 3 });
    y = linear(g, y, qkv, { bias: bias3 }); // [B, T, 3C]
    y = packedAttention(g, y, { numHeads: c.n_head, dropout: c.attn_pdrop, cache, starts }); // [B, T, C]
    x = projectBack(g, x, y, `${h}.attn.c_proj`);
    y = norm(g, `${h}.ln_2`, x);
    const biasInner = bias(g, `${h}.mlp.c_fc.bias`, inner);
    y = linear(g, y, matrix(g, `${h}.mlp.c_fc.weight`, [C, inner]), { bias: biasInner }); // [B, T, 4C]
    y = gelu(g, y, activations[c.activation_function]);
    return projectBack(g, x, y, `${h}.mlp.c_proj`);
  };

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
      let x = embedding(g, tokens, tokenTable(g)); // [B, T, C]
      x = addPositions(g, x, table(g, "transformer.wpe.weight", c.n_positions), options.context?.starts);
      x = dropout(g, x, c.embd_pdrop);
      for (let i = 0; i < c.n_layer; i++) x = g.recompute(x, (x) => block(g, x, i, options));
      return norm(g, "ln_f", x);
    },
    head(g) {
      return c.tie_word_embeddings ? tokenTable(g) : table(g, "lm_head.weight", c.vocab_size);
    },
  };
}
