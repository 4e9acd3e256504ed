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
 * An average instead of the gradient. Gradients of small batches are nearly orthogonal from step to step, so that
 * alpha is near 0 and the filter forgets. With beta > 0 the measurement is linearised along the average of the
 * gradients, weighted by beta^age: with m = 1 - beta^t of this step and m0 of the last, h = (1 - b) g + b h0,
 * b = beta m0 / m. The recursion above is unchanged, and since h is a combination of g and h0 the same dot
 * products are enough: 3 read, then 4 read and 3 written, 10 in all.
 *
 * Measuring without noise. The variance of the losses of a batch's sequences is a poor R for an average of gradients: in
 * gpt2-nano the filter predicts 0.2% of S, so that lambda is near 0, no measurement uses anything up and v is little but
 * the sum of the past. With r = 0 a measurement is exact. Right after the first one (v0 = 0, S0 = Q h0.h0, lambda =
 * alpha) the step is along v + Q h = Q (h + (h - alpha h0)): the average, and once more what is new in it, as in
 * Nesterov's momentum, by as much as it differs from the last direction.
 *
 * An orthogonal step. A tensor has one gain for all its directions, and v + Q h lies mostly in a few of a matrix's
 * singular directions. With `orthogonal` the step of a matrix is the nearest orthogonal one (`orthogonalize.ts`):
 * equally long in every direction that h has spanned, as with process noise of the shape (h h^T)^(-1/2). `gain`
 * keeps the Frobenius norm of lr L / S (v + Q h), up to what five Newton-Schulz steps leave open; `unit` keeps of the
 * filter the direction only. The recursion of v and S is the one above. Cost: that of Muon beside the filter's.
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
import type { Graph, UpdateSegment } from "../../gpu/graph.ts";
import type { Parameter } from "../../gpu/parameters.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { type ChunkedPart, chunkRanges, chunkSegments, chunkSums, updateChunks } from "../chunks.ts";
import { type KoalaPlusPlusOptions, LEFT_ALONE, scalarPass, writesH } from "./koala_plus_plus_scalars.ts";
import { matrixBatches, matrixShape } from "../matrices/matrix_batches.ts";
import { requireMeasurementNoise } from "./measurement_noise.ts";
import {
  type BegunUpdate,
  type Optimizer,
  type OwnedParameters,
  type RecordedUpdate,
  requireInRange,
  type UpdateInputs,
} from "../optimizer.ts";
import { orthogonalizePacked } from "../matrices/orthogonalize.ts";
import { parameterState } from "../state.ts";

const NAME = "koala_plus_plus";

/**
 * Makes a KOALA++ optimizer.
 *
 * @param options See {@linkcode KoalaPlusPlusOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export function koalaPlusPlus(options: KoalaPlusPlusOptions = {}): Optimizer {
  const { lr = 0.02, sigma = 0.1, q = 0.1, r = "variance", alphaR = 0.9 } = options;
  const { weightDecay = 0, symmetric = true, beta = 0, orthogonal = "none" } = options;
  for (const [name, value] of Object.entries({ lr, sigma, q, weightDecay })) {
    requireInRange("koalaPlusPlus", name, value, { from: 0 });
  }
  requireInRange("koalaPlusPlus", "beta", beta, { from: 0, below: 1 });
  requireMeasurementNoise("koalaPlusPlus", { r, alphaR });
  if (!["none", "gain", "unit"].includes(orthogonal)) {
    throw new RangeError(
      `koalaPlusPlus: orthogonal must be "none", "gain" or "unit", got ${JSON.stringify(orthogonal)}`,
    );
  }
  const all = { lr, sigma, q, r, alphaR, weightDecay, symmetric, beta, orthogonal };
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
  const { orthogonal } = options;
  const decay = options.weightDecay > 0;
  const v = parameterState(g, `${prefix}.v`, segments);
  // Gradients of the last step as they were, before clipping; with weight decay or an average h itself.
  const h = parameterState(g, `${prefix}.h`, segments);
  const parts = chunkSegments(g, prefix, segments, (_, index) => index);
  const dots = chunkSums(g, parts, {
    label: "koala_plus_plus_dots",
    read: (s) => ({ v0: v.packed[s], h0: h.packed[s], ...(decay ? { theta: segments[s].parameters } : {}) }),
    terms: [...DOTS, ...(decay ? DECAY_DOTS : []), ...(orthogonal === "gain" ? ["dot(v0[i], v0[i])"] : [])],
  });
  if (!writesH(options)) segments.forEach((s, i) => g.exchange(s.gradients.storage, h.packed[i].storage));
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

/** What was made before the norm of all gradients is known. */
interface Begun {
  readonly prefix: string;
  readonly segments: readonly UpdateSegment[];
  readonly parts: readonly ChunkedPart[];
  readonly dots: Tensor;
  readonly v: State;
  readonly h: State;
}

