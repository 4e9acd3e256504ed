/**
 * Matrix products out = A B (+ bias) (+ residual), the kernels below every linear layer.
 *
 * Two kernels, chosen by what the adapter has:
 *
 * - `broadcast`, where subgroups have 8 lanes: A is [M, K]; one subgroup owns 16 rows and 32 columns, each
 *   lane loads a part of A and broadcasts it. On lavapipe a broadcast costs a quarter of a load.
 * - `tile`: A is [K, M]; a thread owns 8 rows and 16 columns in registers. Runs everywhere.
 *
 * Other layouts are transposed first, which costs little beside the product.
 *
 * @module
 */
import { type Graph, type Operand, vec4 } from "../gpu/graph.ts";
import { flatIndexWgsl, flatWorkgroups, mainInputs, opaqueLoop } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** What {@linkcode matmul} takes. */
export interface MatmulOptions {
  /** Rows of A and out. */
  readonly m: number;
  /** Columns of B and out. */
  readonly n: number;
  /** Columns of A and rows of B: what is summed over. */
  readonly k: number;
  /** A, m x k values. */
  readonly a: Tensor;
  /** B, k x n values. */
  readonly b: Tensor;
  /** True if A lies in memory as [k, m]; default false: [m, k]. */
  readonly transposedA?: boolean;
  /** True if B lies in memory as [n, k]; default false: [k, n]. */
  readonly transposedB?: boolean;
  /** The result, [m, n]. */
  readonly out: Tensor;
  /** Added to every row, [n]. */
  readonly bias?: Tensor;
  /** Added to the result, [m, n]. */
  readonly residual?: Tensor;
  /** Add to what `out` holds; default false. */
  readonly accumulate?: boolean;
}

/** Records a matrix product. */
export function matmul(g: Graph, options: MatmulOptions): void {
  const { m, n, k } = options;
  const b = options.transposedB ? transpose(g, options.b, n, k) : options.b;
  if (g.profile.subgroupSize === 8) {
    const a = options.transposedA ? transpose(g, options.a, k, m) : options.a;
    broadcastKernel(g, { ...options, a, b });
  } else {
    const a = options.transposedA ? options.a : transpose(g, options.a, m, k);
    tileKernel(g, { ...options, a, b });
  }
}

/** Records the transpose of `rows` x `columns` values and returns it. */
export function transpose(g: Graph, from: Tensor, rows: number, columns: number): Tensor {
  const to = g.activation(`${from.label}.transposed`, [columns, rows]);
  const vectors = rows % 4 === 0 && columns % 4 === 0;
  const threads = vectors ? (rows / 4) * (columns / 4) : rows * columns;
  const block = `
  // Threads run along the rows of the result, which are written whole.
  let r = i % (ROWS / 4u);
  let c = i / (ROWS / 4u);
  let block = transpose(mat4x4f(source[(r * 4u) * (COLUMNS / 4u) + c], source[(r * 4u + 1u) * (COLUMNS / 4u) + c],
    source[(r * 4u + 2u) * (COLUMNS / 4u) + c], source[(r * 4u + 3u) * (COLUMNS / 4u) + c]));
  for (var j = 0u; j < 4u; j++) { out[(c * 4u + j) * (ROWS / 4u) + r] = block[j]; }`;
  g.dispatch({
    label: "transpose",
    read: { source: vectors ? vec4(from) : from },
    write: { out: vectors ? vec4(to) : to },
    constants: { ROWS: rows, COLUMNS: columns, THREADS: threads },
    workgroups: flatWorkgroups(Math.ceil(threads / 64)),
    body: `${flatIndexWgsl}
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let i = flat_group(group, groups) * 64u + lane;
  if (i >= THREADS) { return; }
  ${vectors ? block : "out[i] = source[(i % ROWS) * COLUMNS + i / ROWS];"}
}`,
  });
  return to;
}

/**
 * WGSL for reading four neighbours in a row of a matrix and for writing four results, in vectors where the
 * row length allows it and guarded value by value where not.
 */
