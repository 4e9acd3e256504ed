/**
 * Copies of matrices in other layouts: transposed, and with rows padded so that kernels may read them in
 * vectors of four.
 *
 * @module
 */
import { type Graph, vec4 } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { mainInputs, opaque, perThread } from "../../gpu/wgsl.ts";

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
  if (!vectors) return copyRows(g, "transpose_padded", from, [columns, rows], (c) => `${c} * ROWS + r`);
  const to = g.activation(`${from.label}.transposed`, [columns, rows], [], from.dtype);
  g.dispatch({
    label: "transpose",
    read: { source: vec4(from), sizes: g.sizes(rows / 4, columns / 4) },
    write: { out: vec4(to) },
    ...perThread({
      count: (rows / 4) * (columns / 4),
      countWgsl: "sizes[0] * sizes[1]",
      statements: `let ROWS = sizes[0];
  let COLUMNS = sizes[1];
  // Threads run along the rows of the result, which are written whole.
  let r = i % ROWS;
  let c = i / ROWS;
  let block = transpose(mat4x4f(source[(r * 4u) * COLUMNS + c], source[(r * 4u + 1u) * COLUMNS + c],
    source[(r * 4u + 2u) * COLUMNS + c], source[(r * 4u + 3u) * COLUMNS + c]));
  for (var j = 0u; j < 4u; j++) { out[(c * 4u + j) * ROWS + r] = block[j]; }`,
    }),
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
  return copyRows(g, "pad_rows", from, [rows, columns], (c) => `r * COLUMNS + ${c}`);
}

/** Rows that a workgroup copies: enough that starting it does not show. */
const ROWS_PER_GROUP = 8;

/** Copies values into [rows, columns padded]; `index` is where the value of row r and a column lies. */
function copyRows(
  g: Graph,
  label: string,
  from: Tensor,
  [rows, columns]: readonly [number, number],
  index: (column: string) => string,
): Tensor {
  const width = padded(columns);
  const to = g.activation(`${from.label}.${label}`, [rows, width], [], from.dtype);
  g.dispatch({
    label,
    read: { source: from, sizes: g.sizes(rows, columns) },
    write: { out: vec4(to) },
    // Workgroups go down the rows: to divide by a row's length would cost more than to copy.
    workgroups: [Math.ceil(width / 256), Math.ceil(rows / ROWS_PER_GROUP), 1],
    body: `
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let ROWS = sizes[0];
  let COLUMNS = sizes[1];
  let first = (group.x * 64u + lane) * 4u;
  if (first >= COLUMNS) { return; }
  let columns = vec4u(first) + vec4u(0u, 1u, 2u, 3u);
  let c = min(columns, vec4u(COLUMNS - 1u));
  let start = group.y * ${ROWS_PER_GROUP}u;
  for (var r = start; r < min(start + ${opaque(ROWS_PER_GROUP)}, ROWS); r++) {
    let values = vec4f(${["x", "y", "z", "w"].map((axis) => `source[${index(`c.${axis}`)}]`).join(", ")});
    out[r * ((COLUMNS + 3u) / 4u) + first / 4u] = select(vec4f(), values, columns < vec4u(COLUMNS));
  }
}`,
  });
  return to;
}
