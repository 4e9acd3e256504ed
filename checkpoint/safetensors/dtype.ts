/**
 * Element types of the safetensors format, and how many bytes a tensor of one takes.
 *
 * @module
 */

/** Element type of a tensor in a safetensors file; the names are the format's own. */
export type SafetensorsDtype =
  | "BOOL"
  | "F4"
  | "F6_E2M3"
  | "F6_E3M2"
  | "U8"
  | "I8"
  | "F8_E5M2"
  | "F8_E4M3"
  | "F8_E8M0"
  | "F8_E4M3FNUZ"
  | "F8_E5M2FNUZ"
  | "I16"
  | "U16"
  | "F16"
  | "BF16"
  | "I32"
  | "U32"
  | "F32"
  | "C64"
  | "F64"
  | "I64"
  | "U64";

const DTYPE_BITS: Readonly<Record<SafetensorsDtype, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** Every {@linkcode SafetensorsDtype} in the reference's order, which its writer sorts by. */
export const SAFETENSORS_DTYPES: readonly SafetensorsDtype[] = Object.keys(DTYPE_BITS) as SafetensorsDtype[];

/**
 * How many bytes a tensor takes.
 *
 * @param dtype Element type.
 * @param shape Sizes of the dimensions.
 * @param name Name for messages. Default: `tensor`.
 * @throws {RangeError} If a size is no whole number from 0, the product overflows 64 bits, or packed elements
 * (`F4`, `F6_*`) do not end at a byte.
 */
export function tensorBytes(dtype: SafetensorsDtype, shape: readonly number[], name = "tensor"): number {
  if (!Object.hasOwn(DTYPE_BITS, dtype)) {
    throw new RangeError(
      `The dtype of ${JSON.stringify(name)} must be one of ${SAFETENSORS_DTYPES.join(", ")}, got ${dtype}`,
    );
  }
  const [bits, problem] = sizeInBits(dtype, shape);
  if (problem !== undefined) {
    throw new RangeError(
      `The shape of ${JSON.stringify(name)} ${problem}, got [${shape.join(", ")}] of ${dtype}`,
    );
  }
  return Number(bits / 8n);
}

/**
 * Size of a tensor in bits, or else what is wrong with its shape. Overflow is judged factor by factor, as in
 * the reference: `[0, 2 ** 40, 2 ** 40]` is allowed, `[2 ** 40, 2 ** 40, 0]` is not.
 *
 * @param dtype Element type.
 * @param shape Sizes of the dimensions.
 * @returns The size, and the problem where there is one.
 */
export function sizeInBits(
  dtype: SafetensorsDtype,
  shape: readonly number[],
): [bits: bigint, problem?: string] {
  let product = 1n;
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) return [0n, "must hold whole numbers from 0 to 2^53 - 1"];
    product *= BigInt(size);
    if (product >= 2n ** 64n) return [0n, "must not overflow 64 bits"];
  }
  const bits = product * BigInt(DTYPE_BITS[dtype]);
  if (bits >= 2n ** 64n) return [0n, "must not overflow 64 bits"];
  if (bits % 8n !== 0n) return [0n, `must let packed ${dtype} elements end at a whole byte`];
  if (bits / 8n > Number.MAX_SAFE_INTEGER) return [0n, "must not take more than 2^53 - 1 bytes"];
  return [bits];
}
