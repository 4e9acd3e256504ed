/**
 * A matrix product of a few rows for graphics cards, as decoding has them: it takes as long as reading B does, so that all
 * threads of a card should be reading at once, and neighbours what lies together.
 *
 * A workgroup owns 16 columns and up to 8 rows. Its 256 threads are 4 groups of four columns times 64 slices of k, and
 *
 *     sum of slice s = sum over j of A[:, k to k + 3] B[k to k + 3, :], k = 4 (s + 64 j),
 *
 * so that even 768 columns are 12,288 threads with four loads of B under way in each. Slices are added in workgroup
 * memory, four by four, of four rows at a time: 16 KiB, all that WebGPU guarantees. For a row the order is the same whatever
 * rows stand beside it.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { list, mainInputs, opaque, unroll } from "../../gpu/wgsl.ts";
import { type Product, prologue, recordProduct, type Tile, XYZW } from "./product.ts";

const MOST_ROWS = 8;
/** Groups of four columns that a workgroup owns: 64 bytes in a row of B. */
const COLUMNS4 = 4;
const SLICES = 64;
const THREADS = COLUMNS4 * SLICES;
/** Rows that are added up at a time. */
const ROWS_AT_ONCE = 4;

/** Records the product. */
export function fewRowsKernel(g: Graph, p: Product): void {
  const { m, columnA, rowB } = p;
  const most = Math.min(m, MOST_ROWS);
  const rows = columnA ? Math.ceil(most / 4) * 4 : most;
  const tile: Tile = [rows, 4 * COLUMNS4];
  recordProduct(
    g,
    "few_rows",
    p,
    tile,
    `
var<workgroup> parts: array<array<vec4f, ${THREADS}>, ${
      Math.min(rows, ROWS_AT_ONCE)
    }>; // [row][slice, four columns]
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {${prologue(p, tile)}
  let row = tile * ${rows}u;
  // Neighbours lie along a row of B.
  let slice = ${rowB ? `lane % ${SLICES}u` : `lane / ${COLUMNS4}u`};
  let own = ${rowB ? `lane / ${SLICES}u` : `lane % ${COLUMNS4}u`};
  let column = group.y * ${COLUMNS4}u + own;
  ${columnA ? "" : unroll(rows, (r) => `let at_a${r} = a_first + min(row + ${r}u, M - 1u) * A4;`)}
  ${rowB ? unroll(4, (j) => `let at_b${j} = b_first + min(column * 4u + ${j}u, sizes[1] - 1u) * B4;`) : ""}
  ${unroll(rows, (r) => `var sum${r} = vec4f();`)}
  for (var k = slice; k < (K + 3u) / 4u; k += ${SLICES}u) {
    ${rowB ? rowsOfB : columnsOfB}
    ${columnA ? columnsOfA(rows) : unroll(rows, (r) => `let a${r} = a[at_a${r} + k];`)}
    ${unroll(rows, (r) => unroll(4, (i) => `sum${r} = fma(vec4f(a${r}.${XYZW[i]}), b4[${i}], sum${r});`))}
  }
  ${unroll(Math.ceil(rows / ROWS_AT_ONCE), (turn) => addSlices(turn * ROWS_AT_ONCE, rows))}
}`,
  );
}

/** B lies as [n, k]: four rows of it, turned. What it has past k meets zeros of A. */
const rowsOfB = `let b4 = transpose(mat4x4f(${list(4, (j) => `b[at_b${j} + k]`)}));`;

/** B lies as [k, n]. */
const columnsOfB = `let at_b = b_first + min(column, B4 - 1u);
    let b4 = mat4x4f(${list(4, (i) => `b[at_b + min(k * 4u + ${i}u, K - 1u) * B4]`)});`;

/** A lies as [k, m]: four values of k of four rows at a time, turned; zero past k. */
function columnsOfA(rows: number): string {
  const value = (group: number, i: number) =>
    `select(vec4f(), a[a_first + min(k * 4u + ${i}u, K - 1u) * A4 + min(row / 4u + ${group}u, A4 - 1u)], ` +
    `k * 4u + ${i}u < K)`;
  return unroll(
    rows / 4,
    (group) =>
      `let four${group} = transpose(mat4x4f(${list(4, (i) => value(group, i))})); ` +
      unroll(4, (j) => `let a${4 * group + j} = four${group}[${j}];`),
  );
}

/** Adds the slices of the rows from `first` on, and stores them. */
function addSlices(first: number, rows: number): string {
  const count = Math.min(rows - first, ROWS_AT_ONCE);
  return `
  ${first > 0 ? "workgroupBarrier();" : ""}
  ${unroll(count, (r) => `parts[${r}][slice * ${COLUMNS4}u + own] = sum${first + r};`)}
  workgroupBarrier();
  for (var width = ${THREADS / 4}u; width >= ${COLUMNS4}u; width /= 4u) {
    if (lane < width) {
      for (var r = 0u; r < ${opaque(count)}; r++) {
        parts[r][lane] = (parts[r][lane] + parts[r][lane + width]) +
          (parts[r][lane + 2u * width] + parts[r][lane + 3u * width]);
      }
    }
    workgroupBarrier();
  }
  if (lane < ${count * COLUMNS4}u) {
    let c = group.y * ${COLUMNS4}u + lane % ${COLUMNS4}u;
    let r = lane / ${COLUMNS4}u;
    store(product, row + ${first}u + r, c, start(c) + parts[r][lane % ${COLUMNS4}u]);
  }`;
}
