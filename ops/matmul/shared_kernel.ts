/**
 * A matrix product whose workgroups bring tiles of both operands into workgroup memory: the usual kernel of a
 * discrete GPU. On lavapipe, where workgroup memory is no faster than any other and barriers are dear, it is the
 * slowest.
 *
 * A workgroup owns S x S results, S = 128 or 64, and has (S / 8)^2 threads. A thread computes 8 x 8 results: two
 * groups of four rows by two of four columns, S / 2 apart, so that neighbours read neighbours. For each value of k
 * it reads 16 values of workgroup memory and does 64 multiply-adds: 1 byte for each. Four values of k are written out. Their
 * places in a tile are constants and the others hardly change, so that bounds are checked outside of the multiply-adds.
 *
 * Half of the threads load A and half B, each a block of 4 x 4 values, turned where it lies in rows of k: tiles have the
 * same layout whatever the operands', which need no transposed copies. The block of the next tile is loaded into registers before this
 * tile is used. Tiles take 16 KiB where S = 128, all that WebGPU guarantees.
 *
 * The sums, operands and the next block are about 120 registers. That leaves 12 waves on RDNA 3, as RADV counts, and 2 on
 * GCN 5, where 4 would leave a thread 64 registers: those of its sums alone.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { list, mainInputs, opaque, unroll } from "../../gpu/wgsl.ts";
import { type Product, prologue, recordProduct, type Tile, XYZW } from "./product.ts";

/** Rows and columns of the result that a workgroup owns. */
export type Side = 64 | 128;

/** Records a product in tiles of `side` x `side` results. */
export function sharedKernel(g: Graph, p: Product, side: Side): void {
  const tile: Tile = [side, side];
  const width = side / 8; // threads in a row of threads; also values of k in a tile
  const threads = width * width;
  const place = (fours: string, half: number, n: string) =>
    `${fours} * ${side / 4}u + ${half * width}u + ${n}`;
  recordProduct(
    g,
    `shared${side}`,
    p,
    tile,
    `
// [A or B][k / 4][k % 4][half][four rows or columns]; the last is exchanged with neighbours by k / 4, against bank conflicts.
var<workgroup> tiles: array<array<array<array<array<vec4f, ${width}>, 2>, 4>, ${width / 4}>, 2>;
${loadFunction("a", !p.columnA)}
${loadFunction("b", p.rowB)}
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {${prologue(p, tile)}
  ${p.parts ? PART : "let first_k = 0u; let last_k = K;"}
  let operand = lane / ${threads / 2}u;
  let block = lane % ${threads / 2}u;
  var fours: u32; // which four rows of A or columns of B the thread loads
  var k4: u32; // which four values of k
  var at: vec4u; // where they begin
  if (operand == 0u) {
    ${blockOf("a", !p.columnA, side)}
  } else {
    ${blockOf("b", p.rowB, side)}
  }
  let half = fours / ${width}u;
  let own = (fours % ${width}u) ^ k4;
  var next: mat4x4f;
  ${loadNext("first_k + k4 * 4u")}
  let row = lane / ${width}u;
  let column = lane % ${width}u;
  ${unroll(2, (h) => `let sum${h} = start(${place("group.y", h, "column")});`)}
  ${unroll(8, (r) => unroll(2, (h) => `var c${r}${h} = sum${h};`))}
  for (var k = first_k; k < last_k; k += ${width}u) {
    ${unroll(4, (j) => `tiles[operand][k4][${j}][half][own] = next[${j}];`)}
    workgroupBarrier();
    ${loadNext(`k + ${width}u + k4 * 4u`)}
    for (var i = 0u; i < ${opaque(width / 4)}; i++) {
      ${unroll(4, addProducts)}
    }
    workgroupBarrier();
  }
  ${
      unroll(8, (r) =>
        unroll(2, (h) =>
          `store(${p.parts ? "part" : "product"}, (${place("tile", r >> 2, "row")}) * 4u + ${r % 4}u, ${
            place("group.y", h, "column")
          }, c${r}${h});`))
    }
}`,
  );
}

/** Where k begins and ends in a part of it, and the part's number among those of all products. */
const PART = `let part = product_of(group.x);
  let first_k = part % sizes[5] * sizes[6];
  let last_k = min(first_k + sizes[6], K);`;

/** Adds the products of one value of k. */
function addProducts(k: number): string {
  const value = (operand: number, half: number, own: string) =>
    `tiles[${operand}][i][${k}][${half}][${own} ^ i]`;
  return `{
      ${unroll(2, (h) => `let x${h} = ${value(0, h, "row")}; let y${h} = ${value(1, h, "column")};`)}
      ${
    unroll(8, (r) => unroll(2, (h) => `c${r}${h} = fma(vec4f(x${r >> 2}.${XYZW[r % 4]}), y${h}, c${r}${h});`))
  }
    }`;
}

/** WGSL that finds the block of 4 x 4 values which a thread loads. */
function blockOf(name: "a" | "b", rows: boolean, side: Side): string {
  const [groups, depths] = [side / 4, side / 32];
  const tile = name === "a" ? "tile" : "group.y";
  const [size, width] = name === "a" ? ["M", "A4"] : ["sizes[1]", "B4"];
  // Neighbouring threads load what lies together.
  return rows
    ? `k4 = block % ${depths}u; fours = block / ${depths}u;
    at = ${name}_first + min((${tile} * ${groups}u + fours) * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(${size} - 1u)) * ${width};`
    : `k4 = block / ${groups}u; fours = block % ${groups}u;
    at = vec4u(${name}_first + min(${tile} * ${groups}u + fours, ${width} - 1u));`;
}

/** WGSL that loads such a block as [k][row or column]; what A has past k is zero. */
function loadFunction(name: "a" | "b", rows: boolean): string {
  const width = name === "a" ? "sizes[3]" : "sizes[4]";
  const inside = (condition: string, value: string) =>
    name === "a" ? `select(vec4f(), ${value}, ${condition})` : value;
  const block = rows
    ? `transpose(mat4x4f(${
      list(4, (j) => inside(`k / 4u < ${width}`, `${name}[at.${XYZW[j]} + min(k / 4u, ${width} - 1u)]`))
    }))`
    : `mat4x4f(${
      list(
        4,
        (j) => inside(`k + ${j}u < sizes[2]`, `${name}[at.x + min(k + ${j}u, sizes[2] - 1u) * ${width}]`),
      )
    })`;
  return `fn load_${name}(at: vec4u, k: u32) -> mat4x4f { return ${block}; }`;
}

const loadNext = (k: string) =>
  `if (operand == 0u) { next = load_a(at, ${k}); } else { next = load_b(at, ${k}); }`;
