/**
 * Planning: which activations share which buffers. Pure, so it is tested without a GPU.
 *
 * Whole buffers are reused, never parts of them: WebGPU tracks usage per buffer, and one dispatch may not
 * bind the same buffer for reading and for writing even on disjoint ranges.
 *
 * @module
 */
import { alignedBytes, type Storage } from "./tensor.ts";

/** Buffers for activations. */
export interface Plan {
  /** Byte length of each buffer. */
  readonly bufferBytes: readonly number[];
  /** Index of the buffer of each activation storage. */
  readonly assignment: ReadonlyMap<Storage, number>;
}

/**
 * Assigns activations to buffers by liveness: a buffer is free again after the last kernel that touches
 * what it holds. Best fit; where nothing fits, the largest free buffer grows.
 *
 * @param uses The storages that each kernel touches, in the order of the kernels.
 * @param keep Storages that must stay untouched until the end, such as what is copied afterwards.
 */
export function planBuffers(uses: readonly (readonly Storage[])[], keep: readonly Storage[] = []): Plan {
  const lastUse = new Map<Storage, number>();
  uses.forEach((storages, i) => {
    for (const s of storages) if (s.kind === "activation") lastUse.set(s, i);
  });
  for (const s of keep) if (lastUse.has(s)) lastUse.set(s, uses.length);

  const bufferBytes: number[] = [];
  const assignment = new Map<Storage, number>();
  const free: number[] = [];
  uses.forEach((storages, i) => {
    const here = [...new Set(storages)].filter((s) => s.kind === "activation");
    for (const storage of here) {
      if (assignment.has(storage)) continue;
      const need = alignedBytes(storage.byteLength);
      const better = (a: number, b: number) => {
        const [fitsA, fitsB] = [bufferBytes[a] >= need, bufferBytes[b] >= need];
        if (fitsA !== fitsB) return fitsA ? a : b;
        return (bufferBytes[a] < bufferBytes[b]) === fitsA ? a : b;
      };
      let buffer = free.length > 0 ? free.reduce(better) : -1;
      if (buffer >= 0) free.splice(free.indexOf(buffer), 1);
      else buffer = bufferBytes.push(0) - 1;
      bufferBytes[buffer] = Math.max(bufferBytes[buffer], need);
      assignment.set(storage, buffer);
    }
    // Freed only after every storage of this kernel has a buffer: none may share one.
    for (const storage of here) if (lastUse.get(storage) === i) free.push(assignment.get(storage)!);
  });
  return { bufferBytes, assignment };
}
