/**
 * What optimizers need to know of a step beside gradients, as scalars on the GPU: the loss, its spread over
 * the batch's sequences, the norm of all gradients and the factor that clips it (Pascanu et al., arXiv
 * 1211.5063).
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { f32, isFiniteWgsl, mainInputs, opaque } from "../gpu/wgsl.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { STATISTICS, STATISTICS_SIZE } from "./optimizer.ts";

/** What {@linkcode recordStatistics} takes. */
export interface StatisticsInputs {
  /** Mean loss of each micro-batch, [microBatches, 1]. */
  readonly losses: Tensor;
  /** Mean loss of each sequence, [microBatches, B]. */
  readonly sequenceLosses: Tensor;
  /** Partial sums of the squares of all gradients: column 0 of what each optimizer's recording yields. */
  readonly squares: readonly Tensor[];
  /** Largest norm of all gradients together; 0 does not clip. */
  readonly clip: number;
}

/**
 * Records the statistics of a step.
 *
 * @returns f32 [8]; see {@linkcode STATISTICS} for what is where.
 * @throws {RangeError} If `clip` is negative or not finite.
 */
export function recordStatistics(g: Graph, inputs: StatisticsInputs): Tensor {
  const { losses, sequenceLosses, squares, clip } = inputs;
  if (!(Number.isFinite(clip) && clip >= 0)) {
    throw new RangeError(`clip must be a finite number of at least 0 (0 does not clip), got ${clip}`);
  }
  const statistics = g.output("statistics", [STATISTICS_SIZE]);
  g.dispatch({
    label: "statistics",
    read: {
      losses,
      sequence_losses: sequenceLosses,
      ...Object.fromEntries(squares.map((partials, o) => [`squares${o}`, partials])),
    },
    write: { statistics },
    constants: { STEPS: losses.size, SEQUENCES: sequenceLosses.size },
    workgroups: [1, 1, 1],
    body: `${isFiniteWgsl}
var<workgroup> shared_sums: array<vec4f, 64>;
fn reduce(v: vec4f, lane: u32) -> vec4f {
  workgroupBarrier();
  shared_sums[lane] = v;
  workgroupBarrier();
  var sum = vec4f();
  for (var other = 0u; other < 64u; other++) { sum += shared_sums[other]; }
  return sum;
}
@compute @workgroup_size(64) fn main(${mainInputs}) {
  var sums = vec4f(); // squares of gradients, losses, sequence losses, their squares
  ${
      squares.map(({ shape: [count, width] }, o) => {
        return `for (var c = lane; c < ${opaque(count)}; c += 64u) { sums.x += squares${o}[c * ${width}u]; }`;
      }).join("\n  ")
    }
  for (var m = lane; m < STEPS; m += 64u) { sums.y += losses[m]; }
  for (var s = lane; s < SEQUENCES; s += 64u) {
    sums.z += sequence_losses[s];
    sums.w += sequence_losses[s] * sequence_losses[s];
  }
  let all = reduce(sums, lane);
  let mean = all.z / ${f32(sequenceLosses.size)};
  // In two passes: losses are close together, and the difference of two large sums would be mostly rounding.
  var spread = 0.0;
  for (var s = lane; s < SEQUENCES; s += 64u) {
    let d = sequence_losses[s] - mean;
    spread += d * d;
  }
  let variance = reduce(vec4f(spread), lane).x / ${f32(sequenceLosses.size)};
  if (lane != 0u) { return; }
  let loss = all.y / ${f32(losses.size)};
  let norm = sqrt(all.x);
  statistics[${STATISTICS.loss}] = loss;
  statistics[${STATISTICS.lossVariance}] = variance;
  statistics[${STATISTICS.lossSecondMoment}] = all.w / ${f32(sequenceLosses.size)};
  statistics[${STATISTICS.gradientNorm}] = norm;
  statistics[${STATISTICS.gradientScale}] = ${clip > 0 ? `min(1.0, ${f32(clip)} / (norm + 1e-6))` : "1.0"};
  statistics[${STATISTICS.skip}] = select(1.0, 0.0, is_finite(loss) && is_finite(norm));
}`,
  });
  return statistics;
}