function accessWgsl(options: MatmulOptions, aRow: number): {
  wgsl: string;
  read: Record<string, Operand>;
  write: Record<string, Operand>;
} {
  const { n, a, b, bias, residual, out, accumulate } = options;
  const aligned = n % 4 === 0;
  const wrap = (t: Tensor, vectors: boolean): Operand => (vectors ? vec4(t) : t);
  const read: Record<string, Operand> = { a: wrap(a, aRow % 4 === 0), b: wrap(b, aligned) };
  if (bias) read.bias = wrap(bias, aligned);
  if (residual) read.residual = wrap(residual, aligned);
  // Indices past a row's end are clamped: their products meet a zero or are not stored.
  const four = (name: string, row: string, at: string, length: number, zero: boolean) =>
    length % 4 === 0
      ? `return ${name}[${row} * ${length / 4}u + min(${at}, ${length / 4 - 1}u)];`
      : `var v = vec4f();
  for (var j = 0u; j < 4u; j++) {
    let at = min(${at} * 4u + j, ${length - 1}u);
    v[j] = ${
        zero
          ? `select(0.0, ${name}[${row} * ${length}u + at], ${at} * 4u + j < ${length}u)`
          : `${name}[${row} * ${length}u + at]`
      };
  }
  return v;`;
  const added = (name: string, row: string) => `added_${name}(${row}, c)`;
  const terms = [
    ...(bias ? [added("bias", "0u")] : []),
    ...(residual ? [added("residual", "row")] : []),
  ];
  const extra = [
    ...(bias ? [`fn added_bias(row: u32, c: u32) -> vec4f { ${four("bias", "row", "c", n, false)} }`] : []),
    ...(residual
      ? [`fn added_residual(row: u32, c: u32) -> vec4f { ${four("residual", "row", "c", n, false)} }`]
      : []),
  ].join("\n");
  const assign = accumulate ? "+=" : "=";
  const wgsl = `
// Values 4c to 4c+3 of a row.
fn load_a(row: u32, c: u32) -> vec4f { ${four("a", "row", "c", aRow, true)} }
fn load_b(row: u32, c: u32) -> vec4f { ${four("b", "row", "c", n, false)} }
${extra}
fn store(row: u32, c: u32, value: vec4f) {
  if (row >= M || c * 4u >= N) { return; }
  let v = ${["value", ...terms].join(" + ")};
  ${
    aligned ? `out[row * ${n / 4}u + c] ${assign} v;` : `for (var j = 0u; j < min(4u, N - c * 4u); j++) {
    out[row * N + c * 4u + j] ${assign} v[j];
  }`
  }
}
`;
  return { wgsl, read, write: { out: wrap(out, aligned) } };
}

const range = (count: number) => [...Array(count).keys()];

/** A is [M, K]. */
function broadcastKernel(g: Graph, options: MatmulOptions): void {
  const { m, n, k } = options;
  const rows = range(16);
  const { wgsl, read, write } = accessWgsl(options, k);
  const products = ["x", "y", "z", "w"].map((axis, i) =>
    `{
      let b = load_b(min(k * 4u + ${i}u, K - 1u), column);
      ${
      rows.map((r) => `c${r} = fma(vec4f(subgroupBroadcast(a${r >> 3}.${axis}, ${r & 7}u)), b, c${r});`)
        .join("\n      ")
    }
    }`
  ).join("\n    ");
  g.dispatch({
    label: "matmul_broadcast",
    read,
    write,
    constants: { M: m, N: n, K: k },
    workgroups: [Math.ceil(n / 32), Math.ceil(m / 16), 1],
    flops: 2 * m * n * k,
    body: `${wgsl}
@compute @workgroup_size(8) fn main(${mainInputs}) {
  let row = group.y * 16u;
  let column = group.x * 8u + lane;
  let first = min(row + lane, M - 1u);
  let second = min(row + lane + 8u, M - 1u);
  ${rows.map((r) => `var c${r} = vec4f();`).join(" ")}
  for (var k = 0u; k < ${Math.ceil(k / 4)}u; k++) {
    let a0 = load_a(first, k);
    let a1 = load_a(second, k);
    ${products}
  }
  var results = array<vec4f, 16>(${rows.map((r) => `c${r}`).join(", ")});
  ${opaqueLoop("r", 16, "store(row + r, column, results[r]);")}
}`,
  });
}

/** A is [K, M]. */
function tileKernel(g: Graph, options: MatmulOptions): void {
  const { m, n, k } = options;
  // Rows of threads per workgroup: small on the CPU, where a workgroup is a unit of work for a core.
  const threadRows = g.profile.isSoftware ? 2 : 8;
  const { wgsl, read, write } = accessWgsl(options, m);
  const tile = range(8).flatMap((r) => range(4).map((c) => ({ r, c })));
  g.dispatch({
    label: "matmul_tile",
    read,
    write,
    constants: { M: m, N: n, K: k },
    workgroups: [Math.ceil(n / 128), Math.ceil(m / (8 * threadRows)), 1],
    flops: 2 * m * n * k,
    body: `${wgsl}
@compute @workgroup_size(8, ${threadRows}) fn main(${mainInputs}) {
  let row = id.y * 8u;
  let column = id.x * 4u;
  ${tile.map(({ r, c }) => `var c${r}${c} = vec4f();`).join(" ")}
  for (var k = 0u; k < K; k++) {
    let a0 = load_a(k, row / 4u);
    let a1 = load_a(k, row / 4u + 1u);
    ${range(4).map((c) => `let b${c} = load_b(k, column + ${c}u);`).join("\n    ")}
    ${
      tile.map(({ r, c }) => `c${r}${c} = fma(vec4f(a${r >> 2}.${"xyzw"[r & 3]}), b${c}, c${r}${c});`).join(
        "\n    ",
      )
    }
  }
  var results = array<vec4f, 32>(${tile.map(({ r, c }) => `c${r}${c}`).join(", ")});
  ${opaqueLoop("i", 32, "store(row + i / 4u, column + i % 4u, results[i]);")}
}`,
  });
}
