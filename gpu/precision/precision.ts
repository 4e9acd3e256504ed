/**
 * How the results of layers are stored, see `Graph.precision`.
 *
 * @module
 */

/** Kernels compute in f32 in any case; stored as f16, values take half the memory and half the time to move. */
export type Precision = "f32" | "f16";

/**
 * Holds a precision to what an adapter has.
 *
 * @param profile The adapter's.
 * @param precision What is asked for.
 * @throws {RangeError} If it is f16 and the adapter has none.
 */
export function requirePrecision(
  profile: { readonly halfPrecision?: boolean },
  precision: Precision,
): void {
  if (precision === "f32" || profile.halfPrecision) return;
  throw new RangeError(
    "The precision f16 needs an adapter whose driver has WebGPU's shader-f16, got one without; " +
      "use f32, or update the driver",
  );
}
