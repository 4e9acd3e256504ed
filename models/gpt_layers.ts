/**
 * What GPT (2018) and GPT-2 (2019) share: hyper-parameters, weights under Hugging Face's names, and the layers of a
 * block. Where a block normalises is what tells the two apart, and stands in `openai_gpt.ts` and `gpt2.ts`.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { add } from "../ops/add.ts";
import { packedAttention } from "../ops/attention/attention.ts";
import { dropout } from "../ops/dropout.ts";
import { addPositions, embedding } from "../ops/embedding.ts";
import { gelu, type GeluKind } from "../ops/activation/gelu.ts";
import { layerNorm } from "../ops/norm/layer_norm.ts";
import type { Layers } from "./layers.ts";
import { constant, type HiddenOptions, normal } from "./model.ts";

/** Hyper-parameters that both have, under the names of Hugging Face's config.json. */
export interface GptConfig {
  /** Number of token ids, V. */
  readonly vocab_size: number;
  /** Longest sequence; default 1024 of a GPT-2, 512 of a GPT. */
  readonly n_positions: number;
  /** Width, C; default 768. */
  readonly n_embd: number;
  /** Number of blocks, L; default 12. */
  readonly n_layer: number;
  /** Number of heads, NH; default 12. */
  readonly n_head: number;
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

/**
 * The defaults of both. Configurations are compared as JSON, so the order of keys is part of the result.
 *
 * @param n_positions Longest sequence.
 * @param own The architecture's own keys.
 */
export function gptDefaults<Own extends object>(
  n_positions: number,
  own: Own,
): Omit<GptConfig, "vocab_size"> & Own {
  return {
    n_positions,
    n_embd: 768,
    n_layer: 12,
    n_head: 12,
    ...own,
    resid_pdrop: 0,
    embd_pdrop: 0,
    attn_pdrop: 0,
    layer_norm_epsilon: 1e-5,
    initializer_range: 0.02,
    tie_word_embeddings: true,
  };
}

/** How an architecture's configuration is read. */
export interface GptKind<C extends GptConfig> {
  /** What it is called in messages, such as `GPT-2`. */
  readonly name: string;
  /** All keys but `vocab_size`, with their defaults. */
  readonly defaults: Omit<C, "vocab_size">;
  /** The key that names the activation. */
  readonly activationKey: keyof C & string;
  /** The activations by their names. */
  readonly activations: Readonly<Record<string, GeluKind>>;
}

/**
 * Fills in defaults and checks a configuration.
 *
 * @param kind The architecture.
 * @param config Keys of Hugging Face's config.json; unknown keys are ignored, as `transformers` does.
 * @throws {RangeError} If a value is impossible or a feature is not supported; the message names the key.
 */
export function gptConfig<C extends GptConfig>(
  { name, defaults, activationKey, activations }: GptKind<C>,
  config: Readonly<Record<string, unknown>>,
): C {
  const given = Object.fromEntries(
    Object.entries(config).filter(([key, value]) =>
      value !== undefined && (key in defaults || key === "vocab_size")
    ),
  );
  const c = { ...defaults, ...given } as unknown as C;
  for (const key of ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head"] as const) {
    positiveKey(name, key, c[key]);
  }
  if (c.n_embd % c.n_head !== 0) {
    throw new RangeError(`${name}'s n_embd must be a multiple of n_head, got ${c.n_embd} and ${c.n_head}`);
  }
  for (const key of ["resid_pdrop", "embd_pdrop", "attn_pdrop"] as const) {
    if (!(typeof c[key] === "number" && c[key] >= 0 && c[key] < 1)) {
      throw new RangeError(`${name}'s ${key} must be in [0, 1), got ${JSON.stringify(c[key])}`);
    }
  }
  if (!Object.hasOwn(activations, String(c[activationKey]))) {
    throw new RangeError(
      `${name}'s ${activationKey} must be one of ${Object.keys(activations).join(", ")}, got ${
        c[activationKey]
      }`,
    );
  }
  return c;
}

/**
 * Checks a size.
 *
 * @param name The architecture.
 * @param key The key of config.json.
 * @param value Its value.
 * @throws {RangeError} If it is not a positive integer.
 */
export function positiveKey(name: string, key: string, value: unknown): void {
  if (Number.isSafeInteger(value) && value as number >= 1) return;
  throw new RangeError(`${name}'s ${key} must be a positive integer, got ${JSON.stringify(value)}`);
}

/** What {@linkcode gptLayers} takes. */
export interface GptShape {
  /** Sizes and probabilities. */
  readonly config: GptConfig;
  /** Width of the MLP. */
  readonly inner: number;
  /** The MLP's activation. */
  readonly activation: GeluKind;
  /** Standard deviation of the starting weights of the projections that end in the residual stream. */
  readonly residualStd: number;
  /** Name of the token embedding. */
  readonly tokens: string;
  /** Name of the position embedding. */
  readonly positions: string;
}

/** Records the pieces of a model; `name` in them is a parameter's without `transformer.`. */
export interface GptLayers {
  /** Token and position embeddings, [B, T, C], and what `block` makes of them for each block i. */
  stack(
    g: Graph,
    tokens: Tensor,
    options: HiddenOptions,
    block: (x: Tensor, i: number) => Tensor,
  ): Tensor;
  /** A layer normalisation. */
  norm(g: Graph, name: string, x: Tensor): Tensor;
  /** residual + dropout(attention of block i on x). */
  attention(g: Graph, i: number, x: Tensor, residual: Tensor, options: HiddenOptions): Tensor;
  /** residual + dropout(MLP of block i on x). */
  mlp(g: Graph, i: number, x: Tensor, residual: Tensor): Tensor;
  /** The output head, [V, C]. */
  head(g: Graph): Tensor;
}

/**
 * The layers of a GPT or GPT-2.
 *
 * @param shape See {@linkcode GptShape}.
 * @param layers How weights are declared and applied.
 */
export function gptLayers(shape: GptShape, { parameter, linear }: Layers): GptLayers {
  const { config: c, inner, activation, residualStd, tokens: tokensName, positions } = shape;
  const C = c.n_embd;
  const std = c.initializer_range;
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
  const tokenTable = (g: Graph) => table(g, tokensName, c.vocab_size);

  /** residual + dropout(y W + b); the sum is part of the product where nothing is dropped. */
  const projectBack = (g: Graph, name: string, y: Tensor, residual: Tensor) => {
    const weight = matrix(g, `${name}.weight`, [y.shape[2], C], { deviation: residualStd });
    const b = bias(g, `${name}.bias`, C);
    if (!g.training || c.resid_pdrop === 0) return linear(g, y, weight, { bias: b, residual });
    return add(g, residual, dropout(g, linear(g, y, weight, { bias: b }), c.resid_pdrop));
  };

  return {
    stack(g, tokens, { context }, block) {
      let x = embedding(g, tokens, tokenTable(g)); // [B, T, C]
      x = addPositions(g, x, table(g, positions, c.n_positions), context?.starts);
      x = dropout(g, x, c.embd_pdrop);
      for (let i = 0; i < c.n_layer; i++) x = g.recompute(x, (x) => block(x, i));
      return x;
    },
    norm: (g, name, x) =>
      layerNorm(
        g,
        x,
        parameter(g, `transformer.${name}.weight`, [C], { init: constant(1), role: "norm" }),
        parameter(g, `transformer.${name}.bias`, [C], { init: constant(0), role: "norm" }),
        c.layer_norm_epsilon,
      ),
    attention(g, i, x, residual, { context, starts }) {
      const name = `h.${i}.attn`;
      const cache = context && { context, layer: i };
      const bias3 = bias(g, `${name}.c_attn.bias`, 3 * C);
      const qkv = matrix(g, `${name}.c_attn.weight`, [C, 3 * C], { parts: 3 });
      let y = linear(g, x, qkv, { bias: bias3 }); // [B, T, 3C]
      y = packedAttention(g, y, { numHeads: c.n_head, dropout: c.attn_pdrop, cache, starts }); // [B, T, C]
      return projectBack(g, `${name}.c_proj`, y, residual);
    },
    mlp(g, i, x, residual) {
      const name = `h.${i}.mlp`;
      const biasInner = bias(g, `${name}.c_fc.bias`, inner);
      const y = linear(g, x, matrix(g, `${name}.c_fc.weight`, [C, inner]), { bias: biasInner });
      return projectBack(g, `${name}.c_proj`, gelu(g, y, activation), residual); // [B, T, C]
    },
    head: (g) =>
      c.tie_word_embeddings
        ? tokenTable(g)
        : parameter(g, "lm_head.weight", [c.vocab_size, C], { init: normal(std), role: "head" }),
  };
}
