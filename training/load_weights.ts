/**
 * From a checkpoint's files to the GPU, piece by piece, so that the host never holds a large tensor.
 *
 * @module
 */
import { matchTensors } from "../checkpoint/tensor_names.ts";
import type { FloatTensors } from "../checkpoint/safetensors.ts";
import type { Gpu } from "../gpu/device.ts";
import { writeTensor } from "../gpu/parameters.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** Bytes that may be on their way to the GPU at a time; WebGPU keeps a copy of each write until it is done. */
const IN_FLIGHT_BYTES = 64 << 20;

/**
 * Fills tensors from a checkpoint.
 *
 * @param gpu The device.
 * @param targets Tensors with buffers, under the checkpoint's names.
 * @param source Where the values are, such as a `ModelFolder`; it must hold exactly these tensors.
 * @throws {TypeError} If the source holds other tensors, before any is written; one error lists all differences.
 * @throws {Error} If a file can no longer be read.
 * @throws {GpuError} If the device reports an error.
 */
export async function loadTensors(
  gpu: Gpu,
  targets: readonly { readonly name: string; readonly tensor: Tensor }[],
  source: FloatTensors,
): Promise<void> {
  matchTensors(targets.map(({ name, tensor }) => ({ name, shape: tensor.shape })), source.tensors);
  let inFlight = 0;
  for (const { name, tensor } of targets) {
    let first = 0;
    for await (const piece of source.piecesF32(name)) {
      writeTensor(gpu, tensor, piece, first);
      first += piece.length;
      inFlight += piece.byteLength;
      if (inFlight < IN_FLIGHT_BYTES) continue;
      gpu.device.queue.submit([]);
      await gpu.device.queue.onSubmittedWorkDone();
      inFlight = 0;
    }
  }
  gpu.check();
}
