/**
 * What the kernels for matrix products share: how operands lie, and what happens to a result. Sizes are read from a
 * buffer instead of being compiled in, so that a model's many shapes share few pipelines; that costs nothing
 * measurable, and compiling is most of a first step.
 *
 * Operands have rows of a multiple of 4 values (see `transpose.ts`). Padding of A along k is zero, so whatever
 * B holds there does not count; B's rows past k are clamped to its last.
 *
 * A batch of products lies matrix after matrix; its workgroups are counted along x.
 *
 * @module
 */
import { type Graph, type Operand, vec4 } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { f32, unroll } from "../../gpu/wgsl.ts";
import { padded } from "./transpose.ts";

/** A product whose operands lie as a kernel reads them. */
export interface Product {
  /** Rows of A and out. */
  readonly m: number;
  /** Columns of B and out. */
  readonly n: number;
  /** What is summed over. */
  readonly k: number;
  /** A, rows padded to a multiple of 4 values. */
  readonly a: Tensor;
  /** B, rows padded to a multiple of 4 values. */
  readonly b: Tensor;
  /** True if A is [k, m], false if it is [m, k]. */
  readonly columnA: boolean;
  /** True if B is [n, k], which only some kernels read; false if it is [k, n]. */
  readonly rowB: boolean;
  /** [m, n], its rows without padding. */
  readonly out: Tensor;
  /** [n], added to every row. */
  readonly bias?: Tensor;
  /** [m, n], added to the result. */
  readonly residual?: Tensor;
  /** Add to what `out` holds. */
  readonly accumulate?: boolean;
  /** Products in a batch. */
  readonly batch?: number;
  /** What the product and the residual are multiplied with. */
  readonly factors?: readonly [number, number];
  /** Whether tiles below the diagonal are those above it, mirrored. */
  readonly symmetric?: boolean;
  /** Where the product is left out: when the value at this index is 0. */
  readonly when?: { readonly tensor: Tensor; readonly index: number };
  /** Parts of k that have a result each, so that `out` is [batch, count, m, n]; default: one of all. */
  readonly parts?: Parts;
}

/** How k is split; only kernels that say so read it. */
export interface Parts {
  /** How many parts. */
  readonly count: number;
  /** Values of k in each but the last, a multiple of those in a tile. */
  readonly depth: number;
}

/** Rows and columns of the result that a workgroup owns. */
export type Tile = readonly [rows: number, columns: number];

/** Names of a vector's components, by their numbers. */
export const XYZW = "xyzw";

/**
 * Records a kernel. Its WGSL begins with {@linkcode prologue}, lets every sum begin with `start(c)`, where c is a group
 * of four columns, and gives the sums to `store(product, row, c, value)`, the only place where results are written.
 *
 * @param label Ends the kernel's name.
 * @param tile What a workgroup owns.
 * @param body WGSL with `main`.
 */
export function recordProduct(g: Graph, label: string, p: Product, tile: Tile, body: string): void {
  const { m, n, k, a, b, out, batch = 1, symmetric, parts } = p;
  const groups = batch * (parts?.count ?? 1);
  g.dispatch({
    label: `matmul_${label}`,
    flops: 2 * batch * k * (symmetric ? computed(m, tile) : m * n),
    read: {
      a: vec4(a),
      b: vec4(b),
      sizes: g.sizes(
        ...[m, n, k, padded(p.columnA ? m : k) / 4, padded(p.rowB ? k : n) / 4],
        ...(parts ? [parts.count, parts.depth] : []),
      ),
      ...extraOperands(p),
    },
    write: { out: resultOperand(p, out) },
    workgroups: [groups * Math.ceil(m / tile[0]), Math.ceil(n / tile[1]), 1],
    body: `${placeInBatch(groups, tile)}
${symmetric ? mirrored(tile) : ""}
${startAndStore(p)}
${body}`,
  });
}

/** What the functions of {@linkcode startAndStore} and the prologue read, by their names in WGSL. */
export function extraOperands(p: Product): Record<string, Operand> {
  const { bias, residual, when } = p;
  return {
    ...(bias ? { bias: resultOperand(p, bias) } : {}),
    ...(residual ? { residual: resultOperand(p, residual) } : {}),
    ...(when ? { when_given: when.tensor } : {}),
  };
}

/** A tensor with rows of n values, in vectors where n allows it. */
export function resultOperand({ n }: Product, tensor: Tensor): Operand {
  return n % 4 === 0 ? vec4(tensor) : tensor;
}

