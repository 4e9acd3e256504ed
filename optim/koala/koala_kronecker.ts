/**
 * KOALA++ with a Kronecker covariance: a filter of each matrix's gradient whose noise has a covariance C in vec(W), held
 * as a product of one for the rows and one for the columns instead of in one direction (`koala_plus_plus.ts`).
 *
 * State: the mean gradient, which drifts. Measurement: the gradient G = mean + noise, C = E[vec G vec G^T], about 0 since
 * a batch's noise is far larger than the mean. G is [rows, columns], rows >= columns, turned if need be, clipped, and
 * with weight decay G + wd theta:
 *
 * ```text
 * M  = mu M + (1 - mu) G                        the filter's mean, its gain 1 - mu the same in all directions
 * U  = mu M + (1 - mu) G                        the mean one step ahead, the next measurement foreseen to be this one
 * G' = QL^T G QR, and so M' and U'              in the eigenbasis of the noise
 * V  = b2 V + (1 - b2) G'^2                     the noise's variances there
 * X  = U' / (sqrt(V / (1 - b2^t)) + eps)        the mean, measured in standard deviations of the noise
 * O  = polar(QL X QR^T)                         `orthogonalize.ts`
 * theta -= lr sqrt(max(1, out / in)) O
 * L  = bs L + (1 - bs) G G^T, QL = QR(L QL)     R = bs R + (1 - bs) G^T G, QR = QR(R QR) with the other side
 * ```
 *
 * What is estimated from what. G G^T and G^T G are the partial traces of vec G vec G^T: if C = A (x) B, their means are A
 * and B up to scale, so that C's eigenvectors are QL (x) QR. Its eigenvalues need not be a product: V estimates each
 * on its own, from the gradients in that basis. So C = (QL (x) QR) diag(V) (QL (x) QR)^T, and X = C^(-1/2) U is the mean
 * after a square-root information filter's first step, which brings all measurements to noise of variance 1 (Bierman,
 * 1977). There |X| says how sure a direction is, whatever its scale was, and polar(X) maximises <X, O> over the O that
 * move no direction by more than 1: as far along each singular direction, which are now those that are surest
 * together instead of those of the largest gradients. What a filter would do last, C^(-1/2) once more for a step of P U,
 * is left out, as Adam does: its length is the polar factor's.
 *
 * The polar factor commutes with rotations: polar(QL X QR^T) = QL polar(X) QR^T for orthogonal QL and QR, and so does
 * every Newton-Schulz step, an odd polynomial of X. So it may come before or after turning back and is the same;
 * here after, where it makes good what the bases lack in orthogonality. It does not commute with the scaling: with V the
 * same everywhere all of this is Muon with Nesterov's momentum.
 *
 * The mean U takes the place of v + Q h. Both lean from the average towards what is new, and end level
 * (docs/optimizers.md); but v is a surrogate for a covariance along one direction, where here is one of all, so sigma,
 * q, r and `symmetric` have no part in it. Neither has the loss, since the length is given.
 *
 * Bases are those of SOAP: Q begins as I, is refreshed by one iteration (`eigenbasis.ts`) in each of the first `frequency`
 * steps and in one of `frequency` after them, and V does not turn with it. M' is what is kept of M, and a refresh turns
 * it into the new bases. A side keeps I if it is longer than `LARGEST_BASIS`, as do rows of more than c / (1 - bs), since
 * L is a mean of about 1 / (1 - bs) gradients of rank c, and the rows with `one-sided`, where C = I (x) B.
 *
 * Cost in multiply-adds beside Muon's, of r rows and c columns: for the columns 2 r c^2, and 1/2 r c^2 of their Gram
 * matrix on one side of the diagonal; for the rows 5/2 r^2 c likewise; at a refresh 3 c^3 + 2 r c^2 and 3 r^3 + 2 r^2 c.
 * State: M' and V, 2 c^2 and 2 r^2 per matrix.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { f32 } from "../../gpu/wgsl.ts";
import { elementwise } from "../../ops/elementwise.ts";
import { matmul, type MatmulOptions } from "../../ops/matmul/matmul.ts";
import { type BasisRefresh, LARGEST_BASIS, readBases, refreshBases } from "../matrices/eigenbasis.ts";
import {
  gatherMatrices,
  type MatrixBatch,
  matrixBatches,
  scatterMatrices,
  transposeMatrices,
} from "../matrices/matrix_batches.ts";
import { orthogonalize } from "../matrices/orthogonalize.ts";
import { type OwnedParameters, STATISTICS, type UpdateInputs, type UpdateRecording } from "../optimizer.ts";
import { chunkSegments } from "../packed/chunks.ts";
import { gradientSquares, updateChunks } from "../packed/passes.ts";
import { KRONECKER_SUMMARY, whiten, whiteningGroups, whiteningSummary } from "./koala_kronecker_whitening.ts";
import { type KoalaPlusPlusOptions, scaleOf } from "./koala_plus_plus_scalars.ts";

type Options = Required<KoalaPlusPlusOptions>;

/** The values that change from step to step: what is below, in this order. */
export function kroneckerScalars({ lr, beta2, frequency }: Options, step: number, factor: number): number[] {
  const refreshed = step < frequency || step % frequency === 0;
  return [lr * factor, 1 / Math.sqrt(1 - beta2 ** (step + 1)), refreshed ? 1 : 0];
}

