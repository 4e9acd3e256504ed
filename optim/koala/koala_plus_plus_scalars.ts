/**
 * The scalars of KOALA++: from the dot products of a step to the coefficients of its elementwise pass.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { mainInputs } from "../../gpu/kernel.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { isFiniteWgsl, tensorSumsWgsl } from "../chunks.ts";
import { type MeasurementNoiseOptions, measurementNoiseWgsl } from "./measurement_noise.ts";
import { STATISTICS, type UpdateInputs } from "../optimizer.ts";

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
}

/** In place of a step size: the tensor and its state stay as they are. (A real one may have either sign.) */
export const LEFT_ALONE = "-3.0e38";

/** Whether h is more than the gradient, or the gradient's place is needed, so that buffers cannot be exchanged. */
export function writesH({ weightDecay, beta, orthogonal }: Required<KoalaPlusPlusOptions>): boolean {
  return weightDecay > 0 || beta > 0 || orthogonal !== "none";
}

/** One workgroup turns dot products into coefficients; a lane takes every 64th tensor. */
export function scalarPass(
  g: Graph,
  { statistics, scalars }: UpdateInputs,
  options: Required<KoalaPlusPlusOptions>,
  t: Readonly<
    Record<"dots" | "ranges" | "coefficients" | "perTensor" | "run" | "summary", Tensor> & {
      readonly scales?: Tensor;
    }
  >,
): void {
  const { sigma, q, weightDecay, symmetric, beta, orthogonal } = options;
  const decay = weightDecay > 0;
  const width = t.dots.shape[1];
  // Of an orthogonalised step: |v + Q h|, the norm that the filter gives it, or none of the filter's.
  const orthogonalStep = {
    none: "",
    unit: "step = select(0.0, scalars[0] * scales[tensor], S > 0.0);",
    gain: `let along = c.y + Q;
    let norm2 = c.x * c.x * d${width - 1} + along * along * hh + c.z * c.z * old.y +
      2.0 * (c.x * along * hv0 + c.x * c.z * old.z + along * c.z * hh0);
    step *= sqrt(max(norm2, 0.0)) * scales[tensor];`,
  }[orthogonal];
  g.dispatch({
    label: "koala_plus_plus_scalars",
    read: {
      statistics,
      scalars,
      ranges: { tensor: t.ranges, type: "vec2u" },
      dots: t.dots,
      ...(t.scales ? { scales: t.scales } : {}),
    },
    write: {
      coefficients: { tensor: t.coefficients, type: "vec4f" },
      state: { tensor: t.perTensor, type: "vec4f" },
      run: t.run,
      summary: t.summary,
    },
    constants: { TENSORS: t.ranges.shape[0] },
    workgroups: [1, 1, 1],
    body: `${isFiniteWgsl}
const Q = f32(${q});
var<workgroup> seen: array<vec4f, 64>;
@compute @workgroup_size(64) fn main(${mainInputs}) {
  if (statistics[${STATISTICS.skip}] != 0.0) { return; }
  ${measurementNoiseWgsl(options)}
  let scale = statistics[${STATISTICS.gradientScale}];
  var notes = vec4f(3.0e38, 0.0, 0.0, 0.0); // smallest S, largest S, sum of step sizes, restarts
  for (var tensor = lane; tensor < TENSORS; tensor += 64u) {
    ${tensorSumsWgsl(width)}
    let old = state[tensor]; // S0, h0.h0, h0.v0, scale of h0 or weight of the average
    let scale0 = ${writesH(options) ? "select(0.0, 1.0, old.w > 0.0)" : "old.w"};
    let gg = scale * scale * d0;
    let tt = ${decay ? "d3" : "0.0"};
    // u = g + wd theta, what is averaged where there is an average
    let uu = gg${
      decay ? ` + f32(${2 * weightDecay}) * scale * d4 + f32(${weightDecay * weightDecay}) * tt` : ""
    };
    let uh0 = scale0 * (scale * d1${decay ? ` + f32(${weightDecay}) * d5` : ""});
    let uv0 = scale * d2${decay ? ` + f32(${weightDecay}) * d6` : ""};
    ${
      beta > 0
        ? `let total = f32(${beta}) * old.w + f32(${1 - beta});
    let b = f32(${beta}) * old.w / total;
    let a = 1.0 - b;
    let hh = a * a * uu + 2.0 * a * b * uh0 + b * b * old.y;
    let hh0 = a * uh0 + b * old.y;
    let hv0 = a * uv0 + b * old.z;`
        : `let hh = uu;
    let hh0 = uh0;
    let hv0 = uv0;`
    }
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
      let S0 = f32(${sigma + q}) * hh + R;
      c = vec3f(0.0, select(0.0, R / S0, S0 > 0.0) * f32(${sigma + q}), 0.0);
      vh = c.y * hh;
    }
    let S = vh + Q * hh + R;
    let L = statistics[${STATISTICS.loss}] + f32(${0.5 * weightDecay}) * tt;
    var step = select(0.0, scalars[0] * L / S, S > 0.0);
    ${orthogonalStep}
    if (!is_finite(S) || !is_finite(step)) {
      coefficients[tensor] = vec4f(0.0, 0.0, 0.0, ${LEFT_ALONE});
      continue;
    }
    coefficients[tensor] = vec4f(c.xy, c.z * scale0, step);
    state[tensor] = vec4f(S, hh, vh, ${beta > 0 ? "total" : decay ? "1.0" : "scale"});
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
}`,
  });
}
