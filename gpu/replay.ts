/**
 * What a compiled program replays: runs of kernels, each for one compute pass, and the copies between them.
 *
 * @module
 */
import type { Kernel } from "./kernel.ts";

/** A kernel with everything that a dispatch needs. */
export interface Step {
  /** What was recorded. */
  readonly kernel: Kernel;
  /** Its compiled code. */
  readonly pipeline: GPUComputePipeline;
  /** Its buffers. */
  readonly bindGroup: GPUBindGroup;
}

/** Kernels of one compute pass, or copies and clears that stand between passes. */
export type ReplayPart = readonly Step[] | ((encoder: GPUCommandEncoder) => void);

/** Encodes kernels as one compute pass; none at all makes no pass. */
export function encodePass(
  encoder: GPUCommandEncoder,
  steps: readonly Step[],
  timestampWrites?: GPUComputePassTimestampWrites,
): void {
  if (steps.length === 0) return;
  const pass = encoder.beginComputePass(timestampWrites && { timestampWrites });
  for (const { pipeline, bindGroup, kernel: { workgroups: [x, y, z] } } of steps) {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(x, y, z);
  }
  pass.end();
}

/** Encodes a whole replay. */
export function encodeParts(encoder: GPUCommandEncoder, parts: readonly ReplayPart[]): void {
  for (const part of parts) {
    if (typeof part === "function") part(encoder);
    else encodePass(encoder, part);
  }
}
