/**
 * Copies of tensors in the precision of a graph, see `Graph.precision`.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { rowBlocks, type Tensor } from "../gpu/tensor.ts";
import { elementwise } from "./elementwise.ts";

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
  // A matrix larger than a binding is copied block by block.
  const rowBytes = x.byteLength / x.shape[0];
  for (const block of rowBlocks(x.shape[0], rowBytes, g.profile.maxBindingBytes)) {
    const [from, out] = [x.rows(...block), y.rows(...block)];
    elementwise(g, { label: `copy_as_${g.precision}`, read: { x: from }, out, statements: "out[i] = x[i];" });
  }
  return y;
}
