/**
 * Dropout (Srivastava et al., JMLR 2014): with probability p a value becomes 0, else it is divided by 1 - p.
 *
 * The mask is a hash of (seed of the micro-batch, number of the dropout in the graph, index), so backward
 * draws it again instead of reading it, and replaying a step gives the same bits.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { f32 } from "../gpu/wgsl.ts";
import { elementwise } from "./elementwise.ts";
import { hashWgsl } from "./random.ts";

/** Name of the graph's input [1] u32 that dropout draws from: new for each micro-batch. */
export const RANDOM_SEED = "random_seed";

/** The input that dropout draws from. */
export function randomSeed(g: Graph): Tensor {
  return g.input(RANDOM_SEED, [1], "u32");
}

/**
 * WGSL `keep_factor(seed: u32, stream: u32, i: u32) -> f32`: 0 with probability p, else 1 / (1 - p).
 *
 * @throws {RangeError} If p is not in [0, 1).
 */
export function keepFactorWgsl(p: number): string {
  if (!(p >= 0 && p < 1)) throw new RangeError(`A dropout probability must be in [0, 1), got ${p}`);
  return `${hashWgsl}
fn keep_factor(seed: u32, stream: u32, i: u32) -> f32 {
  let h = hash_combine(hash_combine(hash32(seed + 0x9e3779b9u), stream), i);
  return select(${f32(1 / (1 - p))}, 0.0, h < ${Math.floor(p * 2 ** 32)}u);
}`;
}

/**
 * Drops values at random while training; elsewhere it returns x itself.
 *
 * @param g The graph to record in.
 * @param x Any shape.
 * @param p Probability of dropping, in [0, 1).
 * @returns The same shape.
 * @throws {RangeError} If p is not in [0, 1).
 */
export function dropout(g: Graph, x: Tensor, p: number): Tensor {
  const functions = keepFactorWgsl(p);
  if (!g.training || p === 0) return x;
  const y = g.activation("dropout", x.shape, [x]);
  const shared = { extra: { seed: randomSeed(g) }, constants: { STREAM: g.randomStream() } };
  const mask = `
fn keep(i: u32) -> vec4f {
  return vec4f(keep_factor(seed[0], STREAM, i * 4u), keep_factor(seed[0], STREAM, i * 4u + 1u),
    keep_factor(seed[0], STREAM, i * 4u + 2u), keep_factor(seed[0], STREAM, i * 4u + 3u));
}`;
  elementwise(g, {
    label: "dropout_forward",
    read: { x },
    out: y,
    ...shared,
    functions: functions + mask,
    statements: "out[i] = keep(i) * x[i];",
  });
  g.tape(() => {
    const dy = g.gradientOf(y);
    const dx = dy && g.gradientTarget(x);
    if (!dx) return;
    elementwise(g, {
      label: "dropout_backward",
      read: { dy },
      out: dx.tensor,
      ...shared,
      functions: functions + mask,
      statements: `out[i] ${dx.accumulate ? "+=" : "="} keep(i) * dy[i];`,
    });
  });
  return y;
}
