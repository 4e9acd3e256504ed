/**
 * y = factor x, with a factor that is known while recording.
 *
 * Backward: dx += factor dy.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { f32 } from "../gpu/wgsl.ts";
import { elementwise } from "./elementwise.ts";

/**
 * Multiplies a tensor with a number.
 *
 * @param g The graph to record in.
 * @param x Any shape.
 * @param factor A finite number; with 1 it returns x itself.
 * @returns The same shape.
 * @throws {RangeError} If the factor is not finite.
 */
export function scale(g: Graph, x: Tensor, factor: number): Tensor {
  if (!Number.isFinite(factor)) throw new RangeError(`scale: factor must be finite, got ${factor}`);
  if (factor === 1) return x;
  const y = g.activation("scale", x.shape, [x]);
  const wgsl = f32(factor);
  elementwise(g, { label: "scale_forward", read: { x }, out: y, statements: `out[i] = ${wgsl} * x[i];` });
  g.tape(() => {
    const dy = g.gradientOf(y);
    const dx = dy && g.gradientTarget(x);
    if (!dx) return;
    elementwise(g, {
      label: "scale_backward",
      read: { dy },
      out: dx.tensor,
      statements: `out[i] ${dx.accumulate ? "+=" : "="} ${wgsl} * dy[i];`,
    });
  });
  return y;
}
