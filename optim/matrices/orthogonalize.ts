/**
 * The nearest (semi-)orthogonal matrix, U V^T of the singular value decomposition X = U S V^T, by the
 * Newton-Schulz iteration of Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/):
 *
 * ```text
 * X <- X / (|X| + 1e-7)                         Frobenius norm
 * X <- a X + X (b A + c A A), A = X^T X         5 times, a = 3.4445, b = -4.7750, c = 2.0315
 * ```
 *
 * Each step applies a x + b x^3 + c x^5 to every singular value. The coefficients give the steepest slope at 0
 * that keeps the values in reach, not convergence: after five steps singular values above about 0.01 of the
 * norm end up between 0.7 and 1.2, smaller ones below. All of it is matrix products. The authors run it in bf16;
 * here it is f32.
 *
 * The norm is the root of the trace of the first A, so that it costs no pass of its own. Where X has r rows and
 * c <= r columns, five steps are 10 r c^2 + 5 c^3 multiply-adds, less what A and A A have of tiles on both sides of the
 * diagonal: they are symmetric, and one side is computed. Matrices of equal shape share every kernel: 18
 * dispatches for a batch.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { f32, mainInputs, opaque } from "../../gpu/wgsl.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { elementwise } from "../../ops/elementwise.ts";
import { matmul } from "../../ops/matmul/matmul.ts";
import { gatherMatrices, type MatrixBatch, scatterMatrices } from "./matrix_batches.ts";

/** Coefficients of x, x^3 and x^5 in one step. */
export const NEWTON_SCHULZ: readonly [number, number, number] = [3.4445, -4.7750, 2.0315];

/** Added to the norm that a matrix is divided by. */
export const NORM_EPSILON = 1e-7;

/**
 * Records the orthogonalisation of matrices of one shape.
 *
 * @param g The graph.
 * @param matrices f32 [count, rows, columns], sizes that are multiples of 4, columns <= rows. Is overwritten.
 * @param steps Newton-Schulz steps; default 5.
 * @returns f32 [count, rows, columns].
 */
export function orthogonalize(g: Graph, matrices: Tensor, steps = 5): Tensor {
  const [batch, rows, columns] = matrices.shape;
  const [a, b, c] = NEWTON_SCHULZ;
  const square = () => g.activation("orthogonalize.square", [batch, columns, columns]);
  const sizes = { m: columns, n: columns, batch, symmetric: true };
  let x = matrices;
  for (let step = 0; step < steps; step++) {
    const gram = square();
    matmul(g, { ...sizes, k: rows, a: x, transposedA: true, b: x, out: gram });
    if (step === 0) normalize(g, x, gram);
    const polynomial = square();
    // The Gram matrix is its own transpose.
    const factors = [c, b] as const;
    matmul(g, {
      ...sizes,
      k: columns,
      a: gram,
      transposedA: true,
      b: gram,
      residual: gram,
      factors,
      out: polynomial,
    });
    const next = g.activation("orthogonalize", matrices.shape);
    matmul(g, {
      m: rows,
      n: columns,
      k: columns,
      batch,
      a: x,
      b: polynomial,
      residual: x,
      factors: [1, a],
      out: next,
    });
    x = next;
  }
  return x;
}

/** Divides matrices by their norms and their Gram matrices, whose traces are the squares of these, accordingly. */
function normalize(g: Graph, x: Tensor, gram: Tensor): void {
  const [count, , columns] = x.shape;
  const inverse = g.activation("orthogonalize.inverse_norms", [count]);
  g.dispatch({
    label: "inverse_norms",
    read: { gram, sizes: g.sizes(columns) },
    write: { inverse },
    bytes: 4 * count * (columns + 1),
    workgroups: [count, 1, 1],
    body: `
var<workgroup> sums: array<f32, 64>;
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let size = sizes[0];
  var sum = 0.0;
  for (var i = lane; i < size; i += 64u) { sum += gram[(group.x * size + i) * size + i]; }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var other = 1u; other < ${opaque(64)}; other++) { sum += sums[other]; }
  inverse[group.x] = 1.0 / (sqrt(sum) + ${f32(NORM_EPSILON)});
}`,
  });
  for (const [tensor, factor] of [[x, "s"], [gram, "s * s"]] as const) {
    elementwise(g, {
      label: "divide_by_norm",
      extra: { inverse },
      out: tensor,
      statements: `let s = inverse[i / ${tensor.size / count / 4}u]; out[i] *= ${factor};`,
    });
  }
}

/**
 * Records the orthogonalisation of all matrices of a packed tensor, in place.
 *
 * @param g The training graph.
 * @param batches The matrices, from `matrixBatches`.
 * @param packed Of each segment a tensor of its layout.
 * @param steps Newton-Schulz steps; default 5.
 */
export function orthogonalizePacked(
  g: Graph,
  batches: readonly MatrixBatch[],
  packed: readonly Tensor[],
  steps = 5,
): void {
  for (const batch of batches) {
    const matrices = gatherMatrices(g, batch, packed[batch.segment]);
    scatterMatrices(g, batch, orthogonalize(g, matrices, steps), packed[batch.segment]);
  }
}
