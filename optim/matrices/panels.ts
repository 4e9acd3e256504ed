/**
 * Orthonormal columns on a GPU: modified Gram-Schmidt by panels of {@linkcode PANEL} columns. A workgroup for each
 * matrix makes a panel's columns orthonormal; many more take what lies along them from the columns behind:
 *
 * X <- X - P (P^T X).
 *
 * @module
 */
import { type Graph, vec4 } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { f32, list, mainInputs, opaque, perThread, unroll } from "../../gpu/wgsl.ts";
import { perRow } from "../../ops/rows.ts";

/** Columns that are taken together. */
const PANEL = 16;
const VECTORS = PANEL / 4;
/** Threads of a workgroup, and how many vectors of four columns one of them takes behind a panel. */
const THREADS = 128;
const COLUMNS = 4;

/** What {@linkcode orthonormalPanels} takes. */
export interface PanelOptions {
  /** A, f32 [count, size, size]; size is a multiple of 4. */
  readonly matrices: Tensor;
  /** A Q, which is overwritten. */
  readonly product: Tensor;
  /** Q. */
  readonly bases: Tensor;
  /** Q - I, which is updated, unless A's trace is not positive. */
  readonly stored: Tensor;
  /** Added to A / trace(A). */
  readonly shift: number;
  /** Nothing changes while the value at this index is 0. */
  readonly when: { readonly tensor: Tensor; readonly index: number };
}

/** Records Q <- the orthonormal columns of A Q / trace(A) + shift Q. */
export function orthonormalPanels(g: Graph, options: PanelOptions): void {
  const { matrices, product, bases, shift } = options;
  const [count, size] = matrices.shape;
  const scales = g.activation("eigenbasis.scales", [count]);
  g.dispatch({
    label: "inverse_traces",
    read: { matrices, sizes: g.sizes(size) },
    write: { scales },
    ...perRow(g.profile, {
      rows: count,
      statements: `let size = sizes[0];
  var part = 0.0;
  for (var i = lane; i < size; i += LANES) { part += matrices[(row * size + i) * size + i]; }
  let trace = row_sum(part);
  if (lane == 0u) { scales[row] = select(0.0, 1.0 / trace, trace > 0.0); }`,
    }),
  });
  g.dispatch({
    label: "shift_products",
    read: { bases: vec4(bases), scales },
    write: { x: vec4(product) },
    ...perThread({
      count: product.size / 4,
      statements: `x[i] = scales[i / ${size * size / 4}u] * x[i] + ${f32(shift)} * bases[i];`,
    }),
  });
  for (let from = 0; from < size; from += PANEL) {
    orthonormalPanel(g, options, scales, from);
    if (from + PANEL < size) projectBehind(g, options, from);
  }
}

/** A panel's columns, one after the other: what lies along it is taken from those after it. */
function orthonormalPanel(
  g: Graph,
  { product, stored, when }: PanelOptions,
  scales: Tensor,
  from: number,
): void {
  const [count, size] = product.shape;
  g.dispatch({
    label: "orthonormal_panel",
    read: { flags: when.tensor, scales, sizes: g.sizes(size, from / 4) },
    write: { x: vec4(product), stored: vec4(stored) },
    flops: 4 * count * size * PANEL ** 2,
    workgroups: [count, 1, 1],
    body: `
var<workgroup> sums: array<vec4f, ${THREADS * VECTORS}>;
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  if (flags[${when.index}] == 0.0) { return; }
  let size = sizes[0];
  let width = size / 4u;
  let first = group.x * size * width + sizes[1];
  // A last panel may be narrower. What its dots with other columns are does not matter.
  let vectors = min(${VECTORS}u, width - sizes[1]);
  for (var k = 0u; k < vectors * 4u; k++) {
    ${unroll(VECTORS, (n) => `var dots${n} = vec4f();`)}
    // A thread has the same rows throughout.
    for (var row = lane; row < size; row += ${THREADS}u) {
      let at = first + row * width;
      let value = x[at + k / 4u][k % 4u];
      ${unroll(VECTORS, (n) => `dots${n} += value * x[at + ${n}u];`)}
    }
    workgroupBarrier();
    ${unroll(VECTORS, (n) => `sums[${n * THREADS}u + lane] = dots${n};`)}
    workgroupBarrier();
    for (var half = ${THREADS / 2}u; half > 0u; half >>= 1u) {
      if (lane < half) {
        ${unroll(VECTORS, (n) => `sums[${n * THREADS}u + lane] += sums[${n * THREADS}u + lane + half];`)}
      }
      workgroupBarrier();
    }
    let inverse = inverseSqrt(sums[k / 4u * ${THREADS}u][k % 4u]);
    // What is taken from column k itself leaves it at length 1.
    ${
      unroll(VECTORS, (n) =>
        `let columns${n} = vec4u(${list(4, (c) => `${n * 4 + c}u`)});
    let taken${n} = select(select(vec4f(), vec4f(1.0 - inverse), columns${n} == vec4u(k)),
      sums[${n * THREADS}u] * inverse * inverse, columns${n} > vec4u(k));`)
    }
    for (var row = lane; row < size; row += ${THREADS}u) {
      let at = first + row * width;
      let value = x[at + k / 4u][k % 4u];
      ${unroll(VECTORS, (n) => `if (${n}u < vectors) { x[at + ${n}u] -= value * taken${n}; }`)}
    }
  }
  if (scales[group.x] <= 0.0) { return; }
  for (var row = lane; row < size; row += ${THREADS}u) {
    let at = first + row * width;
    for (var n = 0u; n < vectors; n++) {
      let columns = (sizes[1] + n) * 4u + vec4u(0u, 1u, 2u, 3u);
      stored[at + n] = x[at + n] - select(vec4f(), vec4f(1.0), columns == vec4u(row));
    }
  }
}`,
  });
}

