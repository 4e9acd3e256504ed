/**
 * What WebGPU guarantees on every adapter, and whether a kernel keeps to what its adapter has, so that a recording that
 * succeeds is one that the adapter runs.
 *
 * @module
 */
import type { Profile } from "./device.ts";
import type { Kernel } from "./kernel.ts";
import { MAX_WORKGROUPS } from "./wgsl.ts";

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
  for (const { tensor } of bindings) {
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
  requireAtMost(bindings.length, maxStorageBuffers, "storage buffers in a kernel", "bind fewer tensors");
  requireAtMost(threadsOf(code), maxInvocations, "threads in a workgroup", "use smaller workgroups");
  const bytes = workgroupBytes(code);
  requireAtMost(bytes, maxWorkgroupBytes, "bytes of workgroup memory", "use less of var<workgroup>");
}

/** Threads of a workgroup: the product of the numbers in `@workgroup_size`. */
function threadsOf(code: string): number {
  const [, sizes = "1"] = /@workgroup_size\(([\du\s,]+)\)/.exec(code) ?? [];
  return sizes.split(",").map((n) => parseInt(n) || 1).reduce((a, b) => a * b, 1);
}

/** Bytes of all that is declared with `var<workgroup>`. */
function workgroupBytes(code: string): number {
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
