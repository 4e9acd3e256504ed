/**
 * KOALA++ (arXiv 2506.04432): a Kalman filter for each tensor whose state is the parameters, whose
 * measurement is the loss (target 0) and whose covariance P is never formed: what is tracked is its product
 * v with the gradient. With h = g + wd theta, L = loss + wd/2 |theta|^2, and v0, h0, S0 of the step before:
 *
 * ```text
 * alpha  = h.h0 / h0.h0
 * lambda = (h.v0 + Q h.h0) / S0
 * w      = (h.v0 - (h0.v0 / h0.h0) h.h0) / h0.h0     (symmetric; 0 in the vanilla variant)
 * v      = (alpha - lambda) v0 + Q (h - lambda h0) + w h0
 * S      = v.h + Q h.h + R
 * theta -= lr L / S (v + Q h)
 * ```
 *
 * At a tensor's first step h0 = h, v0 = sigma h, S0 = (sigma + Q) h.h + R. A tensor whose gradient norm is below
 * 1e-9 is left alone, its state too.
 *
 * v is a combination of v0, h and h0, so S follows from the same dot products: one reduction pass over all
 * tensors, one workgroup for all scalars, one elementwise pass. Values moved per parameter: 3 read in the
 * reduction (g, h0, v0), 4 read (theta too) and 2 written (theta, v) in the update, 9 in all; state: 2. h0 is never
 * copied: it is the gradient of the step before, in the buffer that it was computed in, with its clipping
 * factor as a scalar, and the two gradient buffers change places after every step. The reduction
 * gives the gradient's norm too, for which other optimizers read all gradients once more. With weight decay h
 * is more than the gradient and is written: 4 read, then 4 read and 3 written, 11 in all.
 *
 * Guards. h (P + Q I) h = v.h + Q h.h is the variance that the filter predicts along h. A covariance makes it
 * at least Q h.h, but v is a surrogate: the recursion keeps v.h0 and lets the rest of v drift, so that v.h can
 * become negative. Down to v.h = -Q h.h the step (v + Q h) still leads downhill and S >= R; below that it leads
 * uphill, and S falls to 0 and below. So when less than a tenth of the smallest legitimate prediction is left,
 * v.h < -0.9 Q h.h, or when v0 cannot be used (h0.h0 = 0, S0 <= 0, or something that is not finite), the
 * tensor's filter starts again as in its first step. What remains is S >= 0.1 Q h.h + R. If S is 0 all the same
 * (Q = R = 0) the parameters stay, and a tensor whose numbers overflow even so is left alone. The threshold is
 * well below 0 since v.h is mostly small and its sign then a matter of rounding; the golden trajectories have
 * v.h > 0 throughout.
 *
 * @module
 */
import type { Graph, UpdateSegment } from "../gpu/graph.ts";
import { mainInputs } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import {
  type ChunkedPart,
  chunkRanges,
  chunkSegments,
  chunkSums,
  isFiniteWgsl,
  tensorSumsWgsl,
  updateChunks,
} from "./chunks.ts";
import {
  type MeasurementNoiseOptions,
  measurementNoiseWgsl,
  requireMeasurementNoise,
} from "./measurement_noise.ts";
import {
  type BegunUpdate,
  type Optimizer,
  type OwnedParameters,
  type RecordedUpdate,
  requireInRange,
  STATISTICS,
  type UpdateInputs,
} from "./optimizer.ts";
import { parameterState } from "./state.ts";

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
}

const NAME = "koala_plus_plus";

/** In place of a step size: the tensor and its state stay as they are. (A real one may have either sign.) */
const LEFT_ALONE = "-3.0e38";

/**
 * Makes a KOALA++ optimizer.
 *
 * @param options See {@linkcode KoalaPlusPlusOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export function koalaPlusPlus(options: KoalaPlusPlusOptions = {}): Optimizer {
  const { lr = 0.02, sigma = 0.1, q = 0.1, r = "variance", alphaR = 0.9 } = options;
  const { weightDecay = 0, symmetric = true } = options;
  for (const [name, value] of Object.entries({ lr, sigma, q, weightDecay })) {
    requireInRange("koalaPlusPlus", name, value, { from: 0 });
  }
  requireMeasurementNoise("koalaPlusPlus", { r, alphaR });
  const all = { lr, sigma, q, r, alphaR, weightDecay, symmetric };
  return {
    name: NAME,
    scalarCount: 1,
    scalars: (_step, factor) => [lr * factor],
    begin: (g, parameters) => begin(g, parameters, all),
  };
}

function begin(
  g: Graph,
  { prefix, segments }: OwnedParameters,
  options: Required<KoalaPlusPlusOptions>,
): BegunUpdate {
  const decay = options.weightDecay > 0;
  const v = parameterState(g, `${prefix}.v`, segments);
  // Gradients of the last step as they were, before clipping; with weight decay h itself.
  const h = parameterState(g, `${prefix}.h`, segments);
  const parts = chunkSegments(g, prefix, segments, (_, index) => index);
  const dots = chunkSums(g, parts, {
    label: "koala_plus_plus_dots",
    read: (s) => ({ v0: v.packed[s], h0: h.packed[s], ...(decay ? { theta: segments[s].parameters } : {}) }),
    terms: decay ? [...DOTS, ...DECAY_DOTS] : DOTS,
  });
  if (!decay) segments.forEach((s, i) => g.exchange(s.gradients.storage, h.packed[i].storage));
  return {
    squares: { partials: dots, column: DOTS.indexOf("dot(g, g)") },
    finish: (io) => finish(g, io, options, { prefix, segments, parts, dots, v, h }),
  };
}

/** Summed by the reduction: h.h, h.h0 and h.v0 follow from these, whatever the gradient is scaled with. */
const DOTS: readonly string[] = ["dot(g, g)", "dot(g, h0[i])", "dot(g, v0[i])"];
const DECAY_DOTS: readonly string[] = [
  "dot(theta[i], theta[i])",
  "dot(theta[i], g)",
  "dot(theta[i], h0[i])",
  "dot(theta[i], v0[i])",
];

