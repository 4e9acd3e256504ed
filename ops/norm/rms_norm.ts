/**
 * Root mean square normalisation over the last dimension (arXiv 1910.07467):
 *
 * y = x / sqrt(mean(x^2) + eps) * w.
 *
 * Backward, with r = 1 / sqrt(mean(x^2) + eps), n = x r and d = dy w:
 * dx = r (d - n mean(d n)), dw += sum over rows of dy n.
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
 * Divides each row by its root mean square.
 *
 * @param g The graph to record in.
 * @param x [..., C].
 * @param weight Gain, [C].
 * @param eps Added to the mean square; default 1e-6.
 * @returns [..., C].
 * @throws {TypeError} If the shapes do not fit.
 */
export function rmsNorm(g: Graph, x: Tensor, weight: Tensor, eps = 1e-6): Tensor {
  const channels = x.shape[x.shape.length - 1]; // C
  expectShape("rmsNorm", "x", x, x.shape);
  expectShape("rmsNorm", "weight", weight, [channels]);
  const rows = x.size / channels; // N
  const { width, wgsl, wrap } = vectorType(channels);
  const constants = { PER_ROW: channels / width };
  const y = g.activation("rms_norm", x.shape, [x, weight]);
  const scale = g.activation("rms_norm.scale", [rows]); // r

  g.dispatch({
    label: "rms_norm_forward",
    read: { x: wrap(x), weight: wrap(weight) },
    write: { y: wrap(y), scale },
    constants,
    ...perRow(g.profile, {
      rows,
      functions: wgsl,
      statements: `let start = row * PER_ROW;
  var squares = V();
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) {
    let value = x[start + c];
    squares += value * value;
  }
  let r = 1.0 / sqrt(row_sum(total(squares)) / ${f32(channels)} + ${f32(eps)});
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) { y[start + c] = x[start + c] * V(r) * weight[c]; }
  if (lane == 0u) { scale[row] = r; }`,
    }),
  });

  g.tape(() => {
    const dy = g.gradientOf(y);
    if (!dy) return;
    const dw = g.gradientTarget(weight);
    if (dw) {
      columnSums(g, {
        label: "rms_norm_weight_gradient",
        rows,
        columns: channels,
        read: { x, dy },
        extra: { scale },
        sums: [{ value: "dy[i] * x[i] * V(scale[row])", into: dw }],
      });
    }
    const dx = g.gradientTarget(x);
    if (!dx) return;
    g.dispatch({
      label: "rms_norm_backward",
      read: { x: wrap(x), dy: wrap(dy), weight: wrap(weight), scale },
      write: { dx: wrap(dx.tensor) },
      constants,
      ...perRow(g.profile, {
        rows,
        functions: wgsl,
        statements: `let start = row * PER_ROW;
  let r = scale[row];
  var projection = V();
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) {
    projection += dy[start + c] * weight[c] * x[start + c];
  }
  // n mean(d n) = x r^2 mean(d x)
  let along = r * r * (row_sum(total(projection)) / ${f32(channels)});
  for (var c = lane; c < ${opaque("PER_ROW")}; c += LANES) {
    let i = start + c;
    dx[i] ${dx.accumulate ? "+=" : "="} V(r) * (dy[i] * weight[c] - V(along) * x[i]);
  }`,
      }),
    });
  });
  return y;
}
