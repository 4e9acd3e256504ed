/**
 * A matrix product for subgroups of 8 lanes, which broadcast the values of A to each other: on lavapipe a broadcast
 * costs a quarter of a load. Operands are read from buffers, or from texels where they have them.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { vectorAt } from "../../gpu/texels/texels.ts";
import { list, mainInputs, opaque, unroll } from "../../gpu/wgsl.ts";
import { type Product, prologue, recordProduct, type Tile, XYZW } from "./product.ts";

/** How the lanes of a subgroup read an operand, four values of k (4 k to 4 k + 3) at a time. */
interface Reader {
  /** WGSL before the loop over k. */
  readonly before: string;
  /** WGSL in the loop. */
  readonly load: string;
}

/** Of A: `value(r, i)` is that of row r of the tile and the i-th of the four. */
interface ReaderOfA extends Reader {
  value(r: number, i: number): string;
}

/**
 * One subgroup owns up to 32 rows and 32 columns, four per lane. For four values of k, every lane loads a part of A,
 * which is then broadcast from lane to lane. Adding all four products to an accumulator at once, as a matrix times a
 * vector, keeps it in registers; k outside of rows would load and store it four times.
 */
export function broadcastKernel(g: Graph, p: Product): void {
  const { m, columnA, rowB } = p;
  const rows = m === 1 && !columnA ? 1 : m <= 8 ? 8 : m <= 16 ? 16 : 32;
  const tile: Tile = [rows, 32];
  const ragged = p.k % 4 !== 0;
  const [readA, readB] = (["a", "b"] as const).map((x) => vectorAt(x, p[x].storage.form === "texture"));
  const a = columnA ? columnsOfA(readA, rows, ragged) : rowsOfA(readA, rows);
  const b = rowB ? columnsOfB(readB) : rowsOfB(readB, ragged);
  recordProduct(
    g,
    "broadcast",
    p,
    tile,
    `
@compute @workgroup_size(8) fn main(${mainInputs}) {${prologue(p, tile)}
  let row = tile * ${rows}u;
  let column = group.y * 8u + lane;
  ${b.before}
  ${a.before}
  let first = start(column);
  ${unroll(rows, (r) => `var c${r} = first;`)}
  for (var k = 0u; k < (K + 3u) / 4u; k++) {
    ${a.load}
    ${b.load}
    ${unroll(rows, (r) => `c${r} += b4 * vec4f(${list(4, (i) => a.value(r, i))});`)}
  }
  var results = array<vec4f, ${rows}>(${list(rows, (r) => `c${r}`)});
  for (var r = 0u; r < ${opaque(rows)}; r++) { store(product, row + r, column, results[r]); }
}`,
  );
}

type Read = ReturnType<typeof vectorAt>;

/** A lies as [m, k]: a lane loads four neighbours of its row, and of the rows 8, 16 and 24 further on. */
function rowsOfA(read: Read, rows: number): ReaderOfA {
  const loads = Math.ceil(rows / 8);
  return {
    before: unroll(loads, (v) => `let at${v} = a_first + min(row + lane + ${v * 8}u, M - 1u) * A4;`),
    load: unroll(loads, (v) => `let a${v} = ${read(`at${v} + k`)};`),
    value: (r, i) => `subgroupBroadcast(a${r >> 3}.${XYZW[i]}, ${r & 7}u)`,
  };
}

/** A lies as [k, m]: lane l loads neighbours of its row 4 k + l / 2, in the first or second half of the tile. */
function columnsOfA(read: Read, rows: number, ragged: boolean): ReaderOfA {
  const loads = rows / 8;
  const load = (v: number) =>
    ragged
      ? `let a${v} = select(vec4f(), ${read(`k_row + at${v}`)}, k_own < K);`
      : `let a${v} = ${read(`k_row + at${v}`)};`;
  return {
    before: unroll(
      loads,
      (v) => `let at${v} = a_first + min(tile * ${rows / 4}u + (lane & 1u) * ${rows / 8}u + ${v}u, A4 - 1u);`,
    ),
    load: `let k_own = k * 4u + (lane >> 1u);
    let k_row = ${ragged ? "min(k_own, K - 1u)" : "k_own"} * A4;
    ${unroll(loads, load)}`,
    value: (r, i) => {
      const vector = r >> 2;
      const lane = i * 2 + Math.floor(vector / loads);
      return `subgroupBroadcast(a${vector % loads}.${XYZW[r & 3]}, ${lane}u)`;
    },
  };
}

/** B lies as [k, n]: `b4` holds four rows of the lane's four columns. */
function rowsOfB(read: Read, ragged: boolean): Reader {
  const row = (i: number) => (ragged ? `min(k * 4u + ${i}u, K - 1u)` : `(k * 4u + ${i}u)`);
  return {
    before: "let b_column = b_first + min(column, B4 - 1u);",
    load: `let b4 = mat4x4f(${list(4, (i) => read(`${row(i)} * B4 + b_column`))});`,
  };
}

/** B lies as [n, k]: to transpose what is loaded costs nothing where vectors are split anyway. */
function columnsOfB(read: Read): Reader {
  return {
    before: unroll(4, (j) => `let b_row${j} = min(column * 4u + ${j}u, sizes[1] - 1u) * B4;`),
    load: `let b4 = transpose(mat4x4f(${list(4, (j) => read(`b_row${j} + k`))}));`,
  };
}
