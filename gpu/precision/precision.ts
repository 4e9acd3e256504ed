/**
 * How the results of layers are stored, see `Graph.precision`.
 *
 * @module
 */
import type { Profile } from "../device.ts";

/** Kernels compute in f32 in any case; stored as f16, values take half the memory and half the time to move. */
export type Precision = "f32" | "f16";

/**
 * Holds a precision to what an adapter has.
 *
 * @throws {RangeError} If it is f16 and the adapter has none.
 */
export function requirePrecision(
  { halfPrecision }: Pick<Profile, "halfPrecision">,
  precision: Precision,
): void {
  if (precision === "f32" || halfPrecision) return;
  throw new RangeError(
    "The precision f16 needs an adapter whose driver has WebGPU's shader-f16, got one without; " +
      "use f32, or update the driver",
  );
}
