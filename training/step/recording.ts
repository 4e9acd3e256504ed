/**
 * The recording behind a `Trainer`: loss, gradients, clipping, optimizers and metrics. It needs no
 * GPU, so that a step's memory can be planned without one.
 *
 * @module
 */
import type { Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import type { Precision } from "../../gpu/precision/precision.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { Optimizer, OwnedState } from "../../optim/optimizer.ts";
import { type OptimizerPartition, partition } from "../../optim/partition.ts";
import { recordUpdates } from "../../optim/update.ts";

/** Values of the inputs of one micro-batch, by name. */
export type StepInputs = Readonly<Record<string, Float32Array | Uint32Array>>;

/** What a recorded loss gives to the step. */
export interface RecordedLoss {
  /** [1]: what is minimised, a mean. */
  readonly loss: Tensor;
  /** [B]: the mean of each sequence (or sample), from which KOALA++ takes its measurement noise. */
  readonly sequenceLosses: Tensor;
  /**
   * How many samples, such as targets, the loss of a micro-batch is the mean of. Given this, a step of several
   * micro-batches whose loss is `linearCrossEntropy`'s is that of one large batch: every sample weighs the same.
   * Default: every micro-batch weighs the same.
   */
  readonly sampleCount?: (inputs: StepInputs) => number;
}

/** Options of `Trainer.create`. */
export interface TrainerOptions {
  /** Records inputs, forward pass and loss. */
  readonly record: (g: Graph) => RecordedLoss;
  /** One optimizer for all parameters, or a partition. */
  readonly optimizer: Optimizer | OptimizerPartition;
  /** Micro-batches per step, whose gradients are averaged, see {@linkcode RecordedLoss.sampleCount}; default 1. */
  readonly gradAccum?: number;
  /** Largest norm of all gradients together; default 0: no clipping. */
  readonly clip?: number;
  /** Seed of the starting weights and of dropout; default 0. */
  readonly seed?: number;
  /**
   * Whether blocks compute their activations again for the backward pass instead of keeping them: about a
   * quarter more time for much less memory, and the same weights bit for bit; default false.
   */
  readonly recompute?: boolean;
  /**
   * How activations, their gradients and what products read of the weights are stored; weights, their gradients and the
   * optimizers' state stay f32. Default f32; f16 needs an adapter with `shader-f16`.
   */
  readonly precision?: Precision;
  /** Kernels to use, by what they are for, as `tuneKernels` measured them; default each adapter's usual ones. */
  readonly kernels?: Readonly<Record<string, string>>;
}

/** Steps whose metrics the GPU keeps until they are read. */
export const RING_SLOTS = 64;

/** A recorded training step. */
export interface RecordedStep {
  /** The recording. */
  readonly graph: Graph;
  /** What the loss says of its samples. */
  readonly sampleCount: RecordedLoss["sampleCount"];
  /** The optimizers that own parameters, and the names of their inputs. */
  readonly optimizers: readonly { readonly optimizer: Optimizer; readonly input: string }[];
  /** [{@linkcode RING_SLOTS}, ...]: statistics and summaries of the last steps. */
  readonly ring: Tensor;
  /** Names of the summaries. */
  readonly names: readonly string[];
  /** State of the optimizers. */
  readonly state: readonly OwnedState[];
}

/**
 * Records a training step.
 *
 * @param profile The adapter that it is for.
 * @param options See {@linkcode TrainerOptions}; the seed is not needed here.
 * @throws {TypeError} If shapes do not fit.
 * @throws {RangeError} If an option is out of range or a tensor is too large for the adapter.
 */
export function recordStep(profile: Profile, options: TrainerOptions): RecordedStep {
  const { gradAccum = 1, clip = 0, recompute = false } = options;
  if (!(Number.isInteger(gradAccum) && gradAccum >= 1)) {
    throw new RangeError(`gradAccum must be a positive integer, got ${gradAccum}`);
  }
  const rules = "optimizers" in options.optimizer
    ? options.optimizer
    : partition([{ optimizer: options.optimizer }]);
  const { kernels: choices, precision } = options;
  const graph = new Graph({
    profile,
    training: true,
    microBatches: gradAccum,
    recompute,
    choices,
    precision,
  });
  const { loss, sequenceLosses, sampleCount } = options.record(graph);
  graph.backward();
  const [losses, allSequenceLosses] = [graph.collect(loss), graph.collect(sequenceLosses)];

  const { optimizers, statistics } = recordUpdates(graph, rules, {
    losses,
    sequenceLosses: allSequenceLosses,
    clip,
  });
  const summaries = optimizers.flatMap(({ update }) => (update.summary ? [update.summary] : []));
  const ring = recordMetrics(graph, statistics, summaries.map((s) => s.tensor));
  return {
    graph,
    sampleCount,
    optimizers,
    ring,
    names: summaries.flatMap((s) => s.names),
    state: optimizers.flatMap(({ update }) => update.state),
  };
}

/**
 * What each micro-batch of a step weighs; on average 1.
 *
 * @param microBatches The inputs of each.
 * @param sampleCount See {@linkcode RecordedLoss.sampleCount}.
 */
export function microWeights(
  microBatches: readonly StepInputs[],
  sampleCount: RecordedLoss["sampleCount"],
): number[] {
  const counts = microBatches.map((inputs) => sampleCount?.(inputs) ?? 1);
  const total = counts.reduce((a, b) => a + b, 0);
  // Without any sample there is nothing to weigh.
  return counts.map((count) => total > 0 ? microBatches.length * count / total : 1);
}

/** Records copies of the step's numbers into a ring, so that the host may read them many steps later. */
function recordMetrics(g: Graph, statistics: Tensor, summaries: readonly Tensor[]): Tensor {
  const sources = [statistics, ...summaries];
  const width = sources.reduce((sum, t) => sum + t.size, 0);
  const ring = g.output("metrics", [RING_SLOTS, width]);
  const slot = g.input("metrics_slot", [1], "u32", "step");
  let offset = 0;
  const copies = sources.map((t, s) => {
    const copy = `for (var i = 0u; i < ${t.size}u; i++) { ring[at + ${offset}u + i] = source${s}[i]; }`;
    offset += t.size;
    return copy;
  });
  g.dispatch({
    label: "metrics",
    read: { slot, ...Object.fromEntries(sources.map((t, s) => [`source${s}`, t])) },
    write: { ring },
    workgroups: [1, 1, 1],
    body: `
@compute @workgroup_size(1) fn main() {
  let at = slot[0] * ${width}u;
  ${copies.join("\n  ")}
}`,
  });
  return ring;
}