/** WGSL of `start` and `store`; they read m and n from `sizes`. */
export function startAndStore(p: Product): string {
  return p.n % 4 === 0
    ? `${startOfVectors(p)}\n${storeVectors(p)}`
    : `${startOfValues(p)}\n${storeValues(p)}`;
}

/** WGSL at the start of every kernel's `main`. */
export function prologue({ when, columnA, symmetric, parts }: Product, [rows, columns]: Tile): string {
  return `
  ${when ? `if (when_given[${when.index}] == 0.0) { return; }` : ""}
  let M = sizes[0];
  let K = sizes[2];
  let A4 = sizes[3]; // groups of four values in a row of A
  let B4 = sizes[4];
  let product = product_of(group.x)${parts ? " / sizes[5]" : ""};
  let tile = tile_of(group.x);
  ${symmetric ? `if (mirrored(tile * ${rows}u, group.y * ${columns}u)) { return; }` : ""}
  let a_first = product * ${columnA ? "K" : "M"} * A4;
  let b_first = product * K * B4;`;
}

/** The product that a workgroup belongs to, and its place in it. */
function placeInBatch(batch: number, [rows]: Tile): string {
  if (batch === 1) {
    return `
fn product_of(x: u32) -> u32 { return 0u; }
fn tile_of(x: u32) -> u32 { return x; }`;
  }
  return `
fn product_of(x: u32) -> u32 { return x / ((sizes[0] + ${rows - 1}u) / ${rows}u); }
fn tile_of(x: u32) -> u32 { return x % ((sizes[0] + ${rows - 1}u) / ${rows}u); }`;
}

/** Whether the tile of a row and a column lies below the diagonal. */
function mirrored([rows, columns]: Tile): string {
  return `
fn mirrored(row: u32, column: u32) -> bool {
  return row / ${rows}u * ${rows}u >= (column / ${columns}u + 1u) * ${columns}u;
}`;
}

/** What the four sums of column group c begin with. */
function startOfVectors({ bias }: Product): string {
  return `fn start(c: u32) -> vec4f { return ${bias ? "bias[min(c, sizes[1] / 4u - 1u)]" : "vec4f()"}; }`;
}

/** The same where the columns are no multiple of 4. */
function startOfValues({ bias }: Product): string {
  if (!bias) return "fn start(c: u32) -> vec4f { return vec4f(); }";
  return `
fn start(c: u32) -> vec4f {
  let at = min(vec4u(c * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(sizes[1] - 1u));
  return vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
}`;
}

/** What is stored at `i`, where the sum is `value`. */
function resultOf({ factors, residual }: Product, value: string): string {
  const [product, rest] = factors ? factors.map((factor) => `${f32(factor)} * `) : ["", ""];
  return `${product}${value}${residual ? ` + ${rest}residual[i]` : ""}`;
}

const assign = ({ accumulate }: Product) => (accumulate ? "+=" : "=");

/** Stores four neighbours in a row; of a symmetric result also as four in a column. */
function storeVectors(p: Product): string {
  return `
fn store(product: u32, row: u32, c: u32, value: vec4f) {
  let N = sizes[1];
  if (row >= sizes[0] || c * 4u >= N) { return; }
  let i = (product * sizes[0] + row) * (N / 4u) + c;
  let result = ${resultOf(p, "value")};
  out[i] ${assign(p)} result;
  ${p.symmetric ? STORE_MIRRORED : ""}
}`;
}

const STORE_MIRRORED = `if (mirrored(c * 4u, row)) {
    let at = product * N * (N / 4u) + c * N + row / 4u;
    ${unroll(4, (j) => `out[at + ${j}u * (N / 4u)][row % 4u] = result.${XYZW[j]};`)}
  }`;

/** Stores those of four neighbours that lie in the row, one by one. */
function storeValues(p: Product): string {
  const store = (j: number) =>
    `${j === 0 ? "" : `if (c * 4u + ${j}u < N) `}{
    let i = at + ${j}u;
    out[i] ${assign(p)} ${resultOf(p, `value.${XYZW[j]}`)};
  }`;
  return `
fn store(product: u32, row: u32, c: u32, value: vec4f) {
  let N = sizes[1];
  if (row >= sizes[0] || c * 4u >= N) { return; }
  let at = (product * sizes[0] + row) * N + c * 4u;
  ${unroll(4, store)}
}`;
}

/** Results of a symmetric product of some rows that are computed. */
function computed(size: number, [rows, columns]: Tile): number {
  let count = 0;
  for (let row = 0; row < size; row += rows) {
    const first = Math.floor(row / columns) * columns; // tiles before this one are mirrored
    count += Math.min(rows, size - row) * (size - first);
  }
  return count;
}
