/**
 * A matrix product whose k is split: for results of few tiles that are sums over many values, such as gradients of weights, which
 * otherwise would occupy few of a card's cores. Each part of k is a product of its own,
 *
 *     P_s = A[:, k_s to k_s+1] B[k_s to k_s+1, :],
 *
 * and a second kernel adds the parts, always in the same order, so that two runs give the same bits:
 *
 *     out = bias + P_0 + P_1 + ..., with factors, residual and accumulate as in any product.
 *
 * The parts take at most 17 MB: see {@linkcode splitOf}.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { list, perThread } from "../../gpu/wgsl.ts";
import { extraOperands, type Parts, type Product, resultOperand, startAndStore } from "./product.ts";
import { sharedKernel } from "./shared_kernel.ts";

/**
 * Workgroups that keep a card at work: four for each core of the largest ones that are common, NVIDIA's H100 with 132 and RTX 4090
 * with 128, so that a core has others to run while one waits, and no large share of the cores waits for the last ones.
 */
export const ENOUGH_WORKGROUPS = 4 * 132;
/** Fewest values of k in a part: with fewer, storing and adding the parts would cost more than the cores gain. */
const MIN_DEPTH = 128;

/** Sizes of a product, or of a batch of them. */
export interface Sizes {
  /** Products; default 1. */
  readonly batch?: number;
  /** Rows of the result. */
  readonly m: number;
  /** Columns of the result. */
  readonly n: number;
  /** What is summed over. */
  readonly k: number;
  /** Whether tiles below the diagonal are not computed; default false. */
  readonly symmetric?: boolean;
}

/** Tiles of `side` x `width` results that are computed: workgroups with something to do. */
export function tilesOf({ batch = 1, m, n, symmetric = false }: Sizes, side: number, width = side): number {
  const [rows, columns] = [Math.ceil(m / side), Math.ceil(n / width)];
  return batch * (symmetric ? (rows * columns + Math.max(rows, columns)) / 2 : rows * columns);
}

/**
 * Shortest k of which two parts pay where there are half as many workgroups without. To write and read n parts takes
 *
 *     8 n / bandwidth : 2 k / operations
 *
 * of a product's time: 160 / k on H100, which does 20 operations while it moves a byte.
 */
const MIN_HALVED = 4096;

/**
 * How the k of a product is split, so that there are {@linkcode ENOUGH_WORKGROUPS}; undefined where k is too short.
 */
export function splitOf(sizes: Sizes): Parts | undefined {
  const wanted = Math.ceil(ENOUGH_WORKGROUPS / tilesOf(sizes, 64));
  const parts = Math.min(wanted, Math.floor(sizes.k / MIN_DEPTH));
  if (parts < 2 || wanted === 2 && sizes.k < MIN_HALVED) return undefined;
  const depth = Math.ceil(sizes.k / parts / 8) * 8;
  return { count: Math.ceil(sizes.k / depth), depth };
}

/** Records a product in tiles of 64 x 64 results and parts of k, and their sum; of one part where it is not split. */
export function splitKKernel(g: Graph, p: Product): void {
  const { m, n, batch = 1, out } = p;
  const parts = splitOf(p);
  if (parts === undefined) return sharedKernel(g, p, "shared64");
  const partial = g.activation("matmul.parts", [batch, parts.count, m, n]);
  const { bias: _bias, residual: _residual, accumulate: _accumulate, factors: _factors, ...alone } = p;
  sharedKernel(g, { ...alone, out: partial, parts }, "shared64");
  g.dispatch({
    label: "matmul_add_parts",
    read: {
      parts: resultOperand(p, partial),
      sizes: g.sizes(m, n, batch, parts.count),
      ...extraOperands(p),
    },
    write: { out: resultOperand(p, out) },
    ...perThread({
      count: batch * m * Math.ceil(n / 4),
      countWgsl: "sizes[2] * sizes[0] * ((sizes[1] + 3u) / 4u)",
      functions: startAndStore({ ...p, symmetric: false }), // the parts are complete
      statements: `
  ${p.when ? `if (when_given[${p.when.index}] == 0.0) { return; }` : ""}
  let M = sizes[0];
  let N4 = (sizes[1] + 3u) / 4u;
  let c = i % N4;
  let row = i / N4 % M;
  let product = i / N4 / M;
  var sum = start(c);
  for (var part = 0u; part < sizes[3]; part++) {
    let first = (product * sizes[3] + part) * M + row;
    sum += ${n % 4 === 0 ? "parts[first * N4 + c]" : VALUES};
  }
  store(product, row, c, sum);`,
    }),
  });
}

/** Four neighbours of a row one by one; what is past its end is not stored. */
const VALUES = `vec4f(${list(4, (j) => `parts[first * sizes[1] + min(c * 4u + ${j}u, sizes[1] - 1u)]`)})`;
