/**
 * Matrix products out = A B (+ bias) (+ residual), the kernels below every linear layer. Each kernel has a file of
 * its own; here operands are brought into a layout that the kernel reads, and the kernel is chosen: what {@linkcode Graph.choose} says for this shape, else the first of
 *
 * - `texels` on CPU adapters whose subgroups have 8 lanes (lavapipe): `broadcast`, which reads buffers where A has few rows,
 *   with its operands copied to texels,
 * - `matvec` on the same where A has few rows and B is a parameter of a graph that keeps weights,
 * - `tile` on other CPU adapters,
 * - on GPUs `few_rows` where A has few rows and is not transposed, else `shared128`, in tiles of 128 x 128 results, where there are enough of them to keep a large card at work, else
 *   `shared64`, and where those are few too and k is long, `split_k`.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import type { Profile } from "../../gpu/device.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { MOST_TEXEL_BYTES, prefersTexels } from "../../gpu/texels/texels.ts";
import { broadcastKernel } from "./broadcast_kernel.ts";
import { fewRowsKernel } from "./few_rows_kernel.ts";
import { matvecKernel } from "./matvec_kernel.ts";
import type { Product } from "./product.ts";
import { sharedKernel } from "./shared_kernel.ts";
import { ENOUGH_WORKGROUPS, type Sizes, splitKKernel, splitOf, tilesOf } from "./split_k.ts";
import { tileKernel } from "./tile_kernel.ts";
import { padded, padRows, transpose } from "./transpose.ts";

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
  /**
   * How many such products: A, B, out and the residual hold as many matrices, one after the other; default 1. More
   * than one needs m, n and k that are multiples of 4, and a B that is not transposed.
   */
  readonly batch?: number;
  /** What the product (with its bias) and the residual are multiplied with; default 1 and 1. */
  readonly factors?: readonly [product: number, residual: number];
  /**
   * The result is symmetric, and the residual with it: tiles on one side of the diagonal are computed and mirrored.
   * Needs m = n, a multiple of 4, no bias and no `accumulate`.
   */
  readonly symmetric?: boolean;
  /** Leaves the product out, so that `out` keeps what it holds, while the value at this index is 0. */
  readonly when?: { readonly tensor: Tensor; readonly index: number };
}

interface Variant {
  /** Whether the kernel runs on an adapter. */
  runs(profile: Profile): boolean;
  /** Whether it reads A as [m, k] too, and then B as [n, k]; `equally`: nothing is ever transposed for it. */
  readonly readsRows?: boolean | "equally";
  readonly record: (g: Graph, product: Product) => void;
}

/** Operands are read once for every 32 rows or columns of the result, so copies pay where those are more. */
function texelsKernel(g: Graph, p: Product): void {
  broadcastKernel(g, { ...p, a: g.texels(p.a), b: g.texels(p.b) });
}

/**
 * Rows of A up to which a transposed copy of B is not worth it: those of one tile. Up to as many, decoding has one kernel for any
 * number of rows, so that what becomes of a row does not depend on the others.
 */
const FEW_ROWS = 32;

/** Four workgroups for each core of a card of 40, such as Apple's M3 Max, that may be faster in wide tiles. */
const ENOUGH_FOR_SOME = 4 * 40;

/** Every kernel by name. All read B as [k, n] and A as [k, m]. */
export const matmulVariants: Readonly<Record<string, Variant>> = {
  texels: { runs: (p) => p.subgroupSize === 8, readsRows: true, record: texelsKernel },
  broadcast: { runs: (p) => p.subgroupSize === 8, readsRows: true, record: broadcastKernel },
  tile: { runs: () => true, record: tileKernel },
  few_rows: { runs: () => true, readsRows: "equally", record: fewRowsKernel },
  shared128: { runs: () => true, readsRows: "equally", record: (g, p) => sharedKernel(g, p, "shared128") },
  shared128x96: {
    runs: () => true,
    readsRows: "equally",
    record: (g, p) => sharedKernel(g, p, "shared128x96"),
  },
  shared64: { runs: () => true, readsRows: "equally", record: (g, p) => sharedKernel(g, p, "shared64") },
  split_k: { runs: () => true, readsRows: "equally", record: splitKKernel },
};

/** Sizes, and how A lies. */
type Shape = Sizes & Pick<MatmulOptions, "transposedA">;

/**
 * Names of the kernels that may be fastest on an adapter, the one to take unmeasured first.
 *
 * @param profile The adapter.
 * @param readsRows Only those that read A as [m, k] too.
 * @param sizes The product's, on which the order depends on GPUs; default a large one's.
 */
export function matmulCandidates(profile: Profile, readsRows = false, sizes?: Shape): string[] {
  const order = profile.isSoftware
    ? [sizes && sizes.m <= FEW_ROWS ? "broadcast" : "texels", "tile"]
    : cardCandidates(sizes);
  const fit = order.filter((name) =>
    matmulVariants[name].runs(profile) && (!readsRows || matmulVariants[name].readsRows)
  );
  return fit.length > 0 ? fit : ["shared64"];
}

function cardCandidates(sizes?: Shape): string[] {
  const tiles = tileCandidates(sizes);
  if (!sizes || sizes.m > FEW_ROWS) return tiles;
  return sizes.transposedA ? [...tiles, "few_rows"] : ["few_rows", ...tiles];
}

