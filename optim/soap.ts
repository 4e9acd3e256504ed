/**
 * SOAP (Vyas et al., arXiv 2409.11321): Adam in the eigenbasis of Shampoo's preconditioner, on one side of
 * each matrix, the smaller one.
 *
 * ```text
 * M = b1 M + (1 - b1) G                         G is [rows, columns], columns <= rows, turned if need be
 * G' = G Q, M' = M Q
 * V = b2 V + (1 - b2) G'^2
 * N = ((M' / (1 - b1^t)) / (sqrt(V / (1 - b2^t)) + eps)) Q^T
 * theta = (1 - lr wd) theta - lr N
 * R = bs R + (1 - bs) G^T G                     [columns, columns]
 * Q = QR(R Q)                                   every `frequency` steps, and in each of the first ones
 * ```
 *
 * This is the paper's one-sided variant. Two sides would need bases of the longer side too, which for a matrix of
 * an MLP is 16 times the memory and 64 times the work of the shorter one. Why SOAP and not Shampoo: its step
 * is as long as Adam's, so it needs no grafting onto another optimizer; and its basis is refreshed by one product
 * and one QR decomposition, where an inverse fourth root takes some twenty coupled Newton-Schulz steps of four
 * products and keeps an eigenvalue's whole range in f32. Where this file differs from the authors' program: Q begins
 * as I, so that the first step is Adam's and not left out; in the first `frequency` steps the basis is refreshed in
 * each; and V is not reordered with the basis, as in the paper. `eigenbasis.ts` says how QR is computed.
 *
 * For hidden weight matrices, with AdamW for the rest, see `partition`. Four products per step: with r rows and c
 * columns 4 r c^2 multiply-adds, and 2 c^3 more when the basis is refreshed. State: 2 per parameter and 2 c / r.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { f32 } from "../gpu/wgsl.ts";
import { elementwise } from "../ops/elementwise.ts";
import { matmul } from "../ops/matmul/matmul.ts";
import { LARGEST_BASIS, readBases, refreshBases } from "./matrices/eigenbasis.ts";
import {
  gatherMatrices,
  type MatrixBatch,
  matrixBatches,
  scatterMatrices,
} from "./matrices/matrix_batches.ts";
import {
  type Optimizer,
  type OwnedParameters,
  type OwnedState,
  requireInRange,
  STATISTICS,
  type UpdateInputs,
  type UpdateRecording,
} from "./optimizer.ts";
import { chunkSegments } from "./packed/chunks.ts";
import { gradientSquares, updateChunks } from "./packed/passes.ts";
import { parameterState } from "./packed/state.ts";

/** Hyper-parameters of {@linkcode soap}. */
export interface SoapOptions {
  /** Learning rate; default 3e-3. */
  readonly lr?: number;
  /** Decay of the mean of gradients; default 0.95. */
  readonly beta1?: number;
  /** Decay of the mean of their squares in the eigenbasis; default 0.95. */
  readonly beta2?: number;
  /** Decay of the mean of the gradients' products, R; default 0.95. */
  readonly shampooBeta?: number;
  /** Added to the denominator, above 0; default 1e-8. */
  readonly eps?: number;
  /** Decoupled weight decay; default 0.01. */
  readonly weightDecay?: number;
  /** Steps between two refreshes of the basis; default 10. */
  readonly frequency?: number;
}

/**
 * Makes a SOAP optimizer.
 *
 * @param options See {@linkcode SoapOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export function soap(options: SoapOptions = {}): Optimizer {
  const { lr = 3e-3, beta1 = 0.95, beta2 = 0.95, shampooBeta = 0.95, eps = 1e-8 } = options;
  const { weightDecay = 0.01, frequency = 10 } = options;
  requireInRange("soap", "lr", lr, { from: 0 });
  requireInRange("soap", "weightDecay", weightDecay, { from: 0 });
  requireInRange("soap", "eps", eps, { above: 0 });
  requireInRange("soap", "frequency", frequency, { from: 1 });
  for (const [name, value] of Object.entries({ beta1, beta2, shampooBeta })) {
    requireInRange("soap", name, value, { from: 0, below: 1 });
  }
  return {
    name: "soap",
    scalarCount: 4,
    scalars: (step, factor) => [
      lr * factor,
      1 / (1 - beta1 ** (step + 1)),
      1 / Math.sqrt(1 - beta2 ** (step + 1)),
      step < frequency || step % frequency === 0 ? 1 : 0,
    ],
    record: (g, owned) => record(g, owned, { lr, beta1, beta2, shampooBeta, eps, weightDecay, frequency }),
  };
}

/** Index of the value of the scalars that says whether the basis is refreshed. */
const REFRESH = 3;

