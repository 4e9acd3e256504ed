/**
 * What a recording needs of GPU memory, known before there is any GPU.
 *
 * @module
 */
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
