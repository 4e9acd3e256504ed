/**
 * The same numbers for every implementation, and checks of what they make of them.
 *
 * @module
 */
import type { MatmulCase, ModelShape } from "./protocol.ts";

/** Mixes an index and a seed into 32 bits (the finaliser of MurmurHash3); `peers/inputs.py` has it too. */
function hash(index: number, seed: number): number {
  let h = (index + Math.imul(seed, 0x9e3779b9)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Uniform numbers from `-scale` to `scale`. */
export function uniform(count: number, seed: number, scale: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = (hash(i, seed) / 2 ** 31 - 1) * scale;
  return values;
}

/** Tokens and targets, B x T ids each. */
export interface Batch {
  /** What the model reads. */
  readonly tokens: Uint32Array<ArrayBuffer>;
  /** What it is to predict. */
  readonly targets: Uint32Array<ArrayBuffer>;
}

/** Steps that are checked; they train on one batch, so that the loss must fall. */
export const CHECKED_STEPS = 3;

/**
 * The batch of a step, random ids. Each later step has one of its own: on a single batch the loss would reach 0
 * and gradients the range of denormal numbers, which CPUs are slow at.
 */
export function batchOf({ batch, seqLen, vocab }: ModelShape, step: number): Batch {
  const seed = 1001 + 2 * Math.max(0, step + 1 - CHECKED_STEPS);
  const ids = (seed: number) => Uint32Array.from({ length: batch * seqLen }, (_, i) => hash(i, seed) % vocab);
  return { tokens: ids(seed), targets: ids(seed + 1) };
}

/** The prompt of one of several sequences, random ids. */
export function promptOf({ vocab }: ModelShape, length: number, sequence: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length }, (_, i) => hash(i, 5001 + sequence) % vocab);
}

/** SHA-256 of token ids as 32-bit little-endian numbers, in hexadecimal digits. */
export async function digestOfIds(ids: Iterable<number>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", Uint32Array.from(ids));
  return new Uint8Array(digest).toHex();
}

/** A weight matrix by its name in a Hugging Face checkpoint. */
export interface Weight {
  /** Without the leading `transformer.`. */
  readonly name: string;
  /** As [in, out], or [rows, C] for tables. */
  readonly shape: readonly [number, number];
  /** Its values, row by row. */
  readonly values: Float32Array<ArrayBuffer>;
}

/**
 * The starting weights; norms start at 1 and biases, where a model has them, at 0. They are five times as large
 * as usual, so that the first loss depends on every part of the model and not on the vocabulary alone.
 */
export function weights({ layers, width, seqLen, vocab }: ModelShape): Weight[] {
  const shapes: [string, readonly [number, number]][] = [["wte", [vocab, width]], ["wpe", [seqLen, width]]];
  for (let i = 0; i < layers; i++) {
    shapes.push([`h.${i}.attn.c_attn`, [width, 3 * width]], [`h.${i}.attn.c_proj`, [width, width]]);
    shapes.push([`h.${i}.mlp.c_fc`, [width, 4 * width]], [`h.${i}.mlp.c_proj`, [4 * width, width]]);
  }
  return shapes.map(([name, shape], seed) => ({
    name: `${name}.weight`,
    shape,
    values: uniform(shape[0] * shape[1], seed, 0.1 * Math.sqrt(3)),
  }));
}

/** A and B of a product. */
export function matmulInputs({ m, k, n }: MatmulCase): {
  a: Float32Array<ArrayBuffer>;
  b: Float32Array<ArrayBuffer>;
} {
  return { a: uniform(m * k, 1, 0.5), b: uniform(k * n, 2, 0.5) };
}

/**
 * Checks every value of a product C = A B by C x = A (B x) in float64 for a random x (Freivalds): what costs
 * m k n multiplications to compute costs m n + m k + k n to check.
 *
 * @returns The largest error relative to the largest value.
 * @throws {Error} If it is larger than f32 sums have.
 */
export function checkProduct(what: MatmulCase, c: Float32Array): number {
  const { m, k, n, transposedA, transposedB } = what;
  if (c.length !== m * n) throw new Error(`the product must have ${m * n} values, got ${c.length}`);
  const { a, b } = matmulInputs(what);
  const x = Float64Array.from(uniform(n, 3, 1));
  const expected = times(a, m, k, times(b, k, n, x, transposedB), transposedA);
  const got = times(c, m, n, x);
  const error = got.reduce((most, y, i) => Math.max(most, Math.abs(y - expected[i])), 0) /
    expected.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
  if (!(error <= 2e-5)) throw new Error(`wrong product: relative error ${error.toExponential(1)}`);
  return error;
}

/** Matrix [rows, columns] times x; `transposed` if it lies in memory as [columns, rows]. */
function times(
  matrix: Float32Array,
  rows: number,
  columns: number,
  x: Float64Array,
  transposed = false,
): Float64Array {
  const y = new Float64Array(rows);
  for (let i = 0; i < (transposed ? columns : rows); i++) {
    for (let j = 0; j < (transposed ? rows : columns); j++) {
      if (transposed) y[j] += matrix[i * rows + j] * x[i];
      else y[i] += matrix[i * columns + j] * x[j];
    }
  }
  return y;
}
