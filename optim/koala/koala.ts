/**
 * KOALA (Davtyan et al., AAAI 2022, arXiv 2107.03331): a Kalman filter whose state is the parameters and whose
 * measurement is the loss (target 0), with a covariance P I. In KOALA-M the state has a velocity v too, and P is
 * 2 x 2. One P is shared by all tensors; each tensor is measured on its own, with h = g + wd theta and
 * L = loss + wd/2 |theta|^2.
 *
 * KOALA-V:
 *
 * ```text
 * P      = P + Q                                predict; P starts at sigma
 * S      = P |h|^2 + R
 * theta -= lr L P / S h                         update
 * P      = P - P^2 max(|h|^2 / S)               over all tensors
 * ```
 *
 * KOALA-M, with F = [1 1; 0 a] and P = [Pw Pc; Pc Pv]:
 *
 * ```text
 * theta  = theta + v, v = a v                   predict
 * Qw     = aq Qw + (1 - aq) |mean - theta| / n  theta before the prediction, all n parameters together
 * P      = F P F^T + diag(Qw, Qv)
 * S      = Pw |h|^2 + R
 * theta -= lr L Pw / S h                        update
 * v     -= lr L Pc / S h
 * mean   = 0.9 mean + 0.1 theta
 * P      = P - max(|h|^2 / S) [Pw Pc]^T [Pw Pc]
 * ```
 *
 * These are the formulas of the authors' program, which agree with the paper's Kalman equations where every tensor
 * has the S of the one that is measured best; in one place the program differs from them, and this file keeps to
 * the equations: with weight decay KOALA-V steps along h, not along g. KOALA-M predicts at the end of a step, so
 * that the gradient is taken where the filter expects the parameters: between steps theta is the prediction. A
 * tensor whose gradient norm is below 1e-9 is predicted but not updated.
 *
 * One pass of sums, one workgroup for all scalars, one elementwise pass. KOALA-V moves 4 values per parameter
 * (reads g in both passes, reads and writes theta; 5 with weight decay) and keeps no state but P; KOALA-M moves 11
 * (reads g, theta, v and mean in both, writes three) and keeps 2.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { f32, isFiniteWgsl, mainInputs, opaque } from "../../gpu/wgsl.ts";
import {
  type Optimizer,
  type OwnedParameters,
  requireInRange,
  STATISTICS,
  type UpdateInputs,
  type UpdateRecording,
} from "../optimizer.ts";
import { chunkRanges, chunkSegments } from "../packed/chunks.ts";
import { chunkSums, type Sums, tensorSumsWgsl, updateChunks } from "../packed/passes.ts";
import { parameterState } from "../packed/state.ts";
import {
  type MeasurementNoiseOptions,
  measurementNoiseWgsl,
  requireMeasurementNoise,
} from "./measurement_noise.ts";

/** Hyper-parameters of {@linkcode koalaV}. */
export interface KoalaVOptions extends MeasurementNoiseOptions {
  /** Learning rate; default 0.02. */
  readonly lr?: number;
  /** Initial variance of each parameter; default 1. */
  readonly sigma?: number;
  /** Process noise Q; default 1. */
  readonly q?: number;
  /** Coupled weight decay; default 0. */
  readonly weightDecay?: number;
}

/** Hyper-parameters of {@linkcode koalaM}. */
export interface KoalaMOptions extends MeasurementNoiseOptions {
  /** Learning rate; default 0.02. */
  readonly lr?: number;
  /** Initial variance of each parameter; default 0.1. */
  readonly sigma?: number;
  /** Initial variance of each velocity; default 0.1. */
  readonly sigmaV?: number;
  /** Decay of the velocities; default 0.9. */
  readonly a?: number;
  /** Initial process noise Qw of parameters; default 0.01. */
  readonly q?: number;
  /** Decay of the average of Qw; 1 keeps it as it starts; default 0.9. */
  readonly alphaQ?: number;
  /** Process noise Qv of velocities; default 0.01. */
  readonly qV?: number;
  /** Coupled weight decay; default 0. */
  readonly weightDecay?: number;
}

/** Both filters: KOALA-V is the one without velocities. */
type Filter = Required<KoalaMOptions> & { readonly momentum: boolean };

