/**
 * LoRA (arXiv 2106.09685): the weights of a model stay as they are, and a linear layer y = x W + b is trained
 * through two thin matrices beside it,
 *
 * y = x W + b + s dropout(x) A^T B^T, A [r, in], B [out, r].
 *
 * B starts at 0, so that training starts from the model as it is; A starts uniform in +-1 / sqrt(in), as PEFT's
 * does (Kaiming's with a = sqrt(5)).
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { dropout } from "../ops/dropout.ts";
import { linear, type LinearOptions } from "../ops/linear.ts";
import { scale } from "../ops/scale.ts";
import type { Layers } from "./layers.ts";
import { constant, uniform } from "./model.ts";

/** What {@linkcode loraLayers} takes. */
export interface LoraOptions {
  /** Rows of A and columns of B, r: a positive integer. */
  readonly rank: number;
  /** What the adapter's output is multiplied with, s: usually alpha / r. */
  readonly scale: number;
  /** Probability of dropping an input of A while training; default 0. */
  readonly dropout?: number;
  /** Which linear layers get an adapter, by their name, such as `transformer.h.0.attn.c_attn`. */
  readonly isTarget: (module: string) => boolean;
}

/**
 * Builds a model with frozen weights and trained adapters. The adapter of the layer `NAME`, whose weight is
 * `NAME.weight`, has the parameters `NAME.lora_A.weight` and `NAME.lora_B.weight`.
 *
 * @param options See {@linkcode LoraOptions}.
 * @returns What `gpt2()`, `llama()` and `modelFromConfig()` take as their second argument.
 * @throws {RangeError} If the rank is no positive integer, the scale not finite or the dropout not in [0, 1).
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { gpt2 } from "./gpt2.ts";
 * import { Graph } from "../gpu/graph.ts";
 *
 * const isTarget = (module: string) => module.endsWith(".c_attn");
 * const layers = loraLayers({ rank: 4, scale: 2, isTarget });
 * const model = gpt2({ vocab_size: 64, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 }, layers);
 * const profile = { subgroupSize: 0, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 1 << 30 };
 * const g = new Graph({ profile });
 * model.hidden(g, g.input("tokens", [1, 8], "u32"));
 * deepEqual(g.parameters.all.filter((p) => p.trainable).map((p) => [p.name, p.shape]), [
 *   ["transformer.h.0.attn.c_attn.lora_A.weight", [4, 16]],
 *   ["transformer.h.0.attn.c_attn.lora_B.weight", [48, 4]],
 * ]);
 * ```
 */
export function loraLayers(options: LoraOptions): Layers {
  const { rank, dropout: p = 0, isTarget } = options;
  if (!(Number.isSafeInteger(rank) && rank >= 1)) {
    throw new RangeError(`A LoRA's rank must be a positive integer, got ${rank}`);
  }
  if (!Number.isFinite(options.scale)) {
    throw new RangeError(`A LoRA's scale must be finite, got ${options.scale}`);
  }
  if (!(p >= 0 && p < 1)) throw new RangeError(`A LoRA's dropout must be in [0, 1), got ${p}`);

  /** s dropout(x) A^T B^T + residual. */
  const adapter = (g: Graph, x: Tensor, module: string, out: number, residual?: Tensor) => {
    const width = x.shape[x.shape.length - 1];
    const a = g.parameter(`${module}.lora_A.weight`, [rank, width], { init: uniform(1 / Math.sqrt(width)) });
    const b = g.parameter(`${module}.lora_B.weight`, [out, rank], { init: constant(0) });
    const thin = linear(g, dropout(g, x, p), a, { layout: "out-in" }); // [..., r]
    return linear(g, scale(g, thin, options.scale), b, { layout: "out-in", residual }); // [..., out]
  };

  return {
    parameter: (g, name, shape, spec) => g.parameter(name, shape, { ...spec, trainable: false }),
    linear(g: Graph, x: Tensor, weight: Tensor, options: LinearOptions = {}): Tensor {
      const module = weight.label.replace(/\.weight$/, "");
      if (!isTarget(module)) return linear(g, x, weight, options);
      const out = weight.shape[options.layout === "out-in" ? 0 : 1];
      const residual = adapter(g, x, module, out, options.residual);
      return linear(g, x, weight, { ...options, residual });
    },
  };
}
