/**
 * What a recording needs of GPU memory, known before there is any GPU; and giving it, with an error that says what to do
 * where there is not enough.
 *
 * @module
 */
import { type Gpu, GpuError } from "./device.ts";
import type { Graph } from "./graph.ts";
import { type Plan, planBuffers } from "./plan.ts";
import { alignedBytes, type Storage } from "./tensor.ts";

/** Planned GPU memory in bytes, by what it holds. */
export interface MemoryPlan {
  /** Model weights. */
  readonly parameters: number;
  /** Gradients of the weights. */
  readonly gradients: number;
  /** Optimizer state. */
  readonly state: number;
  /** Activations and their gradients, after sharing buffers. */
  readonly activations: number;
  /** Inputs and outputs. */
  readonly other: number;
}

/** Assigns a finished recording's activations to buffers and adds up what it needs. */
export function planMemory(graph: Graph): { readonly buffers: Plan; readonly memory: MemoryPlan } {
  const kernels = [...graph.microKernels, ...graph.updateKernels];
  const buffers = planBuffers(
    kernels.map((kernel) => kernel.bindings.map((b) => b.tensor.storage)),
    graph.collected.map((c) => c.from.storage),
  );
  const sum = (storages: Iterable<Storage>, kind: string) =>
    [...new Set(storages)].filter((s) => s.kind === kind).reduce((n, s) => n + alignedBytes(s.byteLength), 0);
  const gradients = sum(graph.persistent, "gradient");
  const state = sum(graph.persistent, "state");
  const memory = {
    parameters: sum(graph.parameters.all.map((p) => p.tensor.storage), "parameter"),
    gradients,
    state,
    activations: buffers.bufferBytes.reduce((a, b) => a + b, 0),
    other: graph.persistent.reduce((n, s) => n + alignedBytes(s.byteLength), 0) - gradients - state,
  };
  return { buffers, memory };
}

/**
 * Creates buffers, and waits until it is known whether there is memory for them.
 *
 * @param gpu The device.
 * @param what What they are for, and how large they are.
 * @param remedy What to do where they do not fit.
 * @param create Creates them, and may write to them.
 * @throws {RangeError} If memory runs out. Whoever created the buffers destroys them.
 * @throws {GpuError} If the device reports another error.
 */
export async function withinMemory(
  { device, description }: Gpu,
  what: string,
  remedy: string,
  create: () => void,
): Promise<void> {
  // A buffer without memory is invalid, so that what uses it is an error too: one that says nothing.
  device.pushErrorScope("validation");
  device.pushErrorScope("out-of-memory");
  let scopes: Promise<(GPUError | null)[]>;
  try {
    create();
  } finally {
    scopes = Promise.all([device.popErrorScope(), device.popErrorScope()]);
  }
  const [outOfMemory, invalid] = await scopes;
  if (outOfMemory) {
    throw new RangeError(
      `The memory of ${description} must hold ${what}, but it is exhausted (${outOfMemory.message}); ${remedy}, ` +
        "or close what else uses it",
    );
  }
  if (invalid) throw new GpuError(`WebGPU reported an error on ${description}: ${invalid.message}`);
}

/** Bytes in words: `1.50 GB`. */
export function formatBytes(bytes: number): string {
  return bytes >= 1e8 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
