/**
 * A matrix product whose workgroups bring tiles of both operands into workgroup memory: the usual kernel of a
 * discrete GPU. On lavapipe, where workgroup memory is no faster than any other and barriers are dear, it is the
 * slowest.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { list, mainInputs, opaque, unroll } from "../../gpu/wgsl.ts";
import { type Product, prologue, recordProduct, type Tile, XYZW } from "./product.ts";

/** How an operand comes into workgroup memory, where its tile keeps its own layout. */
interface Fetch {
  /** WGSL expression for what the thread loads from, before the loop over k. */
  readonly at: string;
  /** WGSL that loads the thread's part of the tile. */
  readonly load: string;
}

/** A lies as [k, m]; its tile is [k][row / 4]. */
const COLUMNS_OF_A: Fetch = {
  at: "a_first + min(tile * 16u + column, A4 - 1u)",
  load: "tile_a[row * 16u + column] = select(vec4f(), a[min(k + row, K - 1u) * A4 + at_a], k + row < K);",
};

/** A lies as [m, k]; its tile is [row][k / 4]. */
const ROWS_OF_A: Fetch = {
  at: "a_first + min(tile * 64u + lane / 4u, M - 1u) * A4",
  load:
    "tile_a[lane] = select(vec4f(), a[at_a + min(k / 4u + lane % 4u, A4 - 1u)], k / 4u + lane % 4u < A4);",
};

/** B lies as [k, n]; its tile is [k][column / 4]. */
const ROWS_OF_B: Fetch = {
  at: "b_first + min(group.y * 16u + column, B4 - 1u)",
  load: "tile_b[lane] = select(vec4f(), b[min(k + row, K - 1u) * B4 + at_b], k + row < K);",
};

/** B lies as [n, k]; its tile is [column][k / 4]. */
const COLUMNS_OF_B: Fetch = {
  at: "min(group.y * 64u + lane / 4u, sizes[1] - 1u) * B4",
  load: "tile_b[lane] = b[at_b + min(k / 4u + lane % 4u, B4 - 1u)];",
};

/**
 * A workgroup of 16 x 16 threads owns 64 x 64 results, brings 16 values of k of both operands into workgroup memory at
 * a time, and every thread computes 4 x 4 results from them.
 */
export function sharedKernel(g: Graph, p: Product): void {
  const tile: Tile = [64, 64];
  const a = p.columnA ? COLUMNS_OF_A : ROWS_OF_A;
  const b = p.rowB ? COLUMNS_OF_B : ROWS_OF_B;
  recordProduct(
    g,
    "shared",
    p,
    tile,
    `
var<workgroup> tile_a: array<vec4f, 256>;
var<workgroup> tile_b: array<vec4f, 256>;
@compute @workgroup_size(256) fn main(${mainInputs}) {${prologue(p, tile)}
  let row = lane / 16u;
  let column = lane % 16u;
  let at_a = ${a.at};
  let at_b = ${b.at};
  let sum = start(group.y * 16u + column);
  ${unroll(4, (r) => `var c${r} = sum;`)}
  for (var k = 0u; k < K; k += 16u) {
    ${a.load}
    ${b.load}
    workgroupBarrier();
    ${p.columnA ? BY_ONE : byFour(p.rowB)}
    workgroupBarrier();
  }
  let first = (tile * 16u + row) * 4u;
  ${unroll(4, (r) => `store(product, first + ${r}u, group.y * 16u + column, c${r});`)}
}`,
  );
}

/** Adds the products of both tiles, one value of k at a time: four rows of A's tile lie together. */
const BY_ONE = `for (var i = 0u; i < ${opaque(16)}; i++) {
      let x = tile_a[i * 16u + row];
      let y = tile_b[i * 16u + column];
      ${unroll(4, (r) => `c${r} = fma(vec4f(x.${XYZW[r]}), y, c${r});`)}
    }`;

/** The same by four values of k, which lie together in A's tile. */
function byFour(rowB: boolean): string {
  const b4 = rowB
    ? `transpose(mat4x4f(${list(4, (j) => `tile_b[(column * 4u + ${j}u) * 4u + i]`)}))`
    : `mat4x4f(${list(4, (j) => `tile_b[(i * 4u + ${j}u) * 16u + column]`)})`;
  return `for (var i = 0u; i < ${opaque(4)}; i++) {
      let y = ${b4};
      ${unroll(4, (r) => `c${r} += y * tile_a[(row * 4u + ${r}u) * 4u + i];`)}
    }`;
}
