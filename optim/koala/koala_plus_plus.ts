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
 * A covariance of all directions. v knows P along one. With `covariance` the noise's covariance is held in eigenbases of
 * rows and columns, and the orthogonal step is that of the mean in standard deviations: `koala_kronecker.ts`, which is
 * derived there and shares with the filter above the average and the length only.
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
import type { Graph } from "../../gpu/graph.ts";
import type { Parameter } from "../../gpu/parameters.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { f32 } from "../../gpu/wgsl.ts";
import { matrixBatches } from "../matrices/matrix_batches.ts";
import { orthogonalizePacked } from "../matrices/orthogonalize.ts";
import { type Optimizer, type OwnedParameters, requireInRange, type UpdateRecording } from "../optimizer.ts";
import { type ChunkedPart, chunkRanges, chunkSegments } from "../packed/chunks.ts";
import { chunkSums, type ChunkUpdate, updateChunks } from "../packed/passes.ts";
import { parameterState } from "../packed/state.ts";
import { kroneckerScalars, recordKronecker } from "./koala_kronecker.ts";
import {
  dotTerms,
  type KoalaPlusPlusOptions,
  LEFT_ALONE,
  scalarPass,
  scaleOf,
  SUMMARY,
  writesH,
} from "./koala_plus_plus_scalars.ts";
import { requireMeasurementNoise } from "./measurement_noise.ts";

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
  const { covariance = "none", beta2 = 0.95, shampooBeta = 0.95, frequency = 10 } = options;
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
  requireCovariance({ covariance, beta2, shampooBeta, frequency, orthogonal });
  const filter = { lr, sigma, q, r, alphaR, weightDecay, symmetric, beta, orthogonal };
  const all = { ...filter, covariance, beta2, shampooBeta, frequency };
  if (covariance !== "none") {
    return {
      name: NAME,
      scalarCount: 3,
      scalars: (step, factor) => kroneckerScalars(all, step, factor),
      record: (g, parameters) => recordKronecker(g, parameters, all),
    };
  }
  return {
    name: NAME,
    scalarCount: 1,
    scalars: (_step, factor) => [lr * factor],
    record: (g, parameters) => record(g, parameters, all),
  };
}

function requireCovariance(
  { covariance, beta2, shampooBeta, frequency, orthogonal }: Required<
    Pick<KoalaPlusPlusOptions, "covariance" | "beta2" | "shampooBeta" | "frequency" | "orthogonal">
  >,
): void {
  if (!["none", "one-sided", "kronecker"].includes(covariance)) {
    throw new RangeError(
      `koalaPlusPlus: covariance must be "none", "one-sided" or "kronecker", got ${
        JSON.stringify(covariance)
      }`,
    );
  }
  if (covariance !== "none" && orthogonal !== "unit") {
    throw new RangeError(
      `koalaPlusPlus: a covariance needs orthogonal "unit", got ${
        JSON.stringify(orthogonal)
      }; set it, or covariance to "none"`,
    );
  }
  for (const [name, value] of Object.entries({ beta2, shampooBeta })) {
    requireInRange("koalaPlusPlus", name, value, { from: 0, below: 1 });
  }
  requireInRange("koalaPlusPlus", "frequency", frequency, { from: 1 });
}

