/**
 * Leaving out kernels whose results nobody reads. Pure, so it is tested without a GPU.
 *
 * @module
 */
import type { Kernel } from "./kernel.ts";

/**
 * Leaves out those of the first kernels that write only activations which no later kernel of the list touches.
 *
 * @param kernels In the order of their recording.
 * @param count How many of them may be left out, counted from the start; nothing outside of the list may use
 * the activations that these write.
 * @returns The kernels that remain, in the same order.
 */
export function withoutUnusedKernels(kernels: readonly Kernel[], count: number): Kernel[] {
  const touched = new Set(kernels.slice(count).flatMap((k) => k.bindings.map((b) => b.tensor.storage)));
  const kept = kernels.slice(count).reverse();
  for (let i = count - 1; i >= 0; i--) {
    const isUsed = kernels[i].bindings.some(({ access, tensor: { storage } }) =>
      access === "write" && (storage.kind !== "activation" || touched.has(storage))
    );
    if (!isUsed) continue;
    kept.push(kernels[i]);
    for (const { tensor } of kernels[i].bindings) touched.add(tensor.storage);
  }
  return kept.reverse();
}
