/**
 * y = a + b, as in a residual connection.
 *
 * Backward: da += dy, db += dy; the first of both is passed on without a copy.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { expectShape, type Tensor } from "../gpu/tensor.ts";
import { elementwise, passGradient } from "./elementwise.ts";

/**
 * Adds two tensors of the same shape.
 *
 * @param g The graph to record in.
 * @param a Any shape.
 * @param b The same shape.
 * @returns Their sum, of the same shape.
 * @throws {TypeError} If the shapes differ.
 */
export function add(g: Graph, a: Tensor, b: Tensor): Tensor {
  expectShape("add", "b", b, a.shape);
  const y = g.activation("add", a.shape, [a, b]);
  elementwise(g, { label: "add", read: { a, b }, out: y, statements: "out[i] = a[i] + b[i];" });
  g.tape(() => {
    const dy = g.gradientOf(y);
    if (!dy) return;
    // b first: its part is a copy when a takes the gradient over, so a must come last.
    const target = g.gradientTarget(b);
    if (target) {
      const { tensor, accumulate } = target;
      elementwise(g, {
        label: accumulate ? "add_gradient" : "copy_gradient",
        read: { dy },
        out: tensor,
        statements: `out[i] ${accumulate ? "+=" : "="} dy[i];`,
      });
    }
    passGradient(g, a, dy);
  });
  return y;
}