function tileCandidates(sizes?: Sizes): string[] {
  const wide = !sizes || tilesOf(sizes, 128, 96) >= ENOUGH_FOR_SOME ? ["shared128x96"] : [];
  if (!sizes || tilesOf(sizes, 128) >= ENOUGH_WORKGROUPS) return ["shared128", "shared64", ...wide];
  return [...(splitOf(sizes) ? ["split_k"] : []), "shared64", "shared128", ...wide];
}

/**
 * Records a matrix product, or a batch of them.
 *
 * @throws {RangeError} If a batch of more than one has sizes that are no multiples of 4 or a transposed B, or a
 * product cannot be symmetric.
 */
export function matmul(g: Graph, options: MatmulOptions): void {
  const { m, n, k, transposedA = false, transposedB = false, batch = 1 } = options;
  if (batch > 1 && (transposedB || [m, n, k].some((size) => size % 4 !== 0))) {
    throw new RangeError(
      `A batch of matrix products must have sizes that are multiples of 4 and a B that is not transposed, got ` +
        `${m}x${n}x${k}${transposedB ? ", B^T" : ""}; pad the matrices or multiply them one by one`,
    );
  }
  const { symmetric = false, bias, accumulate } = options;
  if (symmetric && (m !== n || n % 4 !== 0 || bias || accumulate)) {
    throw new RangeError(
      `A symmetric product must have as many rows as columns, a multiple of 4, no bias and nothing to be added to, ` +
        `got ${m}x${n}${bias ? ", a bias" : ""}${accumulate ? ", accumulate" : ""}`,
    );
  }
  const types = [options.a, options.b, options.out].map(({ dtype }) => dtype);
  const sizes = `${batch > 1 ? `${batch} of ` : ""}${m}x${n}x${k}`;
  const key = `matmul ${sizes}${transposedA ? " A^T" : ""}${transposedB ? " B^T" : ""}${
    symmetric ? " symmetric" : ""
  }${types.every((dtype) => dtype === "f32") ? "" : ` ${types.join(" ")}`}`;
  // In a batch operands are read as they lie.
  const candidates = matmulCandidates(g.profile, batch > 1 && !transposedA, options);
  const kept = keptRows(g, options);
  if (kept) return matvecKernel(g, { ...options, a: padRows(g, options.a, m, k), b: kept });
  const name = g.choose(key, candidates, (trial, candidate) => {
    const size = trialSize(g.profile, { batch, m, n, k });
    const a = trial.input("a", [size.batch, size.m, size.k], types[0]);
    const b = trial.input("b", [size.batch, size.k, size.n], types[1]);
    const out = trial.output("out", [size.batch, size.m, size.n], types[2]);
    // Sides that were halved may differ.
    const half = symmetric && size.m === size.n;
    record(trial, matmulVariants[candidate], {
      ...size,
      a,
      b,
      transposedA,
      transposedB,
      symmetric: half,
      out,
    });
  });
  record(g, matmulVariants[name], options);
}

/**
 * Texels of B as [n, k padded], which are kept: as long as one run after another reads each value once, no other way is as
 * fast on a CPU. Nothing where they cannot be kept or would not pay.
 */
function keptRows(g: Graph, options: MatmulOptions): Tensor | undefined {
  const { m, n, k, b, transposedA = false, transposedB = false, batch = 1, symmetric, when } = options;
  if (!prefersTexels(g.profile) || b.storage.kind !== "parameter" || m > FEW_ROWS) {
    return undefined;
  }
  const isPlain = batch === 1 && !transposedA && !symmetric && !when;
  const bytes = 4 * n * padded(k);
  if (!isPlain || b.dtype !== "f32" || bytes > MOST_TEXEL_BYTES || !g.canKeep(bytes)) return undefined;
  return g.prepare(() => g.keepTexels(layOut(g, b, transposedB ? [n, k] : [k, n], !transposedB)));
}

/** Halves the longest side until a trial is short; which kernel is fastest hardly depends on so large a size. */
function trialSize(
  profile: Profile,
  size: { batch: number; m: number; n: number; k: number },
): typeof size {
  const sides = { ...size };
  const limit = profile.isSoftware ? 2 ** 25 : 2 ** 33;
  while (sides.batch * sides.m * sides.n * sides.k > limit) {
    const longest = sides.batch > 1
      ? "batch"
      : (["m", "n", "k"] as const).reduce((a, b) => (sides[b] > sides[a] ? b : a));
    sides[longest] = Math.ceil(sides[longest] / 2);
  }
  return sides;
}

function record(g: Graph, variant: Variant, options: MatmulOptions): void {
  const { m, n, k, transposedA = false, transposedB = false, ...rest } = options;
  const columnA = transposedA || !variant.readsRows;
  // A transposed copy of B pays where several tiles of rows read it.
  const rowB = transposedB && (variant.readsRows === "equally" || (!columnA && m <= FEW_ROWS));
  variant.record(g, {
    ...rest,
    m,
    n,
    k,
    a: layOut(g, rest.a, transposedA ? [k, m] : [m, k], transposedA !== columnA),
    b: layOut(g, rest.b, transposedB ? [n, k] : [k, n], transposedB !== rowB),
    columnA,
    rowB,
  });
}

/** The matrix or its transpose, with rows of a multiple of 4 values. */
function layOut(g: Graph, x: Tensor, [rows, columns]: readonly [number, number], turn: boolean): Tensor {
  return turn ? transpose(g, x, rows, columns) : padRows(g, x, rows, columns);
}
