/**
 * Output head and softmax cross-entropy in one op, without the full logits matrix:
 *
 * z = x W^T, loss_n = log sum_v exp(z_nv) - z_n,target(n), loss = mean of loss_n over the counted targets.
 *
 * Rows are taken in chunks. Since the loss is where backward starts, dz = (softmax(z) - onehot) / count is
 * known at once: it overwrites the chunk's logits, and dx = dz W and dW += dz^T x follow before the next
 * chunk. What the backward pass still has to do is hand dx on.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { expectShape, type Tensor } from "../gpu/tensor.ts";
import { vectorType } from "./column_sum.ts";
import { passGradient } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { transpose } from "./transpose.ts";
import { rowLayout } from "./rows.ts";

/** A target that does not count: neither in the loss nor in the mean. Any id past the vocabulary acts so. */
export const IGNORED_TARGET = 0xffffffff;

/** The most bytes that a chunk of logits takes. */
const CHUNK_BYTES = 32 << 20;

/** What {@linkcode linearCrossEntropy} gives. */
export interface CrossEntropy {
  /** [1]: mean over all counted targets. */
  readonly loss: Tensor;
  /** [B]: mean over the counted targets of each sequence; 0 for a sequence without any. */
  readonly sequenceLosses: Tensor;
  /** [B]: number of counted targets of each sequence, as f32. */
  readonly sequenceCounts: Tensor;
}

/**
 * Computes logits and their mean cross-entropy, and when training its gradients, scaled by the number of
 * micro-batches of the step so that they add up to the step's mean.
 *
 * @param g The graph to record in.
 * @param x Final hidden states, [B, T, C].
 * @param weight Output head, [V, C]; the token embedding itself when tied.
 * @param targets u32 [B, T]; {@linkcode IGNORED_TARGET} does not count.
 * @returns Losses in nats.
 * @throws {TypeError} If the shapes do not fit.
 */
export function linearCrossEntropy(g: Graph, x: Tensor, weight: Tensor, targets: Tensor): CrossEntropy {
  expectShape("linearCrossEntropy", "x", x, [null, null, null]);
  const [batch, length, channels] = x.shape; // B, T, C
  expectShape("linearCrossEntropy", "weight", weight, [null, channels]);
  expectShape("linearCrossEntropy", "targets", targets, [batch, length], "u32");
  const vocab = weight.shape[0]; // V
  const rows = batch * length; // N

  // Row by row of the batch: how many targets count, and 1 / their total.
  const sequenceCounts = g.activation("sequence_counts", [batch]);
  const inverseCount = g.activation("inverse_count", [1]);
  const layout = rowLayout(g.profile, batch);
  g.dispatch({
    label: "count_targets",
    read: { targets },
    write: { counts: sequenceCounts },
    workgroups: layout.workgroups,
    body: layout.main(
      "",
      `
  var part = 0.0;
  for (var c = lane; c < ${length}u * one; c += LANES) {
    part += select(0.0, 1.0, targets[row * ${length}u + c] < ${vocab}u);
  }
  let sum = row_sum(part);
  if (lane == 0u) { counts[row] = sum; }`,
    ),
  });
  reduceOne(g, "count_all_targets", { counts: sequenceCounts }, inverseCount, batch, {
    value: "counts[c]",
    result: "1.0 / max(sum, 1.0)",
  });

  const dx = g.training && x.requiresGradient ? g.activation("head.dx", [rows, channels]) : undefined;
  const dw = g.training ? g.gradientTarget(weight) : undefined;
  const headT = transpose(g, weight, vocab, channels); // [C, V]
  const losses = g.activation("losses", [rows]);
  // Chunks start at multiples of 64 rows, which are aligned for any number of channels.
  const limit = Math.min(CHUNK_BYTES, g.profile.maxBindingBytes);
  const chunkRows = Math.min(rows, Math.max(64, Math.floor(limit / (vocab * 4) / 64) * 64));
  const flat = x.reshape(rows, channels);
  for (let start = 0; start < rows; start += chunkRows) {
    const end = Math.min(start + chunkRows, rows);
    const m = end - start;
    const part = flat.rows(start, end);
    const logits = g.activation("logits", [m, vocab]);
    matmul(g, { m, n: vocab, k: channels, a: part, b: headT, out: logits });
    softmaxLoss(g, {
      logits,
      targets: targets.reshape(rows).rows(start, end),
      losses: losses.rows(start, end),
      inverseCount,
      withGradient: dx !== undefined || dw !== undefined,
    });
    if (dx) matmul(g, { m, n: channels, k: vocab, a: logits, b: weight, out: dx.rows(start, end) });
    if (dw) {
      const { tensor: out, accumulate } = dw;
      matmul(g, {
        m: vocab,
        n: channels,
        k: m,
        a: logits,
        transposedA: true,
        b: part,
        out,
        accumulate: accumulate || start > 0,
      });
    }
  }
  g.tape(() => {
    if (dx) passGradient(g, x, dx.reshape(...x.shape));
  });

  const sequenceLosses = g.activation("sequence_losses", [batch]);
  g.dispatch({
    label: "sequence_losses",
    read: { losses, counts: sequenceCounts },
    write: { sequence_losses: sequenceLosses },
    workgroups: layout.workgroups,
    body: layout.main(
      "",
      `
  var part = 0.0;
  for (var c = lane; c < ${length}u * one; c += LANES) { part += losses[row * ${length}u + c]; }
  let sum = row_sum(part);
  if (lane == 0u) { sequence_losses[row] = sum / max(counts[row], 1.0); }`,
    ),
  });
  const loss = g.activation("loss", [1]);
  const read = { losses: sequenceLosses, counts: sequenceCounts, inverse_count: inverseCount };
  reduceOne(g, "mean_loss", read, loss, batch, {
    value: "losses[c] * counts[c]",
    result: "sum * inverse_count[0]",
  });
  return { loss, sequenceLosses, sequenceCounts };
}

