/**
 * Output head and softmax cross-entropy in one op, without the full logits matrix:
 *
 * z = x W^T, loss_n = log sum_v exp(z_nv) - z_n,target(n), loss = mean of loss_n over the counted targets.
 *
 * Positions are taken in chunks. Since the loss is where backward starts, dz = (softmax(z) - onehot) / count is
 * known at once: it overwrites the chunk's logits, and dx = dz W and dW += dz^T x follow before the next
 * chunk. What the backward pass still has to do is hand dx on.
 *
 * Logits lie as [V, N]. So no product needs a transposed copy of W, which can be the largest tensor of all, an odd
 * vocabulary costs nothing, and a head larger than a binding is taken in blocks of its rows.
 *
 * @module
 */
import type { Profile } from "../../gpu/device.ts";
import type { Graph } from "../../gpu/graph.ts";
import { expectShape, rowBlocks, type Tensor } from "../../gpu/tensor.ts";
import { opaque } from "../../gpu/wgsl.ts";
import { passGradient } from "../elementwise.ts";
import { inPrecision } from "../in_precision.ts";
import { matmul } from "../matmul/matmul.ts";
import { padded } from "../matmul/transpose.ts";
import { perRow } from "../rows.ts";
import { softmaxLoss } from "./softmax_loss.ts";

/**
 * The input that weighs a micro-batch among those of its step, f32 [1]: its share of all targets that count, times
 * the number of micro-batches. There is none where a step has a single one.
 */
export const MICRO_WEIGHT = "micro_weight";

/**
 * The most bytes that a chunk of logits takes. Every chunk reads the head twice and its gradient once and writes that:
 * with GPT-2's vocabulary and 8,192 tokens on a GPU five times 0.6 GB, beside 10 GB for the logits themselves, so that
 * larger chunks would save little. WebGPU does not tell how much memory a GPU has; 320 MiB are a small share of
 * what the activations of so many tokens take. On the CPU caches count.
 */
const chunkBytes = (profile: Profile) =>
  Math.min(profile.isSoftware ? 32 << 20 : 320 << 20, profile.maxBindingBytes);

/** What {@linkcode linearCrossEntropy} gives. */
export interface CrossEntropy {
  /** [1]: mean over all counted targets; of one of several micro-batches times its {@linkcode MICRO_WEIGHT}. */
  readonly loss: Tensor;
  /** [B]: mean over the counted targets of each sequence; 0 for a sequence without any. */
  readonly sequenceLosses: Tensor;
  /** [B]: number of counted targets of each sequence, as f32. */
  readonly sequenceCounts: Tensor;
}

