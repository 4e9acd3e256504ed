/**
 * Planning: which activations share which buffers, and what a recording needs of memory in all. Pure, so it is tested
 * without a GPU.
 *
 * Whole buffers are reused, never parts of them: WebGPU tracks usage per buffer, and one dispatch may not
 * bind the same buffer for reading and for writing even on disjoint ranges.
 *
 * @module
 */
import type { Graph } from "./graph.ts";
import { alignedBytes, type Storage } from "./tensor.ts";

/** Buffers for activations. */
export interface Plan {
  /** Byte length of each buffer or texture. */
  readonly bufferBytes: readonly number[];
  /** Index of the buffer of each activation storage. */
  readonly assignment: ReadonlyMap<Storage, number>;
}

/** From the first kernel that touches a storage to the last one. */
interface Life {
  readonly storage: Storage;
  readonly first: number;
  last: number;
}

/**
 * Assigns activations to buffers by liveness: two share one only if no kernel lies between the first and the
 * last use of both. The largest come first, each into the smallest buffer that is free for its whole life, so
 * buffers never have to grow and small tensors keep out of large buffers while others are free.
 *
 * @param uses The storages that each kernel touches, in the order of the kernels.
 * @param keep Storages that must stay untouched until the end, such as what is copied afterwards.
 * @param form Those that lie in buffers (default), or those in textures.
 */
export function planBuffers(
  uses: readonly (readonly Storage[])[],
  keep: readonly Storage[] = [],
  form: Storage["form"] = "buffer",
): Plan {
  const lives = new Map<Storage, Life>();
  uses.forEach((storages, i) => {
    for (const storage of storages) {
      if (storage.kind !== "activation" || storage.form !== form) continue;
      const life = lives.get(storage);
      if (life) life.last = i;
      else lives.set(storage, { storage, first: i, last: i });
    }
  });
  for (const storage of keep) {
    const life = lives.get(storage);
    if (life) life.last = uses.length;
  }
  const size = ({ storage }: Life) => alignedBytes(storage.byteLength);
  // The sort is stable: among equals, in the order of their first use.
  const sorted = [...lives.values()].sort((a, b) => size(b) - size(a));

  const bufferBytes: number[] = [];
  const tenants: Life[][] = []; // of each buffer, by time
  const assignment = new Map<Storage, number>();
  for (const life of sorted) {
    let buffer = bufferBytes.length - 1; // they are in falling order of size, too
    let at = -1;
    for (; buffer >= 0; buffer--) {
      at = placeFor(life, tenants[buffer]);
      if (at >= 0) break;
    }
    if (buffer < 0) {
      buffer = bufferBytes.push(size(life)) - 1;
      tenants.push([]);
      at = 0;
    }
    tenants[buffer].splice(at, 0, life);
    assignment.set(life.storage, buffer);
  }
  return { bufferBytes, assignment };
}

/** Where a life fits between others that are in order of time, or -1 when it meets one of them. */
function placeFor(life: Life, tenants: readonly Life[]): number {
  let [low, high] = [0, tenants.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (tenants[middle].first < life.first) low = middle + 1;
    else high = middle;
  }
  const isFree = (low === 0 || tenants[low - 1].last < life.first) &&
    (low === tenants.length || life.last < tenants[low].first);
  return isFree ? low : -1;
}

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
export function planMemory(
  graph: Graph,
): { readonly buffers: Plan; readonly textures: Plan; readonly memory: MemoryPlan } {
  const kernels = [...graph.preparation, ...graph.microKernels, ...graph.updateKernels];
  const uses = kernels.map((kernel) => kernel.bindings.map((b) => b.tensor.storage));
  const buffers = planBuffers(uses, graph.collected.map((c) => c.from.storage));
  const textures = planBuffers(uses, [], "texture");
  const sum = (storages: Iterable<Storage>, kind: string) =>
    [...new Set(storages)].filter((s) => s.kind === kind).reduce((n, s) => n + alignedBytes(s.byteLength), 0);
  const gradients = sum(graph.persistent, "gradient");
  const state = sum(graph.persistent, "state");
  const memory = {
    parameters: sum(graph.parameters.all.map((p) => p.tensor.storage), "parameter"),
    gradients,
    state,
    activations: [...buffers.bufferBytes, ...textures.bufferBytes].reduce((a, b) => a + b, 0),
    other: graph.persistent.reduce((n, s) => n + alignedBytes(s.byteLength), 0) - gradients - state,
  };
  return { buffers, textures, memory };
}
