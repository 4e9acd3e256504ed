/**
 * Counter-based random numbers: every value is a hash of (seed, index), so nothing has to be stored,
 * replayed or kept in order, and the host and the GPU draw the same bits ({@linkcode hashWgsl}).
 *
 * The hash is MurmurHash3's 32-bit finaliser (public domain), applied to a running combination.
 *
 * @module
 */

/**
 * Hashes a 32-bit unsigned integer to another, evenly and without collisions (a bijection).
 *
 * @param x Any integer; its low 32 bits count.
 * @returns An unsigned 32-bit integer.
 */
export function hash32(x: number): number {
  x = (x ^ (x >>> 16)) >>> 0;
  x = Math.imul(x, 0x85ebca6b) >>> 0;
  x = (x ^ (x >>> 13)) >>> 0;
  x = Math.imul(x, 0xc2b2ae35) >>> 0;
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * Combines a seed with any number of counters into one 32-bit hash.
 *
 * @param seed The seed, an integer.
 * @param counters Integers such as an epoch, a step and an index; their order matters.
 * @returns An unsigned 32-bit integer.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * equal(hashCombine(1, 2, 3), hashCombine(1, 2, 3));
 * ```
 */
export function hashCombine(seed: number, ...counters: number[]): number {
  let h = hash32(seed + 0x9e3779b9);
  for (const c of counters) h = hash32(h ^ Math.imul(c + 0x7f4a7c15, 0x9e3779b1));
  return h;
}

/**
 * A uniform number in [0, 1) with 24 random bits, exactly representable in f32.
 *
 * @param seed A 32-bit seed, as {@linkcode hashCombine} gives.
 * @param index Which number of the seed's sequence.
 */
export function uniform(seed: number, index: number): number {
  return (hashCombine(seed, index) >>> 8) / 0x1000000;
}

/**
 * Fills an array with normally distributed numbers by the Box-Muller transform.
 *
 * @param out The array to fill.
 * @param seed A 32-bit seed.
 * @param std Standard deviation; the mean is 0.
 */
export function fillNormal(out: Float32Array, seed: number, std: number): void {
  for (let i = 0; i < out.length; i += 2) {
    // 1 - u lies in (0, 1], where the logarithm is finite.
    const radius = std * Math.sqrt(-2 * Math.log(1 - uniform(seed, i)));
    const angle = 2 * Math.PI * uniform(seed, i + 1);
    out[i] = radius * Math.cos(angle);
    if (i + 1 < out.length) out[i + 1] = radius * Math.sin(angle);
  }
}

/**
 * Fills an array with numbers that are uniform over [-bound, bound).
 *
 * @param out The array to fill.
 * @param seed A 32-bit seed.
 * @param bound The largest magnitude.
 */
export function fillUniform(out: Float32Array, seed: number, bound: number): void {
  for (let i = 0; i < out.length; i++) out[i] = bound * (2 * uniform(seed, i) - 1);
}

/**
 * The same hash in WGSL: `hash32(x: u32) -> u32` and `hash_combine(h: u32, counter: u32) -> u32`, where
 * the first `h` is `hash32(seed + 0x9e3779b9u)`.
 */
export const hashWgsl: string = `
fn hash32(value: u32) -> u32 {
  var x = value;
  x = (x ^ (x >> 16u)) * 0x85ebca6bu;
  x = (x ^ (x >> 13u)) * 0xc2b2ae35u;
  return x ^ (x >> 16u);
}
fn hash_combine(h: u32, counter: u32) -> u32 {
  return hash32(h ^ ((counter + 0x7f4a7c15u) * 0x9e3779b1u));
}
`;
