/**
 * Products of a few rows with a matrix whose texels are kept, for subgroups of 8 lanes: lavapipe, which has to fetch every
 * value of B from memory once.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { vectorAt } from "../../gpu/texels/texels.ts";
import { list, mainInputs, unroll } from "../../gpu/wgsl.ts";
import { type Product, prologue, recordProduct, type Tile } from "./product.ts";

/** Lanes of a subgroup, which is a workgroup; and how many rows and columns it owns. */
const LANES = 8;
const MOST_ROWS = 8;
const COLUMNS = 8;

/** What the kernel reads of a product: A as [m, k], B's texels as [n, k], rows padded to a multiple of 4 values. */
export type MatvecProduct = Omit<Product, "columnA" | "rowB">;

/**
 * A subgroup owns 8 columns of the result, which are rows of B, and up to 8 rows. Its lanes go along k side by side, so that
 * memory is read in lines:
 *
 *     sums of lane l = sum over j of a[32 j + 4 l ..+ 3] * b[32 j + 4 l ..+ 3], four side by side
 *
 * and are added up at last, in the same order for any number of rows.
 */
export function matvecKernel(g: Graph, p: MatvecProduct): void {
  const rows = Math.min(p.m, MOST_ROWS);
  const tile: Tile = [rows, COLUMNS];
  // A single row is read once for each eight of B, so a copy of it would not pay.
  const a = rows === 1 ? p.a : g.texels(p.a);
  const readA = vectorAt("a", a.storage.form === "texture");
  const product: Product = { ...p, a, columnA: false, rowB: true };
  const each = (statement: (r: number, c: number) => string) =>
    unroll(rows, (r) => unroll(COLUMNS, (c) => statement(r, c)));
  recordProduct(
    g,
    "matvec",
    product,
    tile,
    `
@compute @workgroup_size(${LANES}) fn main(${mainInputs}) {${prologue(product, tile)}
  let row = tile * ${rows}u;
  let column = group.y * ${COLUMNS}u;
  ${unroll(rows, (r) => `let at_a${r} = a_first + min(row + ${r}u, M - 1u) * A4;`)}
  ${unroll(COLUMNS, (c) => `let at_b${c} = b_first + min(column + ${c}u, sizes[1] - 1u) * B4;`)}
  ${each((r, c) => `var sum${r}_${c} = vec4f();`)}
  for (var k = lane; k < A4; k += ${LANES}u) {
    ${unroll(COLUMNS, (c) => `let b${c} = b_texel(at_b${c} + k);`)}
    ${unroll(rows, (r) => `let a${r} = ${readA(`at_a${r} + k`)};`)}
    ${each((r, c) => `sum${r}_${c} += a${r} * b${c};`)}
  }
  ${each((r, c) => `let total${r}_${c} = subgroupAdd(dot(sum${r}_${c}, vec4f(1.0)));`)}
  if (lane == 0u) {
    ${
      unroll(rows, (r) =>
        unroll(COLUMNS / 4, (v) => {
          const c = `column / 4u + ${v}u`;
          return `store(product, row + ${r}u, ${c}, start(${c}) + vec4f(${
            list(4, (i) => `total${r}_${4 * v + i}`)
          }));`;
        }))
    }
  }
}`,
  );
}
