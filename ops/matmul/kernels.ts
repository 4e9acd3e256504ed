/**
 * Three kernels for matrix products. Sizes are read from a buffer instead of being compiled in, so that a model's
 * many shapes share few pipelines; that costs nothing measurable, and compiling is most of a first step.
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
import { f32, mainInputs, opaque } from "../../gpu/wgsl.ts";
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
  /** True if B is [n, k], which only kernels with A as [m, k] read; false if it is [k, n]. */
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
}

const range = (count: number) => [...Array(count).keys()];
const XYZW = "xyzw";

/** Records a kernel: declares its operands, sizes and `store`, the only place where results are written. */
function dispatch(g: Graph, label: string, p: Product, body: string, tile: readonly [number, number]): void {
  const { m, n, k, a, b, bias, residual, out, accumulate, batch = 1, factors, when, symmetric } = p;
  const aligned = n % 4 === 0;
  const wrap = (t: Tensor): Operand => (aligned ? vec4(t) : t);
  const times = (factor: number | undefined) => (factor === undefined ? "" : `${f32(factor)} * `);
  const product = `${times(factors?.[0])}value`;
  const rest = residual ? ` + ${times(factors?.[1])}residual[i]` : "";
  const assign = accumulate ? "+=" : "=";
  g.dispatch({
    label: `matmul_${label}`,
    flops: 2 * batch * k * (symmetric ? computed(m, tile) : m * n),
    read: {
      a: vec4(a),
      b: vec4(b),
      sizes: g.sizes(m, n, k, padded(p.columnA ? m : k) / 4, padded(p.rowB ? k : n) / 4),
      ...(bias ? { bias: wrap(bias) } : {}),
      ...(residual ? { residual: wrap(residual) } : {}),
      ...(when ? { when_given: when.tensor } : {}),
    },
    write: { out: wrap(out) },
    workgroups: [batch * Math.ceil(m / tile[0]), Math.ceil(n / tile[1]), 1],
    body: `
${
      batch > 1
        ? `// The product that a workgroup belongs to, and its place in it.
fn product_of(x: u32) -> u32 { return x / ((sizes[0] + ${tile[0] - 1}u) / ${tile[0]}u); }
fn tile_of(x: u32) -> u32 { return x % ((sizes[0] + ${tile[0] - 1}u) / ${tile[0]}u); }`
        : `fn product_of(x: u32) -> u32 { return 0u; }
fn tile_of(x: u32) -> u32 { return x; }`
    }
${
      symmetric
        ? `// Whether the tile of this row and column lies below the diagonal.
fn mirrored(row: u32, column: u32) -> bool {
  return row / ${tile[0]}u * ${tile[0]}u >= (column / ${tile[1]}u + 1u) * ${tile[1]}u;
}`
        : ""
    }
// What the four sums of column group c start from.
fn start(c: u32) -> vec4f {
  ${
      !bias
        ? "return vec4f();"
        : aligned
        ? "return bias[min(c, sizes[1] / 4u - 1u)];"
        : `let at = min(vec4u(c * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(sizes[1] - 1u));
  return vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);`
    }
}
fn store(product: u32, row: u32, c: u32, value: vec4f) {
  let N = sizes[1];
  if (row >= sizes[0] || c * 4u >= N) { return; }
  ${
      aligned
        ? `let i = (product * sizes[0] + row) * (N / 4u) + c;
  let result = ${product}${rest};
  out[i] ${assign} result;
  ${
          symmetric
            ? `if (mirrored(c * 4u, row)) {
    let at = product * N * (N / 4u) + c * N + row / 4u;
    ${range(4).map((j) => `out[at + ${j}u * (N / 4u)][row % 4u] = result.${XYZW[j]};`).join("\n    ")}
  }`
            : ""
        }`
        : `let at = (product * sizes[0] + row) * N + c * 4u;
  ${
          range(4).map((j) => {
            const one = `let i = at + ${j}u; out[i] ${assign} ${product}.${XYZW[j]}${rest};`;
            return j === 0 ? `{ ${one} }` : `if (c * 4u + ${j}u < N) { ${one} }`;
          }).join("\n  ")
        }`
    }
}
${body}`,
  });
}

/** Results of a symmetric product of some rows that are computed. */
function computed(size: number, [rows, columns]: readonly [number, number]): number {
  let count = 0;
  for (let row = 0; row < size; row += rows) {
    const first = Math.floor(row / columns) * columns; // tiles before this one are mirrored
    count += Math.min(rows, size - row) * (size - first);
  }
  return count;
}

