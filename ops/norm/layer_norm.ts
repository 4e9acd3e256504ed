/**
 * Layer normalisation over the last dimension (arXiv 1607.06450):
 *
 * y = (x - mean) / sqrt(var + eps) * w + b, with the population variance.
 *
 * Backward, with n = (x - mean) rstd and d = dy w:
 * dx = rstd (d - mean(d) - n mean(d n)), dw += sum over rows of dy n, db += sum over rows of dy.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { expectShape, type Tensor } from "../../gpu/tensor.ts";
import { f32, opaque } from "../../gpu/wgsl.ts";
import { columnSums } from "../matmul/column_sum.ts";
import { perRow } from "../rows.ts";
import { vectorType } from "../vector_type.ts";

/**
 * Normalises each row.
 *
 * @param g The graph to record in.
 * @param x [..., C].
 * @param weight Gain, [C].
 * @param bias Shift, [C].
 * @param eps Added to the variance; default 1e-5.
 * @returns [..., C].
 * @throws {TypeError} If the shapes do not fit.
 */
export function layerNorm(g: Graph, x: Tensor, weight: Tensor, bias: Tensor, eps = 1e-5): Tensor {
  const channels = x.shape[x.shape.length - 1]; // C
  expectShape("layerNorm", "weight", weight, [channels]);
  expectShape("layerNorm", "bias", bias, [channels]);
  const rows = x.size / channels; // N
  const { width, wgsl, wrap } = vectorType(channels);
  const constants = { PER_ROW: channels / width };
  const y = g.activation("layer_norm", x.shape, [x, weight, bias]);
  const stats = g.activation("layer_norm.stats", [rows, 2]); // mean and 1 / standard deviation

  g.dispatch({
    label: "layer_norm_forward",
    read: { x: wrap(x), weight: wrap(weight), bias: wrap(bias) },
    write: { y: wrap(y), stats },
    constants,
    ...perRow(g.profile, {
      rows,
      functions: wgsl,
      statements: `let start = row * PER_ROW;
  var sum = V();
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) { sum += x[start + c]; }
  let mean = row_sum(total(sum)) / ${f32(channels)};
  var squares = V();
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) {
    let centred = x[start + c] - V(mean);
    squares += centred * centred;
  }
  let rstd = 1.0 / sqrt(row_sum(total(squares)) / ${f32(channels)} + ${f32(eps)});
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) {
    y[start + c] = (x[start + c] - V(mean)) * V(rstd) * weight[c] + bias[c];
  }
  if (lane == 0u) {
    stats[row * 2u] = mean;
    stats[row * 2u + 1u] = rstd;
  }`,
    }),
  });

  g.tape(() => {
    const dy = g.gradientOf(y);
    if (dy) recordBackward(g, { x, weight, bias, stats, dy });
  });
  return y;
}

/** Gradients of weight, bias and x from that of y. */
function recordBackward(
  g: Graph,
  { x, weight, bias, stats, dy }: Record<"x" | "weight" | "bias" | "stats" | "dy", Tensor>,
): void {
  const channels = weight.size;
  const rows = x.size / channels;
  const { width, wgsl, wrap } = vectorType(channels);
  const constants = { PER_ROW: channels / width };
  const normalised = "(x[i] - V(stats[row * 2u])) * V(stats[row * 2u + 1u])";
  const [dw, db] = [g.gradientTarget(weight), g.gradientTarget(bias)];
  if (dw || db) {
    columnSums(g, {
      label: "layer_norm_weight_gradients",
      rows,
      columns: channels,
      read: dw ? { x, dy } : { dy },
      extra: dw ? { stats } : {},
      sums: [
        ...(dw ? [{ value: `dy[i] * ${normalised}`, into: dw }] : []),
        ...(db ? [{ value: "dy[i]", into: db }] : []),
      ],
    });
  }
  const dx = g.gradientTarget(x);
  if (!dx) return;
  g.dispatch({
    label: "layer_norm_backward",
    read: { x: wrap(x), dy: wrap(dy), weight: wrap(weight), stats },
    write: { dx: wrap(dx.tensor) },
    constants,
    ...perRow(g.profile, {
      rows,
      functions: wgsl,
      statements: `let start = row * PER_ROW;
  let rstd = stats[row * 2u + 1u];
  var sum = V();
  var projection = V();
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) {
    let i = start + c;
    let d = dy[i] * weight[c];
    sum += d;
    projection += d * ${normalised};
  }
  let mean_d = row_sum(total(sum)) / ${f32(channels)};
  let mean_dn = row_sum(total(projection)) / ${f32(channels)};
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) {
    let i = start + c;
    dx[i] ${
        dx.accumulate ? "+=" : "="
      } V(rstd) * (dy[i] * weight[c] - V(mean_d) - V(mean_dn) * ${normalised});
  }`,
    }),
  });
}