/** Sums `value` over c < count in one workgroup and writes `result`. */
function reduceOne(
  g: Graph,
  label: string,
  read: Readonly<Record<string, Tensor>>,
  out: Tensor,
  count: number,
  wgsl: { value: string; result: string },
): void {
  const layout = rowLayout(g.profile, 1);
  g.dispatch({
    label,
    read,
    write: { out },
    workgroups: layout.workgroups,
    body: layout.main(
      "",
      `
  var part = 0.0;
  for (var c = lane; c < ${count}u * one; c += LANES) { part += ${wgsl.value}; }
  let sum = row_sum(part);
  if (lane == 0u) { out[0] = ${wgsl.result}; }`,
    ),
  });
}

/** Losses of some rows; with a gradient, the logits are replaced by it. */
function softmaxLoss(g: Graph, options: {
  logits: Tensor;
  targets: Tensor;
  losses: Tensor;
  inverseCount: Tensor;
  withGradient: boolean;
}): void {
  const { logits, targets, losses, inverseCount, withGradient } = options;
  const [rows, vocab] = logits.shape;
  const { width, wgsl, wrap } = vectorType(vocab);
  const layout = rowLayout(g.profile, rows);
  const perRow = vocab / width;
  const largest = width === 4 ? "max(max(z.x, z.y), max(z.z, z.w))" : "z";
  const pick = width === 4 ? "logits[start + target_id / 4u][target_id % 4u]" : "logits[start + target_id]";
  const subtract = width === 4
    ? `d[target_id % 4u] -= select(0.0, scale, c == target_id / 4u);`
    : `d -= select(0.0, scale, c == target_id);`;
  g.dispatch({
    label: withGradient ? "softmax_cross_entropy_gradient" : "softmax_cross_entropy",
    read: withGradient ? { targets, inverse_count: inverseCount } : { targets },
    write: { logits: wrap(logits), losses },
    constants: { PER_ROW: perRow },
    workgroups: layout.workgroups,
    body: layout.main(
      wgsl,
      `
  let start = row * PER_ROW;
  let counts = targets[row] < ${vocab}u;
  let target_id = min(targets[row], ${vocab - 1}u);
  var part = -3.0e38;
  for (var c = lane; c < PER_ROW * one; c += LANES) {
    let z = logits[start + c];
    part = max(part, ${largest});
  }
  let top = row_max(part);
  var sum = V();
  for (var c = lane; c < PER_ROW * one; c += LANES) { sum += exp(logits[start + c] - V(top)); }
  let all = row_sum(total(sum));
  if (lane == 0u) { losses[row] = select(0.0, top + log(all) - ${pick}, counts); }
  ${
        withGradient
          ? `
  let scale = select(0.0, inverse_count[0] / ${g.microBatches}.0, counts);
  let factor = scale / all;
  // The loss above reads the target's logit before it is overwritten.
  ${layout.lanes > 1 ? "storageBarrier();" : ""}
  for (var c = lane; c < PER_ROW * one; c += LANES) {
    var d = exp(logits[start + c] - V(top)) * V(factor);
    ${subtract}
    logits[start + c] = d;
  }`
          : ""
      }`,
    ),
  });
}