/** WGSL at the start of every kernel. */
const prologue = ({ when, columnA, symmetric }: Product, [rows, columns]: readonly [number, number]) => `
  ${when ? `if (when_given[${when.index}] == 0.0) { return; }` : ""}
  let M = sizes[0];
  let K = sizes[2];
  let A4 = sizes[3]; // groups of four values in a row of A
  let B4 = sizes[4];
  let product = product_of(group.x);
  let tile = tile_of(group.x);
  ${symmetric ? `if (mirrored(tile * ${rows}u, group.y * ${columns}u)) { return; }` : ""}
  let a_first = product * ${columnA ? "K" : "M"} * A4;
  let b_first = product * K * B4;`;

/**
 * One subgroup of 8 lanes owns up to 32 rows and 32 columns, four per lane. For four values of k, every lane
 * loads a part of A, which is then broadcast from lane to lane: on lavapipe a broadcast costs a quarter of
 * a load. Adding all four products to an accumulator at once, as a matrix times a vector, keeps it in
 * registers; k outside of rows would load and store it four times.
 */
export function broadcastKernel(g: Graph, p: Product): void {
  const { m, k, columnA, rowB } = p;
  const rows = m === 1 && !columnA ? 1 : m <= 8 ? 8 : m <= 16 ? 16 : 32;
  const tile = [rows, 32] as const;
  const ragged = k % 4 !== 0;
  const vectors = range(Math.ceil(rows / 8)); // that a lane loads
  // Lane l of a column-major A loads `vectors` neighbours of row k + l / 2, in the first or second half.
  const starts = columnA
    ? vectors.map((v) =>
      `let at${v} = a_first + min(tile * ${rows / 4}u + (lane & 1u) * ${rows / 8}u + ${v}u, A4 - 1u);`
    )
    : vectors.map((v) => `let at${v} = a_first + min(row + lane + ${v * 8}u, M - 1u) * A4;`);
  const load = columnA
    ? `let k_own = k * 4u + (lane >> 1u);
    ${ragged ? "let k_row = min(k_own, K - 1u) * A4;" : "let k_row = k_own * A4;"}
    ${
      vectors.map((v) =>
        ragged
          ? `let a${v} = select(vec4f(), a[k_row + at${v}], k_own < K);`
          : `let a${v} = a[k_row + at${v}];`
      ).join("\n    ")
    }`
    : vectors.map((v) => `let a${v} = a[at${v} + k];`).join("\n    ");
  const value = (r: number, i: number) => {
    if (!columnA) return `subgroupBroadcast(a${r >> 3}.${XYZW[i]}, ${r & 7}u)`;
    const vector = r >> 2;
    const lane = i * 2 + Math.floor(vector / vectors.length);
    return `subgroupBroadcast(a${vector % vectors.length}.${XYZW[r & 3]}, ${lane}u)`;
  };
  const rowOfB = (i: number) => (ragged ? `min(k * 4u + ${i}u, K - 1u)` : `(k * 4u + ${i}u)`);
  // Four values of k of the lane's four columns; to transpose them costs nothing where vectors are split anyway.
  const b4 = rowB
    ? `transpose(mat4x4f(${range(4).map((j) => `b[b_row${j} + k]`).join(", ")}))`
    : `mat4x4f(${range(4).map((i) => `b[${rowOfB(i)} * B4 + b_column]`).join(", ")})`;
  const startsB = rowB
    ? range(4).map((j) => `let b_row${j} = min(column * 4u + ${j}u, sizes[1] - 1u) * B4;`)
    : ["let b_column = b_first + min(column, B4 - 1u);"];
  dispatch(
    g,
    "broadcast",
    p,
    `
@compute @workgroup_size(8) fn main(${mainInputs}) {${prologue(p, tile)}
  let row = tile * ${rows}u;
  let column = group.y * 8u + lane;
  ${[...startsB, ...starts].join("\n  ")}
  let first = start(column);
  ${range(rows).map((r) => `var c${r} = first;`).join(" ")}
  for (var k = 0u; k < (K + 3u) / 4u; k++) {
    ${load}
    let b4 = ${b4};
    ${
      range(rows).map((r) => `c${r} += b4 * vec4f(${range(4).map((i) => value(r, i)).join(", ")});`).join(
        "\n    ",
      )
    }
  }
  var results = array<vec4f, ${rows}>(${range(rows).map((r) => `c${r}`).join(", ")});
  for (var r = 0u; r < ${opaque(rows)}; r++) { store(product, row + r, column, results[r]); }
}`,
    tile,
  );
}

