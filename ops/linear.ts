/**
 * y = x W + b (+ residual), with W as [in, out] (GPT-2's Conv1D) or [out, in] (PyTorch's nn.Linear).
 *
 * Backward: dx = dy W^T, dW += x^T dy (or dy^T x), db += column sums of dy, dresidual = dy.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { expectShape, type Tensor } from "../gpu/tensor.ts";
import { columnSums } from "./matmul/column_sum.ts";
import { passGradient } from "./elementwise.ts";
import { matmul } from "./matmul/matmul.ts";
import { inPrecision } from "./in_precision.ts";

/** Options of {@linkcode linear}. */
export interface LinearOptions {
  /** Added to every row, [out]. */
  readonly bias?: Tensor;
  /** Added to the result, [..., out]: a residual connection without a kernel of its own. */
  readonly residual?: Tensor;
  /** How the weight lies in memory; default `in-out`. */
  readonly layout?: "in-out" | "out-in";
}

/**
 * Applies a linear layer to the last dimension.
 *
 * @param g The graph to record in.
 * @param x Input, [..., in].
 * @param weight [in, out], or [out, in] with `layout: "out-in"`.
 * @param options See {@linkcode LinearOptions}.
 * @returns [..., out].
 * @throws {TypeError} If the shapes do not fit.
 */
export function linear(g: Graph, x: Tensor, weight: Tensor, options: LinearOptions = {}): Tensor {
  const { bias, residual, layout = "in-out" } = options;
  const k = x.shape[x.shape.length - 1];
  expectShape("linear", "weight", weight, layout === "in-out" ? [k, null] : [null, k]);
  const outIn = layout === "out-in";
  const n = weight.shape[outIn ? 0 : 1];
  const shape = [...x.shape.slice(0, -1), n];
  if (bias) expectShape("linear", "bias", bias, [n]);
  if (residual) expectShape("linear", "residual", residual, shape);
  const m = x.size / k; // rows
  const from = [x, weight, ...(bias ? [bias] : []), ...(residual ? [residual] : [])];
  const y = g.activation("linear", shape, from);
  matmul(g, { m, n, k, a: x, b: inPrecision(g, weight), transposedB: outIn, out: y, bias, residual });

  g.tape(() => {
    const dy = g.gradientOf(y);
    if (!dy) return;
    const dx = g.gradientTarget(x);
    if (dx) {
      const { tensor: out, accumulate } = dx;
      // Copied again where it is f16, rather than kept since the forward pass.
      matmul(g, { m, n: k, k: n, a: dy, b: inPrecision(g, weight), transposedB: !outIn, out, accumulate });
    }
    const dw = g.gradientTarget(weight);
    if (dw) {
      const [a, b] = outIn ? [dy, x] : [x, dy];
      const { tensor: out, accumulate } = dw;
      matmul(g, { m: outIn ? n : k, n: outIn ? k : n, k: m, a, transposedA: true, b, out, accumulate });
    }
    const db = bias && g.gradientTarget(bias);
    if (db) {
      columnSums(g, {
        label: "bias_gradient",
        rows: m,
        columns: n,
        read: { dy },
        sums: [{ value: "dy[i]", into: db }],
      });
    }
    if (residual) passGradient(g, residual, dy);
  });
  return y;
}
