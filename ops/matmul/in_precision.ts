/**
 * Copies of tensors in the precision of a graph, see `Graph.precision`.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { elementwise } from "../elementwise.ts";

/**
 * What products read of a tensor, such as a weight.
 *
 * @param g The graph to record in.
 * @param x f32 or f16, any shape.
 * @returns A copy in the graph's precision, without a gradient, of the same shape; x itself where it is so already or
 * its rows have an odd number of values (see `Graph.activation`).
 */
export function inPrecision(g: Graph, x: Tensor): Tensor {
  if (x.dtype === g.precision) return x;
  const y = g.activation(`${x.label}.${g.precision}`, x.shape, [x]);
  if (y.dtype === x.dtype) return x;
  elementwise(g, { label: `copy_as_${g.precision}`, read: { x }, out: y, statements: "out[i] = x[i];" });
  return y;
}