function* record(
  g: Graph,
  { prefix, segments }: OwnedParameters,
  options: Required<SoapOptions>,
): UpdateRecording {
  const { beta1, weightDecay } = options;
  const m = parameterState(g, `${prefix}.m`, segments);
  const parts = chunkSegments(g, prefix, segments);
  const batches = matrixBatches(g, prefix, segments).map((batch, i): BatchState => {
    const { count, rows, columns } = batch;
    if (columns > LARGEST_BASIS) {
      throw new RangeError(
        `soap: a matrix must have at most ${LARGEST_BASIS} rows or columns, got ${rows} x ${columns}; give it to ` +
          "another optimizer",
      );
    }
    return {
      batch,
      v: g.state(`${prefix}.v.${i}`, [count, rows, columns]),
      r: g.state(`${prefix}.r.${i}`, [count, columns, columns]),
      q: g.state(`${prefix}.q.${i}`, [count, columns, columns]),
    };
  });
  const io = yield gradientSquares(g, parts);
  for (const part of parts) {
    updateChunks(g, part, {
      label: "soap_momentum",
      write: { m: m.packed[part.index], gradients: part.segment.gradients },
      statistics: io.statistics,
      statements: `
  m[i] = ${f32(beta1)} * m[i] + ${f32(1 - beta1)} * g;
  gradients[i] = g;`,
    });
  }
  for (const state of batches) {
    const { segment } = state.batch;
    // The direction takes the gradients' place.
    precondition(g, io, options, state, m.packed[segment], segments[segment].gradients);
  }
  for (const part of parts) {
    updateChunks(g, part, {
      label: "soap_update",
      write: { theta: part.segment.parameters },
      extra: { scalars: io.scalars },
      statistics: io.statistics,
      before: `let keep = 1.0 - scalars[0] * ${f32(weightDecay)};`,
      statements: "theta[i] = keep * theta[i] - scalars[0] * raw;",
    });
  }
  const kept = batches.flatMap(({ v, r, q }) => [v, r, q]);
  return { state: [...m.named, ...kept.map((tensor): OwnedState => ({ name: tensor.label, tensor }))] };
}

/** A batch of matrices and its state. */
interface BatchState {
  readonly batch: MatrixBatch;
  /** Means of squares in the eigenbasis, [count, rows, columns]. */
  readonly v: Tensor;
  /** Means of G^T G, [count, columns, columns]. */
  readonly r: Tensor;
  /** Q - I, of the same shape. */
  readonly q: Tensor;
}

/** Replaces the gradients of a batch by the directions of the step, and brings its state up to date. */
function precondition(
  g: Graph,
  { statistics, scalars }: UpdateInputs,
  { beta2, shampooBeta, eps }: Required<SoapOptions>,
  { batch, v, r, q }: BatchState,
  momentum: Tensor,
  gradients: Tensor,
): void {
  const { count, rows, columns } = batch;
  const product = { m: rows, n: columns, k: columns, batch: count };
  const matrix = (label: string) => g.activation(label, [count, rows, columns]);
  const { bases, transposed } = readBases(g, q);
  const [gradient, mean] = [gradients, momentum].map((packed) => gatherMatrices(g, batch, packed));
  const [rotated, direction] = [matrix("soap.rotated"), matrix("soap.direction")];
  matmul(g, { ...product, a: gradient, b: bases, out: rotated });
  matmul(g, { ...product, a: mean, b: bases, out: direction });
  const unlessSkipped = `if (statistics[${STATISTICS.skip}] != 0.0) { return; }`;
  elementwise(g, {
    label: "soap_squares",
    read: { rotated },
    extra: { statistics },
    out: v,
    statements: `${unlessSkipped}
  out[i] = ${f32(beta2)} * out[i] + ${f32(1 - beta2)} * rotated[i] * rotated[i];`,
  });
  elementwise(g, {
    label: "soap_direction",
    read: { v },
    extra: { scalars },
    out: direction,
    statements: `out[i] *= scalars[1] / (sqrt(v[i]) * scalars[2] + ${f32(eps)});`,
  });
  const turnedBack = matrix("soap.turned_back");
  matmul(g, { ...product, a: direction, b: transposed, out: turnedBack });
  scatterMatrices(g, batch, turnedBack, gradients);

  const gram = g.activation("soap.gram", r.shape);
  const size = { m: columns, n: columns, k: rows, batch: count, symmetric: true };
  matmul(g, { ...size, a: gradient, transposedA: true, b: gradient, out: gram });
  elementwise(g, {
    label: "soap_gram",
    read: { gram },
    extra: { statistics },
    out: r,
    statements: `${unlessSkipped}
  out[i] = ${f32(shampooBeta)} * out[i] + ${f32(1 - shampooBeta)} * gram[i];`,
  });
  refreshBases(g, {
    matrices: r,
    bases,
    stored: q,
    when: { tensor: refreshes(g, scalars, statistics), index: 0 },
  });
}

/** [1]: 1 where the bases are refreshed, which no step does that must change nothing. */
function refreshes(g: Graph, scalars: Tensor, statistics: Tensor): Tensor {
  const out = g.activation("soap.refreshes", [1]);
  elementwise(g, {
    label: "soap_refreshes",
    extra: { scalars, statistics },
    out,
    statements: `out[0] = vec4f(select(scalars[${REFRESH}], 0.0, statistics[${STATISTICS.skip}] != 0.0));`,
  });
  return out;
}
