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
 * In wide tiles, of 128 x 96 results, a thread computes 8 x 12: 20 values for 96 multiply-adds, 0.83 bytes for each. That is
 * for cards whose workgroup memory gives half of what the multiply-adds could take, such as Apple's.
 *
 * Half of the threads load A and half B, each a block of 4 x 4 values, turned where it lies in rows of k: tiles have the
 * same layout whatever the operands', which need no transposed copies. The block of the next tile is loaded into registers before this
 * tile is used, but in wide tiles, whose sums leave no room for it. Tiles take 16 KiB where S = 128, all that WebGPU guarantees.
 *
 * The sums, operands and the next block are about 120 registers. That leaves 12 waves on RDNA 3, as RADV counts, and 2 on
 * GCN 5, where 4 would leave a thread 64 registers: those of its sums alone.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { list, mainInputs, opaque, unroll } from "../../gpu/wgsl.ts";
import { type Product, prologue, recordProduct, type Tile, XYZW } from "./product.ts";

/** What a workgroup owns, and what each of its threads. */
interface Shape {
  /** Rows and columns of the workgroup. */
  readonly tile: Tile;
  /** Groups of four columns that a thread has beside its 8 rows. */
  readonly quads: 2 | 3;
}

/** By the ends of their names. */
const SHAPES = {
  shared128: { tile: [128, 128], quads: 2 },
  shared128x96: { tile: [128, 96], quads: 3 },
  shared64: { tile: [64, 64], quads: 2 },
} as const satisfies Record<string, Shape>;

/** Records a product in the tiles that the name says. */
export function sharedKernel(g: Graph, p: Product, name: keyof typeof SHAPES): void {
  const { tile, quads }: Shape = SHAPES[name];
  const [rows, columns] = tile;
  const [height, width] = [rows / 8, columns / (4 * quads)]; // threads in a column and in a row of threads
  const threads = height * width;
  const depth = Math.floor(16 * threads / (rows + columns) / 4) * 4; // values of k in a tile
  const [blocksOfA, blocksOfB] = tile.map((size) => size * depth / 16);
  const placeOfRows = (half: number) => `tile * ${rows / 4}u + ${half * height}u + row`;
  const placeOfColumns = (quad: number) => `group.y * ${columns / 4}u + ${quad * width}u + column`;
  const each = (statement: (r: number, quad: number) => string) =>
    unroll(8, (r) => unroll(quads, (quad) => statement(r, quad)));
  const blocks = blocksOfA + blocksOfB; // that many threads load one
  const keep = (tile: "a" | "b") => unroll(4, (j) => `tile_${tile}[k4][${j}][into][own] = next[${j}];`);
  const keepNext = `if (operand == 0u) { ${keep("a")} } else { ${keep("b")} }`;
  // The sums of three groups leave no registers for a block that waits; other workgroups have to hide its way.
  const loadsEarly = quads === 2;
  recordProduct(
    g,
    name,
    p,
    tile,
    `
// [k / 4][k % 4][part][four rows or columns of it]; the last is exchanged with neighbours by k / 4, against bank conflicts.
var<workgroup> tile_a: array<array<array<array<vec4f, ${height}>, 2>, 4>, ${depth / 4}>;
var<workgroup> tile_b: array<array<array<array<vec4f, ${width}>, ${quads}>, 4>, ${depth / 4}>;
${loadFunction("a", !p.columnA)}
${loadFunction("b", p.rowB)}
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {${prologue(p, tile)}
  ${p.parts ? PART : "let first_k = 0u; let last_k = K;"}
  let operand = select(0u, 1u, lane >= ${blocksOfA}u);
  let block = lane - operand * ${blocksOfA}u;
  var fours: u32; // which four rows of A or columns of B the thread loads
  var k4: u32; // which four values of k
  var into: u32; // where they go
  var own: u32;
  var at: vec4u; // where they begin
  if (operand == 0u) {
    ${blockOf("a", !p.columnA, rows, depth)}
    into = fours / ${height}u; own = (fours % ${height}u) ^ k4;
  } else {
    ${blockOf("b", p.rowB, columns, depth)}
    into = fours / ${width}u; own = (fours % ${width}u) ^ k4;
  }
  ${loadsEarly ? `var next: mat4x4f; ${loadNext("first_k + k4 * 4u")}` : ""}
  let row = lane / ${width}u;
  let column = lane % ${width}u;
  ${unroll(quads, (quad) => `let sum${quad} = start(${placeOfColumns(quad)});`)}
  ${each((r, quad) => `var c${r}${quad} = sum${quad};`)}
  for (var k = first_k; k < last_k; k += ${depth}u) {
    ${
      loadsEarly
        ? keepNext
        : `if (lane < ${blocks}u) { var next: mat4x4f; ${loadNext("k + k4 * 4u")} ${keepNext} }`
    }
    workgroupBarrier();
    ${loadsEarly ? loadNext(`k + ${depth}u + k4 * 4u`) : ""}
    for (var i = 0u; i < ${opaque(depth / 4)}; i++) {
      ${unroll(4, (j) => addProducts(j, quads))}
    }
    workgroupBarrier();
  }
  ${
      each((r, quad) =>
        `store(${p.parts ? "part" : "product"}, (${placeOfRows(r >> 2)}) * 4u + ${r % 4}u, ${
          placeOfColumns(quad)
        }, c${r}${quad});`
      )
    }
}`,
  );
}

/** Where k begins and ends in a part of it, and the part's number among those of all products. */
const PART = `let part = product_of(group.x);
  let first_k = part % sizes[5] * sizes[6];
  let last_k = min(first_k + sizes[6], K);`;

/** Adds the products of one value of k, of one group of columns after the other: they take turns in a register. */
function addProducts(k: number, quads: number): string {
  const addQuad = (quad: number) => {
    const sum = (r: number) => `c${r}${quad}`;
    return `{ let y = tile_b[i][${k}][${quad}][column ^ i];
      ${unroll(8, (r) => `${sum(r)} = fma(vec4f(x${r >> 2}.${XYZW[r % 4]}), y, ${sum(r)});`)} }`;
  };
  return `{
      ${unroll(2, (half) => `let x${half} = tile_a[i][${k}][${half}][row ^ i];`)}
      ${unroll(quads, addQuad)}
    }`;
}

/** WGSL that finds the block of 4 x 4 values which a thread loads. */
function blockOf(name: "a" | "b", rows: boolean, side: number, depth: number): string {
  const [groups, depths] = [side / 4, depth / 4];
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