function finish(
  g: Graph,
  io: UpdateInputs,
  options: Required<KoalaPlusPlusOptions>,
  begun: Begun,
): RecordedUpdate {
  const { prefix, segments, parts, dots, v, h } = begun;
  const { q, weightDecay, beta, orthogonal } = options;
  const [decay, average, written] = [weightDecay > 0, beta > 0, writesH(options)];
  const spread = orthogonal !== "none";
  const items = segments.flatMap((s) => s.items);
  // Per tensor: S, h.h, h.v of the last step, and what is above 0 once there was a step: what to scale the kept h
  // with; for an average the sum of its weights, 1 - beta^t.
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
    ...(spread
      ? {
        scales: g.constant(
          `${prefix}.scales`,
          Float32Array.from(items, ({ item }) => scaleOf(item, orthogonal)),
        ),
      }
      : {}),
  });
  for (const part of parts) {
    const { parameters: theta, gradients } = part.segment;
    const [v0, h0] = [v.packed[part.index], h.packed[part.index]];
    updateChunks(g, part, {
      label: "koala_plus_plus_update",
      // What is orthogonalised takes the gradients' place.
      write: {
        v0,
        ...(spread ? {} : { theta }),
        ...(written ? { h0 } : {}),
        ...(spread || !written ? { gradients } : {}),
      },
      read: { ...(written ? {} : { h0 }), ...(spread && decay ? { theta } : {}) },
      extra: {
        coefficients: { tensor: coefficients, type: "vec4f" },
        ...(average ? { tensors: { tensor: perTensor, type: "vec4f" } } : {}),
      },
      statistics: io.statistics,
      before: `
  let c = coefficients[tag];
  left_alone = left_alone || c.w == ${LEFT_ALONE};
  ${average ? `let weight = f32(${1 - beta}) / tensors[tag].w;` : ""}`,
      // The buffers change places whatever happens, so a tensor that keeps its h0 has it moved along.
      otherwise: written ? undefined : "gradients[i] = h0[i];",
      statements: `
    let u = g${decay ? ` + f32(${weightDecay}) * theta[i]` : ""};
    let h = ${average ? "mix(h0[i], u, weight)" : "u"};
    let v = c.x * v0[i] + c.y * h + c.z * h0[i];
    v0[i] = v;
    ${written ? "h0[i] = h;" : ""}
    ${spread ? "gradients[i] =" : "theta[i] -= c.w *"} (v + f32(${q}) * h);`,
    });
  }
  if (spread) orthogonalStep(g, io.statistics, coefficients, begun);
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

/** Orthogonalises what stands in the gradients' place and takes the step along it. */
function orthogonalStep(
  g: Graph,
  statistics: Tensor,
  coefficients: Tensor,
  { prefix, segments, parts }: Begun,
): void {
  orthogonalizePacked(g, matrixBatches(g, prefix, segments), segments.map((s) => s.gradients));
  for (const part of parts) {
    updateChunks(g, part, {
      label: "koala_plus_plus_step",
      write: { theta: part.segment.parameters },
      extra: { coefficients: { tensor: coefficients, type: "vec4f" } },
      statistics,
      before: `
  let step = coefficients[tag].w;
  left_alone = left_alone || step == ${LEFT_ALONE};`,
      statements: "theta[i] -= step * masked(gradients[i], i, chunk.z);",
    });
  }
}

/** What the orthogonal matrices of a parameter are multiplied with, beside the learning rate or the step's norm. */
function scaleOf(item: Parameter, orthogonal: KoalaPlusPlusOptions["orthogonal"]): number {
  const { inputs, outputs } = matrixShape(item);
  if (orthogonal === "unit") return Math.sqrt(Math.max(1, outputs / inputs));
  // An orthogonal matrix has the norm sqrt(rank).
  return 1 / Math.sqrt(Math.min(inputs, outputs) * (item.parts ?? 1));
}