/** The columns behind a panel: a workgroup has a few of them, each with its rows spread over threads. */
function projectBehind(g: Graph, { product, when }: PanelOptions, from: number): void {
  const [count, size] = product.shape;
  const behind = (size - from - PANEL) / 4;
  const component = (n: number) => `panel${Math.floor(n / 4)}.${"xyzw"[n % 4]}`;
  const loadRow = `let at = first + row * width;
    ${unroll(VECTORS, (n) => `let panel${n} = x[at + ${n}u];`)}`;
  g.dispatch({
    label: "project_behind_panel",
    read: { flags: when.tensor, sizes: g.sizes(size, from / 4, behind) },
    write: { x: vec4(product) },
    flops: 4 * count * size * PANEL * behind * 4,
    workgroups: [Math.ceil(behind / COLUMNS), count, 1],
    body: `
var<workgroup> sums: array<vec4f, ${THREADS * VECTORS}>;
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  if (flags[${when.index}] == 0.0) { return; }
  let size = sizes[0];
  let width = size / 4u;
  let first = group.y * size * width + sizes[1];
  let column = group.x * ${COLUMNS}u + lane % ${COLUMNS}u;
  let own = ${VECTORS}u + min(column, sizes[2] - 1u);
  ${unroll(PANEL, (n) => `var dots${n} = vec4f();`)}
  for (var row = lane / ${COLUMNS}u; row < size; row += ${THREADS / COLUMNS}u) {
    ${loadRow}
    let value = x[at + own];
    ${unroll(PANEL, (n) => `dots${n} += ${component(n)} * value;`)}
  }
  // Four of the sums at a time, which go to the end: after as many turns all are where they were.
  for (var turn = 0u; turn < ${opaque(PANEL / VECTORS)}; turn++) {
    workgroupBarrier();
    ${unroll(VECTORS, (n) => `sums[${n * THREADS}u + lane] = dots${n};`)}
    workgroupBarrier();
    for (var half = ${THREADS / 2}u; half >= ${COLUMNS}u; half >>= 1u) {
      if (lane < half) {
        ${unroll(VECTORS, (n) => `sums[${n * THREADS}u + lane] += sums[${n * THREADS}u + lane + half];`)}
      }
      workgroupBarrier();
    }
    ${unroll(PANEL - VECTORS, (n) => `dots${n} = dots${n + VECTORS};`)}
    ${unroll(VECTORS, (n) => `dots${PANEL - VECTORS + n} = sums[${n * THREADS}u + lane % ${COLUMNS}u];`)}
  }
  if (column >= sizes[2]) { return; }
  for (var row = lane / ${COLUMNS}u; row < size; row += ${THREADS / COLUMNS}u) {
    ${loadRow}
    x[at + own] -= ${Array.from({ length: PANEL }, (_, n) => `${component(n)} * dots${n}`).join(" + ")};
  }
}`,
  });
}