/**
 * Makes a KOALA-V optimizer.
 *
 * @param options See {@linkcode KoalaVOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export function koalaV(options: KoalaVOptions = {}): Optimizer {
  const { lr = 0.02, sigma = 1, q = 1, r = "variance", alphaR = 0.9, weightDecay = 0 } = options;
  const still = { momentum: false, sigmaV: 0, a: 0, alphaQ: 1, qV: 0 };
  return koala("koala_v", { lr, sigma, q, r, alphaR, weightDecay, ...still });
}

/**
 * Makes a KOALA-M optimizer.
 *
 * @param options See {@linkcode KoalaMOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export function koalaM(options: KoalaMOptions = {}): Optimizer {
  const { lr = 0.02, sigma = 0.1, sigmaV = 0.1, a = 0.9, q = 0.01, alphaQ = 0.9, qV = 0.01 } = options;
  const { r = "variance", alphaR = 0.9, weightDecay = 0 } = options;
  return koala("koala_m", {
    momentum: true,
    lr,
    sigma,
    sigmaV,
    a,
    q,
    alphaQ,
    qV,
    r,
    alphaR,
    weightDecay,
  });
}

function koala(name: "koala_v" | "koala_m", filter: Filter): Optimizer {
  const factory = name === "koala_v" ? "koalaV" : "koalaM";
  const { lr, sigma, sigmaV, a, q, alphaQ, qV, weightDecay } = filter;
  for (const [option, value] of Object.entries({ lr, sigma, sigmaV, q, qV, weightDecay })) {
    requireInRange(factory, option, value, { from: 0 });
  }
  requireInRange(factory, "a", a, { from: 0, below: 1 });
  requireInRange(factory, "alphaQ", alphaQ, { from: 0 });
  if (alphaQ > 1) throw new RangeError(`${factory}: alphaQ must be at most 1, got ${alphaQ}`);
  requireMeasurementNoise(factory, filter);
  return {
    name,
    scalarCount: 1,
    scalars: (_step, factor) => [lr * factor],
    record: (g, owned) => record(g, owned, filter),
  };
}

function* record(g: Graph, { prefix, segments }: OwnedParameters, filter: Filter): UpdateRecording {
  const { momentum, a, weightDecay } = filter;
  const decay = weightDecay > 0;
  const parts = chunkSegments(g, prefix, segments, (_, index) => index);
  const kept = momentum ? ["v", "mean"] : [];
  const state = kept.map((kind) => [kind, parameterState(g, `${prefix}.${kind}`, segments)] as const);
  const stateOf = (segment: number) =>
    Object.fromEntries(state.map(([kind, { packed }]) => [kind, packed[segment]]));
  const dots = chunkSums(g, parts, {
    label: `${prefix}_dots`,
    read: (s) => ({ ...(decay || momentum ? { theta: segments[s].parameters } : {}), ...stateOf(s) }),
    terms: {
      gg: "dot(g, g)",
      ...(decay ? { tt: "dot(theta[i], theta[i])", tg: "dot(theta[i], g)" } : {}),
      // theta[i] - v[i] is where the last update left the parameter.
      ...(momentum ? { moved: "dot(mean[i] - theta[i] + v[i], mean[i] - theta[i] + v[i])" } : {}),
    },
  });
  const io = yield dots.partials;
  const items = segments.flatMap((s) => s.items);
  const coefficients = g.activation(`${prefix}.coefficients`, [items.length, 4]); // steps of theta, v and mean
  const run = g.state(`${prefix}.run`, [8]); // average of R, 1 once started, Pw, Pc, Pv, Qw
  const summary = g.output(`${prefix}.summary`, [3]);
  const ranges = chunkRanges(g, prefix, segments);
  const parameters = items.reduce((sum, item) => sum + item.size, 0);
  scalarPass(g, io, filter, dots, { ranges, coefficients, run, summary }, parameters);
  for (const part of parts) {
    updateChunks(g, part, {
      label: `${prefix}_update`,
      write: { theta: part.segment.parameters, ...stateOf(part.index) },
      extra: { coefficients: { tensor: coefficients, type: "vec4f" } },
      statistics: io.statistics,
      before: "let c = coefficients[tag];",
      statements: `
    let h = g${decay ? ` + ${f32(weightDecay)} * theta[i]` : ""};
    let updated = theta[i] - c.x * h;
    ${
        momentum
          ? `let velocity = ${f32(a)} * v[i] - c.y * h;
    v[i] = velocity;
    mean[i] += c.z * (updated - mean[i]);
    theta[i] = updated + velocity;`
          : "theta[i] = updated;"
      }`,
    });
  }
  return {
    state: [...state.flatMap(([, { named }]) => named), { name: `${prefix}.run`, tensor: run }],
    summary: { names: ["r", "p", "q"].map((name) => `${prefix}.${name}`), tensor: summary },
  };
}

/** One workgroup turns sums into step sizes and moves the covariance on; a lane takes every 64th tensor. */
function scalarPass(
  g: Graph,
  { statistics, scalars }: UpdateInputs,
  filter: Filter,
  dots: Sums,
  t: Readonly<Record<"ranges" | "coefficients" | "run" | "summary", Tensor>>,
  parameters: number,
): void {
  g.dispatch({
    label: "koala_scalars",
    read: { statistics, scalars, ranges: { tensor: t.ranges, type: "vec4u" }, dots: dots.partials },
    write: {
      coefficients: { tensor: t.coefficients, type: "vec4f" },
      run: t.run,
      summary: t.summary,
    },
    constants: { TENSORS: t.ranges.shape[0] },
    workgroups: [1, 1, 1],
    body: scalarsWgsl(filter, dots, parameters),
  });
}

