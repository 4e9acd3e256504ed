/**
 * A set of digests in little memory.
 *
 * @module
 */

/** The first slots of a set; always a power of two. */
const FIRST_SLOTS = 1 << 12;

/** A set of 64-bit digests: 16 to 32 bytes each, where a `Set` of bigints takes about a hundred. */
export class DigestSet {
  #slots = new BigUint64Array(FIRST_SLOTS);
  #size = 0;

  /** How many digests there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * Puts a digest in.
   *
   * @param digest From 0 to below 2^64, evenly distributed: its low bits choose the slot. 0 counts as 1.
   * @returns Whether it was not there before.
   */
  add(digest: bigint): boolean {
    if (2 * this.#size >= this.#slots.length) this.#grow();
    const isNew = put(this.#slots, digest === 0n ? 1n : digest);
    if (isNew) this.#size++;
    return isNew;
  }

  #grow(): void {
    const slots = new BigUint64Array(2 * this.#slots.length);
    for (const digest of this.#slots) if (digest !== 0n) put(slots, digest);
    this.#slots = slots;
  }
}

/** Puts a digest into the first free slot from its own on, unless it is there; an empty slot holds 0. */
function put(slots: BigUint64Array, digest: bigint): boolean {
  const mask = slots.length - 1;
  let slot = Number(digest & 0xffffffffn) & mask;
  while (slots[slot] !== 0n) {
    if (slots[slot] === digest) return false;
    slot = (slot + 1) & mask;
  }
  slots[slot] = digest;
  return true;
}
