/**
 * Reading tensors back to the host. Deno blocks the event loop until the queue is idle for each wait, so
 * one call reads many tensors through one staging buffer and one wait.
 *
 * @module
 */
import type { Gpu } from "./device.ts";
import type { Tensor } from "./tensor.ts";

/** The most bytes that pass through one staging buffer at a time. */
const STAGING_BYTES = 64 << 20;

/**
 * Copies f32 tensors to the host.
 *
 * @param gpu The device.
 * @param tensors What to read; each must have a buffer.
 * @returns Their values, in the same order.
 * @throws {TypeError} If one has no buffer.
 * @throws {GpuError} If the device reports an error.
 */
export async function readTensors(gpu: Gpu, tensors: readonly Tensor[]): Promise<Float32Array[]> {
  const results = tensors.map((t) => new Float32Array(t.size));
  // Pieces of at most STAGING_BYTES, so that host memory stays bounded for any model.
  const pieces: { from: GPUBuffer; offset: number; bytes: number; result: number; at: number }[] = [];
  tensors.forEach((tensor, result) => {
    const from = tensor.storage.buffer;
    if (!from) throw new TypeError(`${tensor.label} must have a buffer before it is read`);
    for (let done = 0; done < tensor.byteLength; done += STAGING_BYTES) {
      const bytes = Math.min(STAGING_BYTES, tensor.byteLength - done);
      pieces.push({ from, offset: tensor.byteOffset + done, bytes, result, at: done / 4 });
    }
  });
  const total = pieces.reduce((sum, p) => sum + p.bytes, 0);
  if (total === 0) return results;
  const staging = gpu.device.createBuffer({
    label: "readback",
    size: Math.min(STAGING_BYTES, total),
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  try {
    for (let next = 0; next < pieces.length;) {
      const encoder = gpu.device.createCommandEncoder();
      const batch: typeof pieces = [];
      let used = 0;
      while (next < pieces.length && used + pieces[next].bytes <= staging.size) {
        const piece = pieces[next++];
        encoder.copyBufferToBuffer(piece.from, piece.offset, staging, used, piece.bytes);
        used += piece.bytes;
        batch.push(piece);
      }
      gpu.device.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ, 0, used);
      gpu.check();
      const mapped = new Float32Array(staging.getMappedRange(0, used));
      let at = 0;
      for (const { bytes, result, at: place } of batch) {
        results[result].set(mapped.subarray(at / 4, (at + bytes) / 4), place);
        at += bytes;
      }
      staging.unmap();
    }
  } finally {
    staging.destroy();
  }
  gpu.check();
  return results;
}
