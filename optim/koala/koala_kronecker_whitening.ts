/**
 * The pass of `koala_kronecker.ts` in the noise's eigenbasis: variances from gradients, the mean by the square
 * roots of them, and sums that show the filter at work.
 *
 * @module
 */
import { type Graph, vec4 } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { f32, mainInputs, opaque, perWorkgroup } from "../../gpu/wgsl.ts";
import type { MatrixBatch } from "../matrices/matrix_batches.ts";
import { STATISTICS, type UpdateInputs } from "../optimizer.ts";
import type { KoalaPlusPlusOptions } from "./koala_plus_plus_scalars.ts";

/**
 * Names of the numbers for metrics. `signal`: the mean of X^2, the share of the gradients' squares that the mean has; of
 * noise alone it is 0.07 with mu 0.9. `spread`: standard deviation of ln sqrt(V), 0 where the covariance changes nothing.
 */
export const KRONECKER_SUMMARY: readonly string[] = ["signal", "spread"];

const THREADS = 64;
/** Groups of four values for each workgroup. */
const CHUNK = 1024;

/** Workgroups of a batch's pass, each of which leaves a row of sums. */
export function whiteningGroups({ count, rows, columns }: MatrixBatch): number {
  return Math.ceil(count * rows * columns / 4 / CHUNK);
}

/** What {@linkcode whiten} is bound to; all but the partials f32 [count, rows, columns]. */
export interface WhiteningTensors {
  /** G'. */
  readonly rotated: Tensor;
  /** M', updated. */
  readonly m: Tensor;
  /** V, updated. */
  readonly v: Tensor;
  /** X, written. */
  readonly whitened: Tensor;
  /** f32 [all batches' groups, 4]: of the values with a variance their number, and the sums of X^2, ln V and (ln V)^2. */
  readonly partials: Tensor;
  /** The batch's first row in it. */
  readonly firstSum: number;
}

/** Records the pass. */
export function whiten(
  g: Graph,
  { statistics, scalars }: UpdateInputs,
  { beta, beta2 }: Required<KoalaPlusPlusOptions>,
  { rotated, m, v, whitened, partials, firstSum }: WhiteningTensors,
): void {
  const values = v.size / 4;
  g.dispatch({
    label: "koala_kronecker_whiten",
    read: { rotated: vec4(rotated), statistics, scalars },
    write: { m: vec4(m), v: vec4(v), whitened: vec4(whitened), partials: vec4(partials) },
    constants: { VALUES: values, FIRST: firstSum },
    bytes: 6 * 16 * values,
    ...perWorkgroup({
      count: Math.ceil(values / CHUNK),
      index: "chunk",
      threads: THREADS,
      functions: `var<workgroup> sums: array<vec4f, ${THREADS}>;`,
      statements: `if (statistics[${STATISTICS.skip}] != 0.0) { return; }
  var sum = vec4f();
  let end = min((chunk + 1u) * ${CHUNK}u, VALUES);
  for (var i = chunk * ${CHUNK}u + lane; i < end; i += ${THREADS}u) {
    let new_v = ${f32(beta2)} * v[i] + ${f32(1 - beta2)} * rotated[i] * rotated[i];
    let new_m = ${f32(beta)} * m[i] + ${f32(1 - beta)} * rotated[i];
    let ahead = ${f32(beta)} * new_m + ${f32(1 - beta)} * rotated[i];
    let x = ahead / (sqrt(new_v) * scalars[1] + ${f32(1e-8)});
    v[i] = new_v;
    m[i] = new_m;
    whitened[i] = x;
    let has = vec4<bool>(new_v > vec4f(1e-30));
    let one = select(vec4f(), vec4f(1.0), has);
    let logs = log(select(vec4f(1.0), new_v, has));
    sum += vec4f(dot(one, one), dot(one * x, x), dot(logs, one), dot(logs, logs));
  }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var other = 1u; other < ${opaque(THREADS)}; other++) { sum += sums[other]; }
  partials[FIRST + chunk] = sum;`,
    }),
  });
}

/** Records the summary of all batches. */
export function whiteningSummary(
  g: Graph,
  { statistics }: UpdateInputs,
  partials: Tensor,
  summary: Tensor,
): void {
  g.dispatch({
    label: "koala_kronecker_summary",
    read: { partials: vec4(partials), statistics },
    write: { summary },
    workgroups: [1, 1, 1],
    body: `
var<workgroup> sums: array<vec4f, ${THREADS}>;
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  if (statistics[${STATISTICS.skip}] != 0.0) { return; }
  var sum = vec4f();
  for (var row = lane; row < ${partials.shape[0]}u; row += ${THREADS}u) { sum += partials[row]; }
  sums[lane] = sum;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var other = 1u; other < ${opaque(THREADS)}; other++) { sum += sums[other]; }
  let mean = sum / max(sum.x, 1.0);
  summary[0] = mean.y;
  summary[1] = 0.5 * sqrt(max(mean.w - mean.z * mean.z, 0.0));
}`,
  });
}
