/**
 * Reading tensors back to the host. Deno blocks the event loop until the queue is idle for each wait, so
 * one call reads many tensors through one staging buffer and one wait.
 *
 * @module
 */
import { type Gpu, GpuError } from "./device.ts";
import { measuredWait, submitCommands } from "./replay.ts";
import type { Tensor } from "./tensor.ts";

/** The most bytes that pass through one staging buffer at a time. */
const STAGING_BYTES = 64 << 20;

/** Milliseconds in which a device that is lost says so after a failed read. */
const LOSS_MS = 200;

/** Part of a tensor that passes through the staging buffer at once. */
interface Piece {
  readonly from: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
  readonly result: number;
  readonly at: number;
}

/**
 * Copies f32 tensors to the host.
 *
 * @param gpu The device.
 * @param tensors What to read; each must have a buffer.
 * @returns Their values, in the same order.
 * @throws {TypeError} If one has no buffer or is f16.
 * @throws {GpuError} If the device reports an error.
 */
export async function readTensors(gpu: Gpu, tensors: readonly Tensor[]): Promise<Float32Array[]> {
  const readback = new Readback(gpu, tensors);
  try {
    return await readback.read();
  } finally {
    readback.destroy();
  }
}

/**
 * Waits for the work so far and maps a staging buffer.
 *
 * @param gpu The device.
 * @param staging The buffer.
 * @param bytes How much of it.
 * @throws {GpuError} If the device reports an error or is lost.
 */
export async function mapForReading(gpu: Gpu, staging: GPUBuffer, bytes: number): Promise<void> {
  try {
    await measuredWait(gpu.device, () => staging.mapAsync(GPUMapMode.READ, 0, bytes));
  } catch (error) {
    // It may be known only later that the device is lost.
    let timer;
    await Promise.race([gpu.device.lost, new Promise((resolve) => timer = setTimeout(resolve, LOSS_MS))]);
    clearTimeout(timer);
    gpu.check();
    throw new GpuError(`Reading from ${gpu.description} must work, got: ${(error as Error).message}`);
  }
  gpu.check();
}

/** Reads the same tensors again and again through one staging buffer, without making a GPU object. */
export class Readback {
  readonly #gpu: Gpu;
  readonly #sizes: readonly number[];
  readonly #pieces: readonly Piece[];
  readonly #staging: GPUBuffer | undefined;

  /**
   * Makes the staging buffer.
   *
   * @param gpu The device.
   * @param tensors What to read; each must have a buffer, and keep it.
   * @throws {TypeError} If one has no buffer or is f16.
   */
  constructor(gpu: Gpu, tensors: readonly Tensor[]) {
    this.#gpu = gpu;
    this.#sizes = tensors.map((t) => t.size);
    // Pieces of at most STAGING_BYTES, so that host memory stays bounded for any model.
    this.#pieces = tensors.flatMap((tensor, result) => {
      const from = tensor.storage.buffer;
      if (tensor.dtype === "f16") {
        throw new TypeError(`${tensor.label} must be f32 or u32 to be read, got f16`);
      }
      if (!from) throw new TypeError(`${tensor.label} must have a buffer before it is read`);
      return Array.from({ length: Math.ceil(tensor.byteLength / STAGING_BYTES) }, (_, i) => {
        const done = i * STAGING_BYTES;
        const bytes = Math.min(STAGING_BYTES, tensor.byteLength - done);
        return { from, offset: tensor.byteOffset + done, bytes, result, at: done / 4 };
      });
    });
    const total = this.#pieces.reduce((sum, p) => sum + p.bytes, 0);
    this.#staging = total === 0 ? undefined : gpu.device.createBuffer({
      label: "readback",
      size: Math.min(STAGING_BYTES, total),
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
  }

  /**
   * Waits for the work so far and copies. One read must end before the next begins.
   *
   * @returns The tensors' values, in their order.
   * @throws {GpuError} If the device reports an error.
   */
  async read(): Promise<Float32Array[]> {
    const results = this.#sizes.map((size) => new Float32Array(size));
    const [gpu, staging, pieces] = [this.#gpu, this.#staging, this.#pieces];
    if (!staging) return results;
    for (let next = 0; next < pieces.length;) {
      const batch: Piece[] = [];
      let used = 0;
      submitCommands(gpu.device, (encoder) => {
        while (next < pieces.length && used + pieces[next].bytes <= staging.size) {
          const piece = pieces[next++];
          encoder.copyBufferToBuffer(piece.from, piece.offset, staging, used, piece.bytes);
          used += piece.bytes;
          batch.push(piece);
        }
      });
      await mapForReading(gpu, staging, used);
      const mapped = new Float32Array(staging.getMappedRange(0, used));
      let at = 0;
      for (const { bytes, result, at: place } of batch) {
        results[result].set(mapped.subarray(at / 4, (at + bytes) / 4), place);
        at += bytes;
      }
      staging.unmap();
    }
    gpu.check();
    return results;
  }

  /** Gives the staging buffer back. */
  destroy(): void {
    this.#staging?.destroy();
  }
}
