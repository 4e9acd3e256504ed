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