/**
 * Computes logits and their mean cross-entropy, and when training its gradients, scaled by the number of
 * micro-batches of the step and by this one's weight so that they add up to those of the mean over the step's targets.
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

  const { sequenceCounts, inverseCount } = countTargets(g, targets, vocab);
  const dx = g.training && x.requiresGradient
    ? g.activation("head.dx", [rows, channels], [], x.dtype)
    : undefined;
  const dw = g.training ? g.gradientTarget(weight) : undefined;
  const lossScale = g.scaleLoss(rows);
  const losses = g.activation("losses", [rows]);
  // Chunks and blocks start at multiples of 64 rows, which are aligned whatever the length of a row.
  const blocks = headBlocks(g, weight);
  const flat = x.reshape(rows, channels);
  const head = inPrecision(g, weight);
  // Where a kernel wants a chunk transposed, its rows are padded.
  for (const [start, end] of rowBlocks(rows, padded(vocab) * 4, chunkBytes(g.profile))) {
    const m = end - start;
    const part = flat.rows(start, end); // [m, C]
    const logits = g.activation("logits", [vocab, m], [x, weight]);
    recordLogits(g, part, head, logits);
    softmaxLoss(g, {
      logits,
      targets: targets.reshape(rows).rows(start, end),
      losses: losses.rows(start, end),
      inverseCount,
      lossScale,
      withGradient: dx !== undefined || dw !== undefined,
    });
    for (const [v0, v1] of blocks) {
      const [dz, k] = [logits.rows(v0, v1), v1 - v0];
      if (dx) {
        const [b, out] = [head.rows(v0, v1), dx.rows(start, end)];
        matmul(g, { m, n: channels, k, a: dz, transposedA: true, b, out, accumulate: v0 > 0 });
      }
      if (dw) {
        const [out, accumulate] = [dw.tensor.rows(v0, v1), dw.accumulate || start > 0];
        matmul(g, { m: k, n: channels, k: m, a: dz, b: part, out, accumulate });
      }
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
    ...perRow(g.profile, {
      rows: batch,
      statements: `var part = 0.0;
  for (var c = lane; c < ${opaque(length)}; c += LANES) { part += losses[row * ${length}u + c]; }
  let sum = row_sum(part);
  if (lane == 0u) { sequence_losses[row] = sum / max(counts[row], 1.0); }`,
    }),
  });
  const loss = g.activation("loss", [1]);
  const read = { losses: sequenceLosses, counts: sequenceCounts, inverse_count: inverseCount };
  reduceOne(g, "mean_loss", read, loss, batch, {
    value: "losses[c] * counts[c]",
    result: "sum * inverse_count[0]",
  });
  return { loss, sequenceLosses, sequenceCounts };
}

/** How many targets count in each sequence, and 1 / their total, times the micro-batch's weight where there is one. */
function countTargets(
  g: Graph,
  targets: Tensor,
  vocab: number,
): { readonly sequenceCounts: Tensor; readonly inverseCount: Tensor } {
  const [batch, length] = targets.shape;
  const sequenceCounts = g.activation("sequence_counts", [batch]);
  const inverseCount = g.activation("inverse_count", [1]);
  g.dispatch({
    label: "count_targets",
    read: { targets },
    write: { counts: sequenceCounts },
    ...perRow(g.profile, {
      rows: batch,
      statements: `var part = 0.0;
  for (var c = lane; c < ${opaque(length)}; c += LANES) {
    part += select(0.0, 1.0, targets[row * ${length}u + c] < ${vocab}u);
  }
  let sum = row_sum(part);
  if (lane == 0u) { counts[row] = sum; }`,
    }),
  });
  const weighed = g.training && g.microBatches > 1;
  const counts: Record<string, Tensor> = { counts: sequenceCounts };
  if (weighed) counts.weight = g.input(MICRO_WEIGHT, [1], "f32");
  reduceOne(g, "count_all_targets", counts, inverseCount, batch, {
    value: "counts[c]",
    result: `${weighed ? "weight[0]" : "1.0"} / max(sum, 1.0)`,
  });
  return { sequenceCounts, inverseCount };
}

/**
 * Logits of few positions, as generation needs them.
 *
 * @param g The graph to record in.
 * @param x Final hidden states, [N, C].
 * @param weight Output head, [V, C].
 * @returns [N, V] without a gradient; where the head is larger than a binding, the blocks of columns that together
 * are that.
 * @throws {TypeError} If the shapes do not fit.
 */
export function headLogits(g: Graph, x: Tensor, weight: Tensor): Tensor[] {
  expectShape("headLogits", "x", x, [null, null]);
  expectShape("headLogits", "weight", weight, [null, x.shape[1]]);
  const [m, k] = x.shape;
  return headBlocks(g, weight).map(([v0, v1]) => {
    const out = g.activation("logits", [m, v1 - v0]);
    matmul(g, { m, n: v1 - v0, k, a: x, b: weight.rows(v0, v1), transposedB: true, out });
    return out;
  });
}

/** [V, N] = W x^T, by blocks of W that one binding can hold. */
function recordLogits(g: Graph, x: Tensor, weight: Tensor, logits: Tensor): void {
  const [n, k] = x.shape;
  for (const [v0, v1] of headBlocks(g, weight)) {
    const [a, out] = [weight.rows(v0, v1), logits.rows(v0, v1)];
    matmul(g, { m: v1 - v0, n, k, a, b: x, transposedB: true, out });
  }
}

function headBlocks(g: Graph, weight: Tensor): [number, number][] {
  const [vocab, channels] = weight.shape;
  return rowBlocks(vocab, channels * 4, g.profile.maxBindingBytes);
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
  g.dispatch({
    label,
    read,
    write: { out },
    ...perRow(g.profile, {
      rows: 1,
      statements: `var part = 0.0;
  for (var c = lane; c < ${opaque(count)}; c += LANES) { part += ${wgsl.value}; }
  let sum = row_sum(part);
  if (lane == 0u) { out[0] = ${wgsl.result}; }`,
    }),
  });
}
