/**
 * Kernels: WGSL text, the tensors it is bound to, and how many workgroups run it.
 *
 * @module
 */
import type { Tensor } from "./tensor.ts";
import { f32 } from "./wgsl.ts";

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
    return `const ${name} = ${Number.isInteger(value) ? `${value}u` : f32(value)};`;
  });
  bindings.forEach(({ name, access, type }, i) => {
    const mode = access === "read" ? "read" : "read_write";
    lines.push(`@group(0) @binding(${i}) var<storage, ${mode}> ${name}: array<${type}>;`);
  });
  return lines.join("\n") + "\n" + body;
}