/** Index of the scalar that says whether the bases are refreshed. */
const REFRESH = 2;

/** One side of a batch of matrices: means of products of the gradients, and Q - I, both [count, size, size]. */
interface Side {
  readonly covariance: Tensor;
  readonly stored: Tensor;
}

/** A batch of matrices and its state. */
interface BatchState {
  readonly batch: MatrixBatch;
  /** The mean gradient in the eigenbasis, M', [count, rows, columns]. */
  readonly m: Tensor;
  /** Variances there, of the same shape. */
  readonly v: Tensor;
  /** Of the rows, L and QL; none where they keep their axes. */
  readonly left?: Side;
  /** Of the columns, R and QR. */
  readonly right?: Side;
  /** Where its rows of the sums for the summary begin. */
  readonly firstSum: number;
}

/** Records the update; the state's names begin with `prefix`. */
export function* recordKronecker(
  g: Graph,
  { prefix, segments }: OwnedParameters,
  options: Options,
): UpdateRecording {
  const { weightDecay } = options;
  const parts = chunkSegments(g, prefix, segments, (_, index) => index);
  let sums = 0;
  const largest = (rows: number, columns: number) =>
    rows * (turnsRows(rows, columns, options) ? rows : columns);
  const batches = matrixBatches(g, prefix, segments, largest).map((batch, i): BatchState => {
    const firstSum = sums;
    sums += whiteningGroups(batch);
    return { ...batchState(g, prefix, i, batch, options), firstSum };
  });
  const io = yield gradientSquares(g, parts);
  for (const part of parts) {
    updateChunks(g, part, {
      label: "koala_kronecker_gradient",
      write: { gradients: part.segment.gradients },
      ...(weightDecay > 0 ? { read: { theta: part.segment.parameters } } : {}),
      statistics: io.statistics,
      statements: `gradients[i] = g${weightDecay > 0 ? ` + ${f32(weightDecay)} * theta[i]` : ""};`,
    });
  }
  const partials = g.activation(`${prefix}.sums`, [sums, 4]);
  const when = { tensor: refreshes(g, io), index: 0 };
  for (const state of batches) {
    // The step's direction takes the gradients' place.
    const { gradients } = segments[state.batch.segment];
    const { gradient, bases } = direction(g, io, options, state, { gradients, partials });
    learnCovariance(g, io, options, state, { gradient, bases, when });
  }
  const scales = segments.flatMap(({ items }) => items.map(({ item }) => scaleOf(item, "unit")));
  const shapes = g.constant(`${prefix}.scales`, Float32Array.from(scales));
  for (const part of parts) {
    updateChunks(g, part, {
      label: "koala_kronecker_step",
      write: { theta: part.segment.parameters },
      extra: { scalars: io.scalars, shapes },
      statistics: io.statistics,
      before: "let step = scalars[0] * shapes[tag];",
      statements: "theta[i] -= step * raw;",
    });
  }
  const summary = g.output(`${prefix}.summary`, [KRONECKER_SUMMARY.length]);
  whiteningSummary(g, io, partials, summary);
  const kept = batches.flatMap((
    { m, v, left, right },
  ) => [m, v, ...sideTensors(left), ...sideTensors(right)]);
  return {
    state: kept.map((tensor) => ({ name: tensor.label, tensor })),
    summary: { names: KRONECKER_SUMMARY.map((name) => `${prefix}.${name}`), tensor: summary },
  };
}

function sideTensors(side?: Side): Tensor[] {
  return side ? [side.covariance, side.stored] : [];
}

/** Whether matrices of a size, rows >= columns, are turned on the side of the rows. */
function turnsRows(rows: number, columns: number, { covariance, shampooBeta }: Options): boolean {
  return covariance === "kronecker" && rows <= LARGEST_BASIS && rows <= columns / (1 - shampooBeta);
}

/** Makes the state of the batch that has this number. */
function batchState(
  g: Graph,
  prefix: string,
  number: number,
  batch: MatrixBatch,
  options: Options,
): Omit<BatchState, "firstSum"> {
  const { count, rows, columns } = batch;
  const side = (name: string, size: number): Side => {
    const of = (kind: string) => g.state(`${prefix}.${name}_${kind}.${number}`, [count, size, size]);
    return { covariance: of("covariance"), stored: of("basis") };
  };
  return {
    batch,
    m: g.state(`${prefix}.m.${number}`, [count, rows, columns]),
    v: g.state(`${prefix}.v.${number}`, [count, rows, columns]),
    left: turnsRows(rows, columns, options) ? side("row", rows) : undefined,
    right: columns <= LARGEST_BASIS ? side("column", columns) : undefined,
  };
}

