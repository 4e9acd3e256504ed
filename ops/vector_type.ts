/**
 * Rows read as vectors of four where their length allows it.
 *
 * @module
 */
import { type Operand, vec4 } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** How kernels over rows see their tensors. */
export interface VectorType {
  /** Values in a `V`: 4 or 1. */
  readonly width: 4 | 1;
  /** WGSL: the type `V`, and `total(v: V) -> f32`, the sum of its values. */
  readonly wgsl: string;
  /** Binds a tensor as an array of `V`. */
  wrap(tensor: Tensor): Operand;
}

/** The type for rows of `columns` values: `vec4f` for multiples of 4, else `f32`. */
export function vectorType(columns: number): VectorType {
  if (columns % 4 === 0) {
    const wgsl = "alias V = vec4f;\nfn total(v: V) -> f32 { return (v.x + v.y) + (v.z + v.w); }\n";
    return { width: 4, wgsl, wrap: vec4 };
  }
  return { width: 1, wgsl: "alias V = f32;\nfn total(v: V) -> f32 { return v; }\n", wrap: (t) => t };
}
