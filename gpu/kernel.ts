/**
 * Kernels: WGSL text, the tensors it is bound to, and how many workgroups run it.
 *
 * @module
 */
import type { Tensor } from "./tensor.ts";

/** How a kernel sees a tensor. `write` is read_write in WGSL, so a kernel may also update in place. */
export type Access = "read" | "write";

/** Element type in WGSL. A `vec4f` view of a tensor ends in padding when its size is no multiple of 4. */
export type WgslType = "f32" | "u32" | "vec4f" | "vec4u" | "vec2u" | "vec2f";

/** A tensor bound under a name. */
export interface Binding {
  /** Name of the variable in WGSL. */
  readonly name: string;
  /** Whether the kernel only reads it. */
  readonly access: Access;
  /** Element type of the array in WGSL. */
  readonly type: WgslType;
  /** What is bound. */
  readonly tensor: Tensor;
}

/** One dispatch of a recorded graph. */
export interface Kernel {
  /** Name for messages and profiles, such as `layer_norm_forward`. */
  readonly label: string;
  /** In the order of their binding numbers. */
  readonly bindings: readonly Binding[];
  /** Complete WGSL. */
  readonly code: string;
  /** Workgroups in x, y and z. */
  readonly workgroups: readonly [number, number, number];
  /** Floating point operations, for profiles. */
  readonly flops?: number;
  /** Bytes that are read and written, for profiles. */
  readonly bytes: number;
}

/** The most workgroups that one dimension of a dispatch may have on every adapter. */
export const MAX_WORKGROUPS = 65_535;

/**
 * Workgroups for `count` in one dimension, folded into two when one dimension cannot hold them. The
 * kernel finds its place with {@linkcode flatIndexWgsl} and must ignore what is past the end.
 */
export function flatWorkgroups(count: number): [number, number, number] {
  if (count <= MAX_WORKGROUPS) return [count, 1, 1];
  const y = Math.ceil(count / MAX_WORKGROUPS);
  return [Math.ceil(count / y), y, 1];
}

/**
 * WGSL helpers that undo the folding of {@linkcode flatWorkgroups}: `flat_group(group, groups)` gives the
 * index of the workgroup.
 */
export const flatIndexWgsl: string = `
fn flat_group(group: vec3u, groups: vec3u) -> u32 { return group.x + group.y * groups.x; }
`;

/** The standard inputs of a kernel's `main`, named `id`, `group`, `groups` and `lane`. */
export const mainInputs: string =
  "@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u, " +
  "@builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32";

/**
 * Writes the binding declarations above a kernel's body.
 *
 * @param bindings The bindings in order.
 * @param constants Emitted as `const NAME = value;`: integers as u32, other numbers as f32, booleans as bool.
 * @param body The rest of the WGSL.
 */
export function kernelCode(
  bindings: readonly Binding[],
  constants: Readonly<Record<string, number | boolean>>,
  body: string,
): string {
  const lines = Object.entries(constants).map(([name, value]) => {
    if (typeof value === "boolean") return `const ${name} = ${value};`;
    return `const ${name} = ${Number.isInteger(value) ? `${value}u` : f32Literal(value)};`;
  });
  bindings.forEach(({ name, access, type }, i) => {
    const mode = access === "read" ? "read" : "read_write";
    lines.push(`@group(0) @binding(${i}) var<storage, ${mode}> ${name}: array<${type}>;`);
  });
  return lines.join("\n") + "\n" + body;
}

/** Writes a number as an f32 literal that reads back as exactly the same f32. */
export function f32Literal(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`A WGSL literal must be finite, got ${value}`);
  const text = String(Math.fround(value));
  return `f32(${/[.e]/.test(text) ? text : text + ".0"})`;
}

/**
 * A WGSL loop over `count` values that compilers do not unroll: the bound is multiplied with `groups.z`, which
 * is 1 in every flat dispatch but not known to them. Mesa 25 unrolls long loops over constants, which was
 * seen to cost seconds of compilation for a kernel that runs for microseconds.
 */
export function opaqueLoop(name: string, count: number | string, statements: string): string {
  const bound = typeof count === "number" ? `${count}u` : count;
  return `for (var ${name} = 0u; ${name} < ${bound} * groups.z; ${name}++) { ${statements} }`;
}
