/**
 * What models are built from where it depends on the way they are trained: how a weight is declared, and how a
 * linear layer is applied. `lora.ts` has another way.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { ParameterSpec } from "../gpu/parameters.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { linear, type LinearOptions } from "../ops/linear.ts";

/** A way to build a model. */
export interface Layers {
  /** Declares a weight, as {@linkcode Graph.parameter} does. */
  parameter(
    g: Graph,
    name: string,
    shape: readonly number[],
    spec: Omit<ParameterSpec, "name" | "shape" | "trainable">,
  ): Tensor;
  /** Applies a linear layer of the blocks, as {@linkcode linear} does; `weight` is a declared one. */
  linear(g: Graph, x: Tensor, weight: Tensor, options?: LinearOptions): Tensor;
}

/** Every weight is trained. */
export const plainLayers: Layers = {
  parameter: (g, name, shape, spec) => g.parameter(name, shape, spec),
  linear,
};

/**
 * The token and position embeddings stay as they are, and with them a head that is tied to them; the rest is trained.
 * No gradient is computed for what stays, and no optimizer keeps state for it.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { gpt2 } from "./gpt2.ts";
 * import { Graph } from "../gpu/graph.ts";
 *
 * const model = gpt2({ vocab_size: 64, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 }, frozenEmbeddings);
 * const profile = { subgroupSize: 0, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 1 << 30 };
 * const g = new Graph({ profile });
 * model.hidden(g, g.input("tokens", [1, 8], "u32"));
 * deepEqual(g.parameters.all.filter((p) => !p.trainable).map((p) => p.name), [
 *   "transformer.wte.weight",
 *   "transformer.wpe.weight",
 * ]);
 * ```
 */
export const frozenEmbeddings: Layers = {
  parameter: (g, name, shape, spec) =>
    g.parameter(name, shape, { ...spec, trainable: spec.role !== "embedding" }),
  linear,
};