/** Q and its transpose, of the rows and of the columns, where they are turned. */
type Bases = readonly (ReturnType<typeof readBases> | undefined)[];

function basesOf(g: Graph, { left, right }: BatchState): Bases {
  return [left, right].map((side) => (side ? readBases(g, side.stored) : undefined));
}

/** QL^T x QR by the bases, QL x QR^T by their transposes. */
function turn(
  g: Graph,
  { count, rows, columns }: MatrixBatch,
  [QL, QR]: Bases,
  by: "bases" | "transposed",
  x: Tensor,
  { out, when }: Pick<MatmulOptions, "when"> & { readonly out?: Tensor } = {},
): Tensor {
  const product = { m: rows, n: columns, batch: count, when };
  const matrices = () => g.activation("koala_kronecker.turned", [count, rows, columns]);
  const half = !QL ? x : QR ? matrices() : out ?? matrices();
  if (QL) matmul(g, { ...product, k: rows, a: QL[by], transposedA: true, b: x, out: half });
  const whole = QR ? out ?? matrices() : half;
  if (QR) matmul(g, { ...product, k: columns, a: half, b: QR[by], out: whole });
  return whole;
}

/** Replaces a batch's gradients by the directions of the step; gives the gradients, and the bases that turned them. */
function direction(
  g: Graph,
  io: UpdateInputs,
  options: Options,
  state: BatchState,
  { gradients, partials }: Readonly<Record<"gradients" | "partials", Tensor>>,
): { readonly gradient: Tensor; readonly bases: Bases } {
  const { batch, m, v, firstSum } = state;
  const bases = basesOf(g, state);
  const gradient = gatherMatrices(g, batch, gradients);
  const whitened = g.activation("koala_kronecker.whitened", gradient.shape);
  whiten(g, io, options, {
    rotated: turn(g, batch, bases, "bases", gradient),
    m,
    v,
    whitened,
    partials,
    firstSum,
  });
  const turnedBack = turn(g, batch, bases, "transposed", whitened);
  scatterMatrices(g, batch, orthogonalize(g, turnedBack), gradients);
  return { gradient, bases };
}

/** Brings the covariances of a batch's sides up to date and their bases, and the mean into these. */
function learnCovariance(
  g: Graph,
  io: UpdateInputs,
  { shampooBeta }: Options,
  state: BatchState,
  { gradient, bases, when }: ReturnType<typeof direction> & Pick<BasisRefresh, "when">,
): void {
  const { batch, m, left, right } = state;
  const mean = turn(g, batch, bases, "transposed", m, { when });
  // G^T G, and for the rows the same of G^T.
  const sides = [[left, () => transposeMatrices(g, gradient)], [right, () => gradient]] as const;
  for (const [i, [side, factor]] of sides.entries()) {
    const basis = bases[i];
    if (!side || !basis) continue;
    const { covariance, stored } = side;
    const gram = g.activation("koala_kronecker.gram", covariance.shape);
    const tall = factor();
    const [, k, size] = tall.shape;
    const product = { m: size, n: size, k, batch: batch.count, symmetric: true, transposedA: true };
    matmul(g, { ...product, a: tall, b: tall, out: gram });
    average(g, io, shampooBeta, gram, covariance);
    refreshBases(g, { matrices: covariance, bases: basis.bases, stored, when });
  }
  if (left || right) turn(g, batch, basesOf(g, state), "bases", mean, { out: m, when });
}

/** Moves a mean towards what is new, unless the step must change nothing. */
function average(g: Graph, { statistics }: UpdateInputs, decay: number, gram: Tensor, out: Tensor): void {
  elementwise(g, {
    label: "koala_kronecker_covariance",
    read: { gram },
    extra: { statistics },
    out,
    statements: `if (statistics[${STATISTICS.skip}] != 0.0) { return; }
  out[i] = ${f32(decay)} * out[i] + ${f32(1 - decay)} * gram[i];`,
  });
}

/** [1]: 1 where the bases are refreshed, which no step does that must change nothing. */
function refreshes(g: Graph, { statistics, scalars }: UpdateInputs): Tensor {
  const out = g.activation("koala_kronecker.refreshes", [1]);
  elementwise(g, {
    label: "koala_kronecker_refreshes",
    extra: { scalars, statistics },
    out,
    statements: `out[0] = vec4f(select(scalars[${REFRESH}], 0.0, statistics[${STATISTICS.skip}] != 0.0));`,
  });
  return out;
}
