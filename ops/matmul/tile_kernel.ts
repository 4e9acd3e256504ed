/**
 * A matrix product whose threads keep a tile of the result in registers. Needs nothing that an adapter may lack.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { list, mainInputs, opaque, unroll } from "../../gpu/wgsl.ts";
import { type Product, prologue, recordProduct, type Tile, XYZW } from "./product.ts";

/** The 8 rows and 4 groups of four columns of a thread: the sum of cell i is that of row i / 4 and group i % 4. */
const CELLS = 32;

/** A is [k, m]; a thread owns 8 rows and 16 columns. */
export function tileKernel(g: Graph, p: Product): void {
  // Rows of threads per workgroup: small on the CPU, where a workgroup is a unit of work for a core.
  const threadRows = g.profile.isSoftware ? 2 : 8;
  const tile: Tile = [8 * threadRows, 128];
  const cell = (i: number) => {
    const [r, c] = [i >> 2, i & 3];
    return { sum: `c${r}${c}`, a: `a${r >> 2}.${XYZW[r & 3]}`, b: `b${c}`, first: `first${c}` };
  };
  const add = g.profile.hasFastFma === false
    ? (sum: string, a: string, b: string) => `${sum} += ${a} * ${b};`
    : (sum: string, a: string, b: string) => `${sum} = fma(vec4f(${a}), ${b}, ${sum});`;
  const eachCell = (statement: (names: ReturnType<typeof cell>) => string) =>
    unroll(CELLS, (i) => statement(cell(i)));
  recordProduct(
    g,
    "tile",
    p,
    tile,
    `
@compute @workgroup_size(8, ${threadRows}) fn main(${mainInputs}) {${prologue(p, tile)}
  let row = (tile * ${threadRows}u + lane / 8u) * 8u;
  let column = (group.y * 8u + lane % 8u) * 4u;
  let a_upper = a_first + min(row / 4u, A4 - 1u);
  let a_lower = a_first + min(row / 4u + 1u, A4 - 1u);
  ${unroll(4, (c) => `let at${c} = b_first + min(column + ${c}u, B4 - 1u);`)}
  ${unroll(4, (c) => `let first${c} = start(column + ${c}u);`)}
  ${eachCell(({ sum, first }) => `var ${sum} = ${first};`)}
  for (var k = 0u; k < K; k++) {
    let a0 = a[k * A4 + a_upper];
    let a1 = a[k * A4 + a_lower];
    ${unroll(4, (c) => `let b${c} = b[k * B4 + at${c}];`)}
    ${eachCell(({ sum, a, b }) => add(sum, a, b))}
  }
  var results = array<vec4f, ${CELLS}>(${list(CELLS, (i) => cell(i).sum)});
  for (var i = 0u; i < ${opaque(CELLS)}; i++) { store(product, row + i / 4u, column + i % 4u, results[i]); }
}`,
  );
}