function* record(
  g: Graph,
  { prefix, segments }: OwnedParameters,
  options: Required<KoalaPlusPlusOptions>,
): UpdateRecording {
  const { weightDecay, orthogonal } = options;
  const v = parameterState(g, `${prefix}.v`, segments);
  // Gradients of the last step as they were, before clipping; with weight decay or an average h itself.
  const h = parameterState(g, `${prefix}.h`, segments);
  const parts = chunkSegments(g, prefix, segments, (_, index) => index);
  const dots = chunkSums(g, parts, {
    label: "koala_plus_plus_dots",
    read: (s) => ({
      v0: v.packed[s],
      h0: h.packed[s],
      ...(weightDecay > 0 ? { theta: segments[s].parameters } : {}),
    }),
    terms: dotTerms(options),
  });
  if (!writesH(options)) segments.forEach((s, i) => g.exchange(s.gradients.storage, h.packed[i].storage));

  const io = yield dots.partials;
  const items = segments.flatMap((s) => s.items);
  const perTensor = g.state(`${prefix}.tensors`, [items.length, 4]);
  const run = g.state(`${prefix}.run`, [2]);
  const coefficients = g.activation(`${prefix}.coefficients`, [items.length, 4]);
  const summary = g.output(`${prefix}.summary`, [SUMMARY.length]);
  const scale = orthogonal === "none" ? undefined : (item: Parameter) => scaleOf(item, orthogonal);
  const ranges = chunkRanges(g, prefix, segments, scale);
  scalarPass(g, io, options, { dots, ranges, coefficients, perTensor, run, summary });
  for (const part of parts) {
    const tensors = { v0: v.packed[part.index], h0: h.packed[part.index], coefficients, perTensor };
    updateChunks(g, part, { ...elementwisePass(part, options, tensors), statistics: io.statistics });
  }
  if (orthogonal !== "none") {
    // What stands in the gradients' place is orthogonalised, and the step is along it.
    orthogonalizePacked(g, matrixBatches(g, prefix, segments), segments.map((s) => s.gradients));
    for (const part of parts) {
      updateChunks(g, part, {
        label: "koala_plus_plus_step",
        write: { theta: part.segment.parameters },
        extra: { coefficients: { tensor: coefficients, type: "vec4f" } },
        statistics: io.statistics,
        before: "let step = coefficients[tag].w;",
        leaveAlone: `step == ${LEFT_ALONE}`,
        statements: "theta[i] -= step * raw;",
      });
    }
  }
  return {
    state: [
      ...v.named,
      ...h.named,
      { name: `${prefix}.tensors`, tensor: perTensor },
      { name: `${prefix}.run`, tensor: run },
    ],
    summary: { names: SUMMARY.map((name) => `${prefix}.${name}`), tensor: summary },
  };
}

/** The pass that brings v and h up to date, and takes the step or leaves its direction in the gradients' place. */
function elementwisePass(
  { segment: { parameters: theta, gradients } }: ChunkedPart,
  options: Required<KoalaPlusPlusOptions>,
  { v0, h0, coefficients, perTensor }: Readonly<Record<"v0" | "h0" | "coefficients" | "perTensor", Tensor>>,
): Omit<ChunkUpdate, "statistics"> {
  const { q, weightDecay, beta } = options;
  const orthogonal = options.orthogonal !== "none";
  const [decay, average, written] = [weightDecay > 0, beta > 0, writesH(options)];
  return {
    label: "koala_plus_plus_update",
    write: {
      v0,
      ...(orthogonal ? {} : { theta }),
      ...(written ? { h0 } : {}),
      ...(orthogonal || !written ? { gradients } : {}),
    },
    read: { ...(written ? {} : { h0 }), ...(orthogonal && decay ? { theta } : {}) },
    extra: {
      coefficients: { tensor: coefficients, type: "vec4f" },
      ...(average ? { tensors: { tensor: perTensor, type: "vec4f" } } : {}),
    },
    before: `let c = coefficients[tag];
  ${average ? `let weight = ${f32(1 - beta)} / tensors[tag].w;` : ""}`,
    leaveAlone: `c.w == ${LEFT_ALONE}`,
    // The buffers change places whatever happens, so a tensor that keeps its h0 has it moved along.
    otherwise: written ? undefined : "gradients[i] = h0[i];",
    statements: `
    let u = g${decay ? ` + ${f32(weightDecay)} * theta[i]` : ""};
    let h = ${average ? "mix(h0[i], u, weight)" : "u"};
    let v = c.x * v0[i] + c.y * h + c.z * h0[i];
    v0[i] = v;
    ${written ? "h0[i] = h;" : ""}
    ${orthogonal ? "gradients[i] =" : "theta[i] -= c.w *"} (v + ${f32(q)} * h);`,
  };
}
