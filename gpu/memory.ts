/**
 * Giving GPU memory, with an error that says what to do where there is not enough.
 *
 * @module
 */
import { type Gpu, GpuError } from "./device.ts";

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
