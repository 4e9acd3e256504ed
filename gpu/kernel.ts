/**
 * Kernels: WGSL text, the tensors it is bound to, and how many workgroups run it; and whether one keeps to what its adapter
 * has, so that the adapter runs what could be recorded.
 *
 * @module
 */
import type { Profile } from "./device.ts";
import { storedType, type WideType, withHalfArrays } from "./precision/half_arrays.ts";
import type { Tensor } from "./tensor.ts";
import { declareTexels } from "./texels/texels.ts";
import { f32, MAX_WORKGROUPS } from "./wgsl.ts";

/** How a kernel sees a tensor. `write` is read_write in WGSL, so a kernel may also update in place. */
export type Access = "read" | "write";

/**
 * Element type in WGSL, of an f16 tensor what its kernel computes with. A `vec4f` view of a tensor ends in padding when its
 * size is no multiple of 4; `texels` are read by a function, see `texels/texels.ts`.
 */
export type WgslType = "f32" | "u32" | "vec4f" | "vec4u" | "vec2u" | "vec2f" | "texels";

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

/** One dispatch of a recorded graph, or one copy to texels, which has no WGSL. */
export interface Kernel {
  /** Name for messages and profiles, such as `layer_norm_forward`. */
  readonly label: string;
  /** In the order of their binding numbers. */
  readonly bindings: readonly Binding[];
  /** Complete WGSL; empty for a copy. */
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
  const half = new Map<string, WideType>();
  bindings.forEach(({ name, access, type, tensor }, i) => {
    if (type === "texels") return lines.push(declareTexels(i, name));
    const mode = access === "read" ? "read" : "read_write";
    const isHalf = tensor.dtype === "f16";
    if (isHalf) half.set(name, type as WideType);
    const element = isHalf ? storedType(name, type) : type;
    lines.push(`@group(0) @binding(${i}) var<storage, ${mode}> ${name}: array<${element}>;`);
  });
  if (half.size === 0) return lines.join("\n") + "\n" + body;
  return `enable f16;\n${lines.join("\n")}\n${withHalfArrays(body, half)}`;
}

/**
 * Describes the copy of a tensor to its texels.
 *
 * @param from The tensor, in a buffer.
 * @param texels Its texels, in a texture.
 */
export function copyToTexels(from: Tensor, texels: Tensor): Kernel {
  return {
    label: "copy_to_texels",
    bindings: [
      { name: "from", access: "read", type: "vec4f", tensor: from },
      { name: "texels", access: "write", type: "texels", tensor: texels },
    ],
    code: "",
    workgroups: [1, 1, 1],
    bytes: 2 * from.byteLength,
  };
}

/** What WebGPU guarantees, for what a profile leaves open. */
const GUARANTEED = { maxStorageBuffers: 8, maxInvocations: 256, maxWorkgroupBytes: 16_384 };

/**
 * Holds a kernel to an adapter's limits. The size of a workgroup and its memory are read from the WGSL where they are
 * written in numbers, as every kernel here has them; what is written otherwise is left to the compiler.
 *
 * @param profile The adapter's.
 * @param kernel What is to be dispatched.
 * @throws {RangeError} If it exceeds one of them.
 */
export function requireLimits(profile: Profile, { label, bindings, code, workgroups }: Kernel): void {
  const buffers = bindings.filter(({ type }) => type !== "texels");
  for (const { tensor } of buffers) {
    if (tensor.byteLength > profile.maxBindingBytes) {
      throw new RangeError(
        `${label}: ${tensor.label} has ${tensor.byteLength} bytes, but this adapter binds at most ` +
          `${profile.maxBindingBytes}; use a smaller batch, sequence or vocabulary`,
      );
    }
  }
  if (workgroups.some((n) => n < 1 || n > MAX_WORKGROUPS)) {
    throw new RangeError(
      `${label}: a dispatch has 1 to ${MAX_WORKGROUPS} workgroups in each dimension, got ${workgroups}; ` +
        "spread them over x and y, as perThread() does",
    );
  }
  const { maxStorageBuffers, maxInvocations, maxWorkgroupBytes } = { ...GUARANTEED, ...profile };
  const requireAtMost = (got: number, most: number, what: string, remedy: string) => {
    if (got <= most) return;
    throw new RangeError(`${label}: this adapter has at most ${most} ${what}, got ${got}; ${remedy}`);
  };
  requireAtMost(buffers.length, maxStorageBuffers, "storage buffers in a kernel", "bind fewer tensors");
  requireAtMost(threadsOf(code), maxInvocations, "threads in a workgroup", "use smaller workgroups");
  const bytes = workgroupBytes(code);
  requireAtMost(bytes, maxWorkgroupBytes, "bytes of workgroup memory", "use less of var<workgroup>");
}

/** Threads of a workgroup: the product of the numbers in a kernel's `@workgroup_size`. */
export function threadsOf(code: string): number {
  const [, sizes = "1"] = /@workgroup_size\(([\du\s,]+)\)/.exec(code) ?? [];
  return sizes.split(",").map((n) => parseInt(n) || 1).reduce((a, b) => a * b, 1);
}

/** Bytes of all that is declared with `var<workgroup>`. */
export function workgroupBytes(code: string): number {
  const types = [...code.matchAll(/var<workgroup>\s*\w+\s*:\s*([^;]+);/g)].map(([, type]) => type.trim());
  // Each begins at a multiple of the largest alignment, as browsers count.
  return types.reduce((sum, type) => sum + Math.ceil(bytesOf(type) / 16) * 16, 0);
}

/** Bytes of a WGSL type: 32-bit scalars, their vectors, and arrays with a number as their length; others count as none. */
function bytesOf(type: string): number {
  const [, element, count] = /^array<(.+),\s*(\d+)u?\s*>$/.exec(type) ?? [];
  if (element !== undefined) return Number(count) * bytesOf(element.trim());
  const [, width] = /^vec([234])(?:[fui]|<[fui]32>)$/.exec(type) ?? [];
  // In an array a vec3 fills the place of a vec4.
  if (width !== undefined) return width === "2" ? 8 : 16;
  return /^([fui]32|atomic<[ui]32>)$/.test(type) ? 4 : 0;
}
