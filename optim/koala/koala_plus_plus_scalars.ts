/**
 * The scalars of KOALA++: from the dot products of a step to the coefficients of its elementwise pass.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { f32, isFiniteWgsl, mainInputs } from "../../gpu/wgsl.ts";
import type { Parameter } from "../../gpu/parameters.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { type MeasurementNoiseOptions, measurementNoiseWgsl } from "./measurement_noise.ts";
import { STATISTICS, type UpdateInputs } from "../optimizer.ts";
import { matrixShape } from "../matrices/matrix_batches.ts";
import { type Sums, tensorSumsWgsl } from "../packed/passes.ts";

/** Hyper-parameters of {@linkcode koalaPlusPlus}. */
export interface KoalaPlusPlusOptions extends MeasurementNoiseOptions {
  /** Learning rate; default 0.02. */
  readonly lr?: number;
  /** Initial variance of each parameter; default 0.1. */
  readonly sigma?: number;
  /** Process noise Q; default 0.1. */
  readonly q?: number;
  /** Coupled weight decay; default 0. */
  readonly weightDecay?: number;
  /** Keep the implied covariance symmetric; default true. False is the paper's vanilla variant. */
  readonly symmetric?: boolean;
  /** Decay of the average of gradients to measure along; default 0: along the gradient, as the paper does. */
  readonly beta?: number;
  /**
   * Replace a matrix's step by the nearest orthogonal matrix, so that it is equally long in all directions:
   * `gain` at about the Frobenius norm that the filter gives it, `unit` at Muon's scale, sqrt(max(1, out / in)) lr.
   * Default `none`.
   */
  readonly orthogonal?: "none" | "gain" | "unit";
  /**
   * What a `unit` step is scaled by before it becomes orthogonal: the covariance of the gradients' noise in the
   * eigenbases of rows and columns (`kronecker`), or of a matrix's shorter side (`one-sided`, which is cheaper). It takes the
   * place of v, so that sigma, q, r and symmetric have no effect. Default `none`.
   */
  readonly covariance?: "none" | "one-sided" | "kronecker";
  /** With a covariance: decay of the means of squares in its eigenbasis; default 0.95. */
  readonly beta2?: number;
  /** With a covariance: decay of the means of the gradients' products; default 0.95. */
  readonly shampooBeta?: number;
  /** With a covariance: steps between two refreshes of the bases; default 10. */
  readonly frequency?: number;
}

/** In place of a step size: the tensor and its state stay as they are. (A real one may have either sign.) */
export const LEFT_ALONE = "-3.0e38";

/** Whether h is more than the gradient, or the gradient's place is needed, so that buffers cannot be exchanged. */
export function writesH({ weightDecay, beta, orthogonal }: Required<KoalaPlusPlusOptions>): boolean {
  return weightDecay > 0 || beta > 0 || orthogonal !== "none";
}

/** What the orthogonal matrices of a parameter are multiplied with, beside the learning rate or the step's norm. */
export function scaleOf(item: Parameter, orthogonal: "gain" | "unit"): number {
  const { inputs, outputs } = matrixShape(item);
  if (orthogonal === "unit") return Math.sqrt(Math.max(1, outputs / inputs));
  // An orthogonal matrix has the norm sqrt(rank).
  return 1 / Math.sqrt(Math.min(inputs, outputs) * (item.parts ?? 1));
}

/** What the scalar pass is bound to. */
export interface ScalarTensors {
  /** From {@linkcode dotTerms}. */
  readonly dots: Sums;
  /**
   * u32 [tensors, 4], from `chunkRanges`; its numbers are, for an orthogonal step, what the tensors' matrices are
   * multiplied with.
   */
  readonly ranges: Tensor;
  /** [tensors, 4], written: the coefficients of v0, h and h0 in v, and the step size or {@linkcode LEFT_ALONE}. */
  readonly coefficients: Tensor;
  /**
   * State, [tensors, 4]: S, h.h and h.v of the last step, and what is above 0 once there was a step: what to scale the
   * kept h with; for an average the sum of its weights, 1 - beta^t.
   */
  readonly perTensor: Tensor;
  /** State, [2]: average of the loss statistic, and 1 once it has started. */
  readonly run: Tensor;
  /** [5], written: {@linkcode SUMMARY}. */
  readonly summary: Tensor;
}