function scalarsWgsl(filter: Filter, dots: Sums, parameters: number): string {
  const { momentum, sigma, sigmaV, a, q, alphaQ, qV, weightDecay } = filter;
  const [chunks, width] = dots.partials.shape;
  return `${isFiniteWgsl}
var<workgroup> seen: array<f32, 64>;
@compute @workgroup_size(64) fn main(${mainInputs}) {
  if (statistics[${STATISTICS.skip}] != 0.0) { return; }
  ${measurementNoiseWgsl(filter)}
  let started = run[1] > 0.0;
  var p = select(vec3f(${f32(sigma)}, 0.0, ${
    f32(sigmaV)
  }), vec3f(run[2], run[3], run[4]), started); // Pw, Pc, Pv
  var q = select(${f32(q)}, run[5], started);
  ${
    momentum
      ? `
  var own = 0.0;
  for (var chunk = lane; chunk < ${opaque(chunks)}; chunk += 64u) {
    own += dots[chunk * ${width}u + ${dots.names.indexOf("moved")}u];
  }
  seen[lane] = own;
  workgroupBarrier();
  var moved = 0.0;
  for (var other = 0u; other < ${opaque(64)}; other++) { moved += seen[other]; }
  workgroupBarrier();
  q = ${f32(alphaQ)} * q + ${f32(1 - alphaQ)} * sqrt(moved) / ${f32(parameters)};
  p = vec3f(p.x + 2.0 * p.y + p.z + q, ${f32(a)} * (p.y + p.z), ${f32(a * a)} * p.z + ${f32(qV)});`
      : "p.x += q;"
  }
  let scale = statistics[${STATISTICS.gradientScale}];
  var largest = 0.0; // |h|^2 / S
  for (var tensor = lane; tensor < TENSORS; tensor += 64u) {
    ${tensorSumsWgsl(dots)}
    let gg = scale * scale * sum_gg;
    ${
    weightDecay > 0
      ? `let tt = sum_tt;
    let hh = gg + ${f32(2 * weightDecay)} * scale * sum_tg + ${f32(weightDecay * weightDecay)} * tt;`
      : `let tt = 0.0;
    let hh = gg;`
  }
    let S = p.x * hh + R;
    let step = scalars[0] * (statistics[${STATISTICS.loss}] + ${f32(0.5 * weightDecay)} * tt) / S;
    let updates = sqrt(gg) >= 1e-9 && S > 0.0 && is_finite(S) && is_finite(step);
    coefficients[tensor] = select(vec4f(), vec4f(p.x * step, p.y * step, 0.1, 0.0), updates);
    largest = max(largest, select(0.0, hh / S, updates));
  }
  seen[lane] = largest;
  workgroupBarrier();
  if (lane != 0u) { return; }
  for (var other = 1u; other < 64u; other++) { largest = max(largest, seen[other]); }
  summary[0] = R;
  summary[1] = p.x;
  summary[2] = q;
  run[0] = average;
  run[1] = 1.0;
  // Where R is small beside Pw |h|^2 nothing is left of Pw but rounding, which must not make it negative.
  run[2] = max(0.0, p.x - p.x * p.x * largest);
  run[3] = p.y - p.x * p.y * largest;
  run[4] = max(0.0, p.z - p.y * p.y * largest);
  run[5] = q;
}`;
}