/** A is [k, m]; a thread owns 8 rows and 16 columns in registers. Needs nothing that an adapter may lack. */
export function tileKernel(g: Graph, p: Product): void {
  // Rows of threads per workgroup: small on the CPU, where a workgroup is a unit of work for a core.
  const threadRows = g.profile.isSoftware ? 2 : 8;
  const tile = [8 * threadRows, 128] as const;
  const cells = range(8).flatMap((r) => range(4).map((c) => ({ r, c })));
  dispatch(
    g,
    "tile",
    p,
    `
@compute @workgroup_size(8, ${threadRows}) fn main(${mainInputs}) {${prologue(p, tile)}
  let row = (tile * ${threadRows}u + lane / 8u) * 8u;
  let column = (group.y * 8u + lane % 8u) * 4u;
  let a_upper = a_first + min(row / 4u, A4 - 1u);
  let a_lower = a_first + min(row / 4u + 1u, A4 - 1u);
  ${range(4).map((c) => `let at${c} = b_first + min(column + ${c}u, B4 - 1u);`).join(" ")}
  ${range(4).map((c) => `let first${c} = start(column + ${c}u);`).join(" ")}
  ${cells.map(({ r, c }) => `var c${r}${c} = first${c};`).join(" ")}
  for (var k = 0u; k < K; k++) {
    let a0 = a[k * A4 + a_upper];
    let a1 = a[k * A4 + a_lower];
    ${range(4).map((c) => `let b${c} = b[k * B4 + at${c}];`).join("\n    ")}
    ${
      cells.map(({ r, c }) => `c${r}${c} = fma(vec4f(a${r >> 2}.${XYZW[r & 3]}), b${c}, c${r}${c});`).join(
        "\n    ",
      )
    }
  }
  var results = array<vec4f, 32>(${cells.map(({ r, c }) => `c${r}${c}`).join(", ")});
  for (var i = 0u; i < ${opaque(32)}; i++) { store(product, row + i / 4u, column + i % 4u, results[i]); }
}`,
    tile,
  );
}

/**
 * The usual kernel of a discrete GPU. A workgroup of 16 x 16 threads owns 64 x 64 results, brings 16 values of k of
 * both operands into workgroup memory at a time, and every thread computes 4 x 4 results from them. On
 * lavapipe, where workgroup memory is no faster than any other and barriers are dear, it is the slowest.
 */
export function sharedKernel(g: Graph, p: Product): void {
  const tile = [64, 64] as const;
  // The tile of A keeps A's own layout: [k][row / 4], or [row][k / 4].
  const fetchA = p.columnA
    ? "tile_a[row * 16u + column] = select(vec4f(), a[min(k + row, K - 1u) * A4 + at_a], k + row < K);"
    : "tile_a[lane] = select(vec4f(), a[at_a + min(k / 4u + lane % 4u, A4 - 1u)], k / 4u + lane % 4u < A4);";
  // The tile of B too: [k][column / 4], or [column][k / 4].
  const fetchB = p.rowB
    ? "tile_b[lane] = b[at_b + min(k / 4u + lane % 4u, B4 - 1u)];"
    : "tile_b[lane] = select(vec4f(), b[min(k + row, K - 1u) * B4 + at_b], k + row < K);";
  const b4 = p.rowB
    ? `transpose(mat4x4f(${range(4).map((j) => `tile_b[(column * 4u + ${j}u) * 4u + i]`).join(", ")}))`
    : `mat4x4f(${range(4).map((j) => `tile_b[(i * 4u + ${j}u) * 16u + column]`).join(", ")})`;
  const product = p.columnA
    ? `for (var i = 0u; i < ${opaque(16)}; i++) {
      let x = tile_a[i * 16u + row];
      let y = tile_b[i * 16u + column];
      ${range(4).map((r) => `c${r} = fma(vec4f(x.${XYZW[r]}), y, c${r});`).join(" ")}
    }`
    : `for (var i = 0u; i < ${opaque(4)}; i++) {
      let y = ${b4};
      ${range(4).map((r) => `c${r} += y * tile_a[(row * 4u + ${r}u) * 4u + i];`).join(" ")}
    }`;
  dispatch(
    g,
    "shared",
    p,
    `
var<workgroup> tile_a: array<vec4f, 256>;
var<workgroup> tile_b: array<vec4f, 256>;
@compute @workgroup_size(256) fn main(${mainInputs}) {${prologue(p, tile)}
  let row = lane / 16u;
  let column = lane % 16u;
  let at_a = a_first + ${
      p.columnA ? "min(tile * 16u + column, A4 - 1u)" : "min(tile * 64u + lane / 4u, M - 1u) * A4"
    };
  let at_b = ${
      p.rowB
        ? "min(group.y * 64u + lane / 4u, sizes[1] - 1u) * B4"
        : "b_first + min(group.y * 16u + column, B4 - 1u)"
    };
  let sum = start(group.y * 16u + column);
  ${range(4).map((r) => `var c${r} = sum;`).join(" ")}
  for (var k = 0u; k < K; k += 16u) {
    ${fetchA}
    ${fetchB}
    workgroupBarrier();
    ${product}
    workgroupBarrier();
  }
  let first = (tile * 16u + row) * 4u;
  ${range(4).map((r) => `store(product, first + ${r}u, group.y * 16u + column, c${r});`).join("\n  ")}
}`,
    tile,
  );
}