/** Names of the numbers for metrics. */
export const SUMMARY: readonly string[] = ["r", "smallest_s", "largest_s", "mean_step", "restarts"];

/**
 * The dot products that the scalar pass needs, by name: g is the gradient before clipping, v and h the v0 and h0 of
 * the step before as they were kept, t is theta. h.h, h.h0 and h.v0 follow from them, whatever g is scaled with.
 */
export function dotTerms(
  { weightDecay, orthogonal }: Required<KoalaPlusPlusOptions>,
): Record<string, string> {
  return {
    gg: "dot(g, g)",
    gh: "dot(g, h0[i])",
    gv: "dot(g, v0[i])",
    ...(weightDecay > 0
      ? {
        tt: "dot(theta[i], theta[i])",
        tg: "dot(theta[i], g)",
        th: "dot(theta[i], h0[i])",
        tv: "dot(theta[i], v0[i])",
      }
      : {}),
    ...(orthogonal === "gain" ? { vv: "dot(v0[i], v0[i])" } : {}),
  };
}

/** WGSL for |theta|^2 and the dot products of u = g + wd theta, which is what is averaged where there is an average. */
function dotsOfU({ weightDecay }: Required<KoalaPlusPlusOptions>): string {
  if (weightDecay === 0) {
    return `let tt = 0.0;
    let uu = gg;
    let uh0 = scale0 * (scale * sum_gh);
    let uv0 = scale * sum_gv;`;
  }
  const wd = f32(weightDecay);
  return `let tt = sum_tt;
    let uu = gg + ${f32(2 * weightDecay)} * scale * sum_tg + ${f32(weightDecay * weightDecay)} * tt;
    let uh0 = scale0 * (scale * sum_gh + ${wd} * sum_th);
    let uv0 = scale * sum_gv + ${wd} * sum_tv;`;
}

/** WGSL for the dot products of h: u itself, or the average a u + b h0. */
function dotsOfH({ beta }: Required<KoalaPlusPlusOptions>): string {
  if (beta === 0) {
    return `let hh = uu;
    let hh0 = uh0;
    let hv0 = uv0;`;
  }
  return `let total = ${f32(beta)} * old.w + ${f32(1 - beta)};
    let b = ${f32(beta)} * old.w / total;
    let a = 1.0 - b;
    let hh = a * a * uu + 2.0 * a * b * uh0 + b * b * old.y;
    let hh0 = a * uh0 + b * old.y;
    let hv0 = a * uv0 + b * old.z;`;
}

/** WGSL that turns `step` into the length of an orthogonal step: |v + Q h|, as the filter gives it, or none of the filter's. */
const ORTHOGONAL_STEP: Readonly<Record<Required<KoalaPlusPlusOptions>["orthogonal"], string>> = {
  none: "",
  unit: "step = select(0.0, scalars[0] * bitcast<f32>(ranges[tensor].z), S > 0.0);",
  gain: `let along = c.y + Q;
    let norm2 = c.x * c.x * sum_vv + along * along * hh + c.z * c.z * old.y +
      2.0 * (c.x * along * hv0 + c.x * c.z * old.z + along * c.z * hh0);
    step *= sqrt(max(norm2, 0.0)) * bitcast<f32>(ranges[tensor].z);`,
};

/** One workgroup turns dot products into coefficients; a lane takes every 64th tensor. */
export function scalarPass(
  g: Graph,
  { statistics, scalars }: UpdateInputs,
  options: Required<KoalaPlusPlusOptions>,
  t: ScalarTensors,
): void {
  g.dispatch({
    label: "koala_plus_plus_scalars",
    read: {
      statistics,
      scalars,
      ranges: { tensor: t.ranges, type: "vec4u" },
      dots: t.dots.partials,
    },
    write: {
      coefficients: { tensor: t.coefficients, type: "vec4f" },
      state: { tensor: t.perTensor, type: "vec4f" },
      run: t.run,
      summary: t.summary,
    },
    constants: { TENSORS: t.ranges.shape[0] },
    workgroups: [1, 1, 1],
    body: scalarsWgsl(options, t.dots),
  });
}

