/**
 * Pieces of WGSL that kernels share: their `main` with a thread or a workgroup for each of many things, loops that
 * compilers leave alone, and numbers.
 *
 * @module
 */

/** The most workgroups that one dimension of a dispatch may have on every adapter. */
export const MAX_WORKGROUPS = 65_535;

/** The standard inputs of a kernel's `main`, named `id`, `group`, `groups` and `lane`. */
export const mainInputs: string =
  "@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u, " +
  "@builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32";

/** A complete `main` and the workgroups that run it, for `Graph.dispatch`. */
export interface Launch {
  /** WGSL without binding declarations. */
  readonly body: string;
  /** Workgroups in x, y and z; z is 1. */
  readonly workgroups: readonly [number, number, number];
}

/** What {@linkcode perThread} and {@linkcode perWorkgroup} take. */
export interface LaunchOptions {
  /** How many threads or workgroups, one for each index from 0 to `count - 1`. */
  readonly count: number;
  /**
   * The count in WGSL, where a kernel is compiled once for many shapes: a u32 expression such as `sizes[0]`; default
   * the number.
   */
  readonly countWgsl?: string;
  /** Name of the index in WGSL, a u32; default `i`. */
  readonly index?: string;
  /** Threads of a workgroup; default 64. */
  readonly threads?: number;
  /** WGSL above `main`: functions, aliases, workgroup memory. */
  readonly functions?: string;
  /** WGSL statements of `main`. They know the index, COUNT and {@linkcode mainInputs}. */
  readonly statements: string;
}

/**
 * A kernel with a thread for each index. Threads past the last one return before the statements.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * const { workgroups } = perThread({ count: 100, statements: "out[i] = 2.0 * x[i];" });
 * deepEqual(workgroups, [2, 1, 1]);
 * ```
 */
export function perThread(options: LaunchOptions): Launch {
  const { count, threads = 64 } = options;
  return launch(options, Math.ceil(count / threads), `(${FLAT_GROUP}) * ${threads}u + lane`);
}

/** A kernel with a workgroup for each index. Workgroups past the last one return before the statements. */
export function perWorkgroup(options: LaunchOptions): Launch {
  return launch(options, options.count, FLAT_GROUP);
}

/** The workgroup's number among all, whatever {@linkcode flatWorkgroups} made of them. */
const FLAT_GROUP = "group.x + group.y * groups.x";

function launch(options: LaunchOptions, workgroups: number, indexWgsl: string): Launch {
  const { count, countWgsl, index = "i", threads = 64, functions = "", statements } = options;
  return {
    workgroups: flatWorkgroups(workgroups),
    body: `${functions}
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {
  ${countWgsl === undefined ? `const COUNT = ${count}u` : `let COUNT = ${countWgsl}`};
  let ${index} = ${indexWgsl};
  if (${index} >= COUNT) { return; }
  ${statements}
}`,
  };
}

/**
 * Workgroups for `count` in one dimension, folded into two when one dimension cannot hold them; a few may be past
 * the end.
 */
export function flatWorkgroups(count: number): [number, number, number] {
  if (count <= MAX_WORKGROUPS) return [count, 1, 1];
  const y = Math.ceil(count / MAX_WORKGROUPS);
  return [Math.ceil(count / y), y, 1];
}

/**
 * The bound of a loop, written so that compilers do not unroll it: it is multiplied with `groups.z`, which is 1 in
 * every flat dispatch but not known to them. Mesa 25 unrolls long loops over constants, which was seen to cost
 * seconds of compilation for a kernel that runs for microseconds.
 *
 * @param bound A number, or the name of a u32 in WGSL.
 * @returns A WGSL product. It needs the input `groups` of {@linkcode mainInputs}; functions may take it as a parameter.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * equal(`for (var k = 0u; k < ${opaque(8)}; k++) {}`, "for (var k = 0u; k < 8u * groups.z; k++) {}");
 * ```
 */
export function opaque(bound: number | string): string {
  return `${typeof bound === "number" ? `${bound}u` : bound} * groups.z`;
}

/** Statements for the numbers from 0 to `count - 1`, one after the other. */
export function unroll(count: number, statement: (n: number) => string): string {
  return Array.from({ length: count }, (_, n) => statement(n)).join(" ");
}

/** The same for expressions that are arguments or elements, with commas. */
export function list(count: number, expression: (n: number) => string): string {
  return Array.from({ length: count }, (_, n) => expression(n)).join(", ");
}

/**
 * Writes a number in WGSL as the f32 that is nearest to it.
 *
 * @returns An expression of type f32.
 * @throws {RangeError} If that f32 is not finite.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * equal(f32(2), "f32(2.0)");
 * equal(f32(0.1), "f32(0.10000000149011612)");
 * ```
 */
export function f32(value: number): string {
  const nearest = Math.fround(value);
  if (!Number.isFinite(nearest)) {
    throw new RangeError(`A number in WGSL must be a finite f32, at most 3.4e38 in magnitude, got ${value}`);
  }
  const text = Object.is(nearest, -0) ? "-0" : String(nearest);
  return `f32(${/[.e]/.test(text) ? text : text + ".0"})`;
}

/** WGSL: whether a number is neither infinite nor NaN. By its bits, since compilers may assume that all are. */
export const isFiniteWgsl: string = `
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
`;