type State = ReturnType<typeof parameterState>;

function finish(
  g: Graph,
  io: UpdateInputs,
  options: Required<KoalaPlusPlusOptions>,
  begun: {
    readonly prefix: string;
    readonly segments: readonly UpdateSegment[];
    readonly parts: readonly ChunkedPart[];
    readonly dots: Tensor;
    readonly v: State;
    readonly h: State;
  },
): RecordedUpdate {
  const { prefix, segments, parts, dots, v, h } = begun;
  const { q, weightDecay } = options;
  const decay = weightDecay > 0;
  const items = segments.flatMap((s) => s.items);
  // Per tensor: S, h.h, h.v of the last step, and what to scale the kept h with: above 0 once there was a step.
  const perTensor = g.state(`${prefix}.tensors`, [items.length, 4]);
  const run = g.state(`${prefix}.run`, [2]); // average of the loss statistic, and 1 once it has started
  const coefficients = g.activation(`${prefix}.coefficients`, [items.length, 4]); // of v0, h, h0 in v; step size
  const summary = g.output(`${prefix}.summary`, [5]);
  scalarPass(g, io, options, {
    dots,
    ranges: chunkRanges(g, prefix, segments),
    coefficients,
    perTensor,
    run,
    summary,
  });
  for (const part of parts) {
    const { parameters: theta, gradients } = part.segment;
    const [v0, h0] = [v.packed[part.index], h.packed[part.index]];
    updateChunks(g, part, {
      label: "koala_plus_plus_update",
      write: decay ? { theta, v0, h0 } : { theta, v0, gradients },
      read: decay ? {} : { h0 },
      extra: { coefficients: { tensor: coefficients, type: "vec4f" } },
      statistics: io.statistics,
      before: `
  let c = coefficients[tag];
  left_alone = left_alone || c.w == ${LEFT_ALONE};`,
      // The buffers change places whatever happens, so a tensor that keeps its h0 has it moved along.
      otherwise: decay ? undefined : "gradients[i] = h0[i];",
      statements: `
    let t = theta[i];
    let h = g${decay ? ` + f32(${weightDecay}) * t` : ""};
    let v = c.x * v0[i] + c.y * h + c.z * h0[i];
    v0[i] = v;
    ${decay ? "h0[i] = h;" : ""}
    theta[i] = t - c.w * (v + f32(${q}) * h);`,
    });
  }
  const names = ["r", "smallest_s", "largest_s", "mean_step", "restarts"].map((name) => `${prefix}.${name}`);
  return {
    state: [
      ...v.named,
      ...h.named,
      { name: `${prefix}.tensors`, tensor: perTensor },
      { name: `${prefix}.run`, tensor: run },
    ],
    summary: { names, tensor: summary },
  };
}

/** One workgroup turns dot products into coefficients; a lane takes every 64th tensor. */
function scalarPass(
  g: Graph,
  { statistics, scalars }: UpdateInputs,
  { sigma, q, r, alphaR, weightDecay, symmetric }: Required<KoalaPlusPlusOptions>,
  t: Readonly<Record<"dots" | "ranges" | "coefficients" | "perTensor" | "run" | "summary", Tensor>>,
): void {
  const decay = weightDecay > 0;
  const width = t.dots.shape[1];
  g.dispatch({
    label: "koala_plus_plus_scalars",
    read: { statistics, scalars, ranges: { tensor: t.ranges, type: "vec2u" }, dots: t.dots },
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
  ${measurementNoiseWgsl({ r, alphaR })}
  let scale = statistics[${STATISTICS.gradientScale}];
  var notes = vec4f(3.0e38, 0.0, 0.0, 0.0); // smallest S, largest S, sum of step sizes, restarts
  for (var tensor = lane; tensor < TENSORS; tensor += 64u) {
    ${tensorSumsWgsl(width)}
    let old = state[tensor]; // S0, h0.h0, h0.v0, scale of h0
    let gg = scale * scale * d0;
    ${
      decay
        ? `let tt = d3;
    let hh = gg + f32(${2 * weightDecay}) * scale * d4 + f32(${weightDecay * weightDecay}) * tt;
    let hh0 = old.w * (scale * d1 + f32(${weightDecay}) * d5);
    let hv0 = scale * d2 + f32(${weightDecay}) * d6;`
        : `let tt = 0.0;
    let hh = gg;
    let hh0 = old.w * scale * d1;
    let hv0 = scale * d2;`
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
    let step = select(0.0, scalars[0] * L / S, S > 0.0);
    if (!is_finite(S) || !is_finite(step)) {
      coefficients[tensor] = vec4f(0.0, 0.0, 0.0, ${LEFT_ALONE});
      continue;
    }
    coefficients[tensor] = vec4f(c.xy, c.z * old.w, step);
    state[tensor] = vec4f(S, hh, vh, ${decay ? "1.0" : "scale"});
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
