/**
 * Half precision (`F16`), brain floats (`BF16`) and single precision (`F32`) as the little-endian bytes that
 * checkpoints hold. Widening is exact; narrowing rounds to nearest, ties to even.
 *
 * @module
 */

/** Element types that {@linkcode toFloat32} converts. */
export type FloatFormat = "F32" | "F16" | "BF16";

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/**
 * Reads the bytes of a float tensor as single precision.
 *
 * @param format Element type of the bytes.
 * @param bytes Little-endian values; any alignment.
 * @returns The values in an array of its own, each exactly as stored (a NaN keeps being a NaN).
 * @throws {RangeError} If the length is no multiple of the element size.
 */
export function toFloat32(format: FloatFormat, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  return takeFloat32(format, bytes.slice());
}

/**
 * As {@linkcode toFloat32}, for bytes that nobody else needs: `F32` values stay in the same memory.
 *
 * @param format Element type of the bytes.
 * @param bytes Little-endian values, from a multiple of the element size in their buffer.
 * @param into Where `F16` and `BF16` values go, with room for all of them. Default: an array of their own.
 * @returns The values.
 * @throws {RangeError} If the length is no multiple of the element size, or `into` is too short.
 */
export function takeFloat32(
  format: FloatFormat,
  bytes: Uint8Array<ArrayBuffer>,
  into?: Float32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  const size = format === "F32" ? 4 : 2;
  if (bytes.length % size !== 0) {
    throw new RangeError(
      `Cannot read bytes as ${format}: their number must be a multiple of ${size}, got ${bytes.length}`,
    );
  }
  const count = bytes.length / size;
  const { buffer, byteOffset } = inHostOrder(bytes, size);
  if (format === "F32") return new Float32Array(buffer, byteOffset, count);
  const values = into ?? new Float32Array(count);
  if (values.length < count) {
    throw new RangeError(`There must be room for ${count} values, got ${values.length}`);
  }
  if (format === "F16") {
    values.set(new Float16Array(buffer, byteOffset, count));
  } else {
    const halves = new Uint16Array(buffer, byteOffset, count);
    const words = new Uint32Array(values.buffer, values.byteOffset, count);
    for (let i = 0; i < count; i++) words[i] = halves[i] << 16;
  }
  return values.subarray(0, count);
}

/**
 * The little-endian bytes of single-precision values, in one of the float formats.
 *
 * @param format Element type to write.
 * @param values The values. For `F16`, magnitudes from 65520 become infinite.
 * @returns The bytes; for `F32` on little-endian machines a view of `values` and not a copy.
 */
export function fromFloat32(format: FloatFormat, values: Float32Array): Uint8Array {
  if (format === "F32") {
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return LITTLE_ENDIAN ? bytes : inHostOrder(bytes.slice(), 4);
  }
  if (format === "F16") return inHostOrder(new Uint8Array(new Float16Array(values).buffer), 2);
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    // Rounding up could carry a NaN into an infinity or a zero, so a NaN is cut and kept quiet instead.
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    halves[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return inHostOrder(new Uint8Array(halves.buffer), 2);
}

/** Swaps the bytes of each element in place on big-endian machines; its own inverse. */
function inHostOrder(bytes: Uint8Array<ArrayBuffer>, size: number): Uint8Array<ArrayBuffer> {
  if (LITTLE_ENDIAN) return bytes;
  for (let i = 0; i < bytes.length; i += size) bytes.subarray(i, i + size).reverse();
  return bytes;
}
