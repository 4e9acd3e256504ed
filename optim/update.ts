/**
 * The update phase of a step: every optimizer's sums over its gradients, the statistics of the whole step, and
 * every optimizer's update.
 *
 * @module
 */
import type { Graph, UpdateSegment } from "../gpu/graph.ts";
import { rowBlocks, type Tensor } from "../gpu/tensor.ts";
import { f32 } from "../gpu/wgsl.ts";
import { elementwise } from "../ops/elementwise.ts";
import { recordStatistics, type StatisticsInputs } from "./clip.ts";
import type { Optimizer, RecordedUpdate, UpdateInputs, UpdateRecording } from "./optimizer.ts";
import type { OptimizerPartition } from "./partition.ts";

/** An optimizer that owns parameters, and what it recorded. */
export interface ActiveOptimizer {
  /** The optimizer. */
  readonly optimizer: Optimizer;
  /** Name of the input for its scalars. */
  readonly input: string;
  /** What it recorded. */
  readonly update: RecordedUpdate;
}

/**
 * Records the update phase of a graph whose backward pass is recorded.
 *
 * @param g The training graph.
 * @param partition Which optimizer owns what; those that own nothing are left out.
 * @param inputs The step's losses, and where to clip.
 */
export function recordUpdates(
  g: Graph,
  partition: OptimizerPartition,
  inputs: Omit<StatisticsInputs, "squares">,
): {
  readonly optimizers: ActiveOptimizer[];
  readonly statistics: Tensor;
  readonly segments: UpdateSegment[];
} {
  const groups = g.beginUpdate(partition.groups(g.parameters.all));
  undoLossScale(g, groups.flat());
  const begun = partition.optimizers.flatMap((optimizer, i) => {
    if (groups[i].length === 0) return [];
    const recording = optimizer.record(g, { prefix: optimizer.name, segments: groups[i] });
    return [{ optimizer, recording, squares: firstPart(recording, optimizer) }];
  });
  const squares = begun.map((b) => b.squares);
  const statistics = recordStatistics(g, { ...inputs, squares });
  const optimizers = begun.map(({ optimizer, recording }) => {
    const input = `${optimizer.name}.scalars`;
    const scalars = g.input(input, [optimizer.scalarCount], "f32", "step");
    return { optimizer, input, update: lastPart(recording, { statistics, scalars }, optimizer) };
  });
  return { optimizers, statistics, segments: groups.flat() };
}

/** Records what brings gradients back to those of the loss itself; see `Graph.scaleLoss`. */
function undoLossScale(g: Graph, segments: readonly UpdateSegment[]): void {
  if (g.lossScale === 1) return;
  const statements = `out[i] *= ${f32(1 / g.lossScale)};`;
  for (const { gradients, length } of segments) {
    for (const [start, end] of rowBlocks(length, 4, g.profile.maxBindingBytes)) {
      elementwise(g, { label: "undo_loss_scale", out: gradients.rows(start, end), statements });
    }
  }
}

/** Runs a recording to the sums that it yields. */
function firstPart(recording: UpdateRecording, { name }: Optimizer): Tensor {
  const { done, value } = recording.next();
  if (done) throw new TypeError(`${name}: record() must yield the sums of its gradients' squares, got none`);
  return value;
}

/** Runs the rest of a recording. */
function lastPart(recording: UpdateRecording, inputs: UpdateInputs, { name }: Optimizer): RecordedUpdate {
  const { done, value } = recording.next(inputs);
  if (!done) throw new TypeError(`${name}: record() must yield once, got a second ${value.label}`);
  return value;
}