function scalarsWgsl(options: Required<KoalaPlusPlusOptions>, dots: Sums): string {
  const { sigma, q, weightDecay, symmetric, beta, orthogonal } = options;
  // What says that there was a step, beside S, h.h and h.v.
  const kept = beta > 0 ? "total" : weightDecay > 0 ? "1.0" : "scale";
  return `${isFiniteWgsl}
const Q = ${f32(q)};
var<workgroup> seen: array<vec4f, 64>;
@compute @workgroup_size(64) fn main(${mainInputs}) {
  if (statistics[${STATISTICS.skip}] != 0.0) { return; }
  ${measurementNoiseWgsl(options)}
  let scale = statistics[${STATISTICS.gradientScale}];
  var notes = vec4f(3.0e38, 0.0, 0.0, 0.0); // smallest S, largest S, sum of step sizes, restarts
  for (var tensor = lane; tensor < TENSORS; tensor += 64u) {
    ${tensorSumsWgsl(dots)}
    let old = state[tensor]; // S0, h0.h0, h0.v0, scale of h0 or weight of the average
    let scale0 = ${writesH(options) ? "select(0.0, 1.0, old.w > 0.0)" : "old.w"};
    let gg = scale * scale * sum_gg;
    ${dotsOfU(options)}
    ${dotsOfH(options)}
    if (!(sqrt(gg) >= 1e-9)) {
      coefficients[tensor] = vec4f(0.0, 0.0, 0.0, ${LEFT_ALONE});
      continue;
    }
    var c = vec3f(); // of v0, h and h0
    var vh = 0.0;
    var restarted = select(0.0, 1.0, old.w > 0.0);
    if (old.w > 0.0 && old.y > 0.0 && old.x > 0.0) {
      let alpha = hh0 / old.y;
      let lambda = (hv0 + Q * hh0) / old.x;
      let w = ${symmetric ? "(hv0 - old.z / old.y * hh0) / old.y" : "0.0"};
      c = vec3f(alpha - lambda, Q, w - Q * lambda);
      vh = c.x * hv0 + c.y * hh + c.z * hh0;
      restarted = select(1.0, 0.0, is_finite(vh) && vh >= -0.9 * Q * hh);
    }
    if (old.w == 0.0 || restarted > 0.0) {
      // h0 = h and v0 = sigma h give v = (1 - lambda) (sigma + Q) h, and 1 - lambda = R / S0 without cancellation.
      let S0 = ${f32(sigma + q)} * hh + R;
      c = vec3f(0.0, select(0.0, R / S0, S0 > 0.0) * ${f32(sigma + q)}, 0.0);
      vh = c.y * hh;
    }
    let S = vh + Q * hh + R;
    let L = statistics[${STATISTICS.loss}] + ${f32(0.5 * weightDecay)} * tt;
    var step = select(0.0, scalars[0] * L / S, S > 0.0);
    ${ORTHOGONAL_STEP[orthogonal]}
    if (!is_finite(S) || !is_finite(step)) {
      coefficients[tensor] = vec4f(0.0, 0.0, 0.0, ${LEFT_ALONE});
      continue;
    }
    coefficients[tensor] = vec4f(c.xy, c.z * scale0, step);
    state[tensor] = vec4f(S, hh, vh, ${kept});
    notes = vec4f(min(notes.x, S), max(notes.y, S), notes.z + step, notes.w + restarted);
  }
  seen[lane] = notes;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var other = 1u; other < 64u; other++) {
    let n = seen[other];
    notes = vec4f(min(notes.x, n.x), max(notes.y, n.y), notes.z + n.z, notes.w + n.w);
  }
  summary[0] = R;
  summary[1] = min(notes.x, notes.y); // both 0 when every tensor was left alone
  summary[2] = notes.y;
  summary[3] = notes.z / f32(TENSORS);
  summary[4] = notes.w;
  run[0] = average;
  run[1] = 1.0;
}`;
}
