/**
 * Copies of matrices in other layouts: transposed, and with rows padded so that kernels may read them in
 * vectors of four.
 *
 * @module
 */
import { type Graph, vec4 } from "../gpu/graph.ts";
import { flatIndexWgsl, flatWorkgroups, mainInputs } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** The smallest multiple of four that is not below `n`. */
export function padded(n: number): number {
  return Math.ceil(n / 4) * 4;
}

/**
 * Records the transpose of a matrix.
 *
 * @returns [columns, rows padded to a multiple of 4]; the padding is zero.
 */
export function transpose(g: Graph, from: Tensor, rows: number, columns: number): Tensor {
  const vectors = rows % 4 === 0 && columns % 4 === 0;
  if (!vectors) return copyRows(g, "transpose_padded", from, [columns, rows], "source[c * ROWS + r]");
  const to = g.activation(`${from.label}.transposed`, [columns, rows]);
  const threads = (rows / 4) * (columns / 4);
  g.dispatch({
    label: "transpose",
    read: { source: vec4(from), sizes: g.sizes(rows / 4, columns / 4) },
    write: { out: vec4(to) },
    workgroups: flatWorkgroups(Math.ceil(threads / 64)),
    body: `${flatIndexWgsl}
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let i = flat_group(group, groups) * 64u + lane;
  let ROWS = sizes[0];
  let COLUMNS = sizes[1];
  if (i >= ROWS * COLUMNS) { return; }
  // Threads run along the rows of the result, which are written whole.
  let r = i % ROWS;
  let c = i / ROWS;
  let block = transpose(mat4x4f(source[(r * 4u) * COLUMNS + c], source[(r * 4u + 1u) * COLUMNS + c],
    source[(r * 4u + 2u) * COLUMNS + c], source[(r * 4u + 3u) * COLUMNS + c]));
  for (var j = 0u; j < 4u; j++) { out[(c * 4u + j) * ROWS + r] = block[j]; }
}`,
  });
  return to;
}

/**
 * Records a copy of a matrix whose rows have a multiple of 4 values.
 *
 * @returns [rows, columns padded]; the padding is zero. The matrix itself where its rows need none.
 */
export function padRows(g: Graph, from: Tensor, rows: number, columns: number): Tensor {
  if (columns % 4 === 0) return from;
  return copyRows(g, "pad_rows", from, [rows, columns], "source[r * COLUMNS + c]");
}

/** Copies values into [rows, columns padded]; `value` gives that at row r and column c. */
function copyRows(
  g: Graph,
  label: string,
  from: Tensor,
  [rows, columns]: readonly [number, number],
  value: string,
): Tensor {
  const width = padded(columns);
  const to = g.activation(`${from.label}.${label}`, [rows, width]);
  const threads = (rows * width) / 4;
  g.dispatch({
    label,
    read: { source: from, sizes: g.sizes(rows, columns, width / 4) },
    write: { out: vec4(to) },
    workgroups: flatWorkgroups(Math.ceil(threads / 64)),
    body: `${flatIndexWgsl}
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let i = flat_group(group, groups) * 64u + lane;
  let ROWS = sizes[0];
  let COLUMNS = sizes[1];
  let r = i / sizes[2];
  if (r >= ROWS) { return; }
  var values = vec4f();
  for (var j = 0u; j < 4u; j++) {
    let c = i % sizes[2] * 4u + j;
    if (c < COLUMNS) { values[j] = ${value}; }
  }
  out[i] = values;
}`,
  });
  return to;
}
