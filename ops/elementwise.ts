/**
 * What elementwise ops share: four values at a time, over the padded length of the tensors.
 *
 * @module
 */
import { type Graph, vec4 } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { perWorkgroup } from "../gpu/wgsl.ts";

const THREADS = 64;

/** What {@linkcode elementwise} takes. */
export interface ElementwiseOptions {
  /** Name of the kernel. */
  readonly label: string;
  /** Tensors to read, all of the same size; bound as `vec4f` arrays under these names. */
  readonly read?: Readonly<Record<string, Tensor>>;
  /** Tensors bound as they are, such as scalars. */
  readonly extra?: Readonly<Record<string, Tensor>>;
  /** The tensor to write, `out[i]`. */
  readonly out: Tensor;
  /** WGSL functions and the like. */
  readonly functions?: string;
  /** WGSL constants. */
  readonly constants?: Readonly<Record<string, number | boolean>>;
  /** WGSL statements that set `out[i]`, a `vec4f`; `i` is a u32. */
  readonly statements: string;
}

/** Records one pass over all values of some tensors of the same size. */
export function elementwise(g: Graph, options: ElementwiseOptions): void {
  const { label, read = {}, extra = {}, out, functions = "", constants = {}, statements } = options;
  const count = Math.ceil(out.size / 4);
  // On the CPU a loop is twice as fast as a thread for every four values.
  const chunk = g.profile.isSoftware ? 1024 : THREADS;
  g.dispatch({
    label,
    read: { ...Object.fromEntries(Object.entries(read).map(([name, t]) => [name, vec4(t)])), ...extra },
    write: { out: vec4(out) },
    constants,
    ...perWorkgroup({
      count: Math.ceil(count / chunk),
      index: "chunk",
      threads: THREADS,
      functions,
      statements: `let first = chunk * ${chunk}u;
  for (var i = first + lane; i < min(first + ${chunk}u, ${count}u); i += ${THREADS}u) {
    ${statements}
  }`,
    }),
  });
}

/**
 * Hands a gradient on unchanged: for free if it is an activation's first, else by copying or adding it.
 * Must be the last use of `gradient` in a backward function (see {@linkcode Graph.passGradient}).
 */
export function passGradient(g: Graph, tensor: Tensor, gradient: Tensor): void {
  const target = g.passGradient(tensor, gradient);
  if (!target) return;
  elementwise(g, {
    label: "add_gradient",
    read: { gradient },
    out: target.tensor,
    statements: `out[i] ${target.accumulate ? "+=" : "="} gradient[i];`,
  });
}
