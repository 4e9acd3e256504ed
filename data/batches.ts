/**
 * Batches of sequences from an array of token ids: shuffled for training, in order for evaluation.
 *
 * @module
 */

import { hashCombine } from "../ops/random.ts";

/** The target at a position that has none: it adds nothing to loss or gradient. */
export const IGNORED_TARGET = 0xffffffff as const;

/** Token ids of any width. */
export type TokenIds = Uint16Array | Uint32Array;

/** The shape of batches. */
export interface BatchShape {
  /** B: how many sequences are in a batch. */
  batchSize: number;
  /** T: how many tokens a sequence has. */
  seqLen: number;
}

/** Inputs and what is to be predicted at each. */
export type Batch = {
  /** Token ids, (B, T). */
  readonly tokens: Uint32Array<ArrayBuffer>;
  /** The token after each, (B, T), or {@linkcode IGNORED_TARGET}. */
  readonly targets: Uint32Array<ArrayBuffer>;
};

/** Where {@linkcode Batches} stands; fits into JSON. */
export interface DataCursor {
  /** How many epochs are over. */
  readonly epoch: number;
  /** How many sequences of this epoch have been used. */
  readonly position: number;
}

/**
 * Endless batches for training. Sequence i is the tokens [i T, i T + T), its targets are one further, so
 * every token but the last few is predicted once per epoch. Each epoch has its own order, drawn from the
 * seed, and a batch goes on into the next epoch where one ends.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * const batches = new Batches(new Uint16Array([5, 6, 7, 8, 9]), { batchSize: 1, seqLen: 2 });
 * equal(batches.sequencesPerEpoch, 2);
 * const { tokens, targets } = batches.next();
 * equal(tokens[1], targets[0]);
 * ```
 */
export class Batches {
  /** How many sequences there are: (number of tokens - 1) / T, rounded down. */
  readonly sequencesPerEpoch: number;
  readonly #ids: TokenIds;
  readonly #shape: BatchShape;
  readonly #seed: number;
  readonly #batch: Batch;
  #epoch: number;
  #position: number;

  /**
   * Begins at the cursor; makes the two arrays of a batch and nothing else.
   *
   * @param ids The token ids.
   * @param options The shape; the `seed` of the order, an integer, 0 by default; and the `cursor` to go on
   * from, by default the beginning.
   *
   * @throws {RangeError} When there is no whole sequence, or a number is out of range.
   */
  constructor(ids: TokenIds, options: BatchShape & { seed?: number; cursor?: DataCursor }) {
    const { batchSize, seqLen, seed = 0, cursor = { epoch: 0, position: 0 } } = options;
    checkShape(options);
    if (!Number.isInteger(seed)) throw new RangeError(`The data seed must be an integer: got ${seed}`);
    const count = Math.floor((ids.length - 1) / seqLen);
    if (count < 1) {
      throw new RangeError(
        `Training data must have at least one sequence of ${
          seqLen + 1
        } tokens: got ${ids.length}; give more text or a shorter sequence length`,
      );
    }
    const { epoch, position } = cursor;
    if (
      !Number.isSafeInteger(epoch) || epoch < 0 || !Number.isInteger(position) || position < 0 ||
      position >= count
    ) {
      throw new RangeError(
        `A data cursor must have an epoch of at least 0 and a position below the ${count} sequences: got epoch ${epoch}, position ${position}; it belongs to other data or another sequence length`,
      );
    }
    this.sequencesPerEpoch = count;
    this.#ids = ids;
    this.#shape = { batchSize, seqLen };
    this.#seed = seed;
    this.#epoch = epoch;
    this.#position = position;
    this.#batch = emptyBatch(this.#shape);
  }

  /** Where the next batch begins. */
  get cursor(): DataCursor {
    return { epoch: this.#epoch, position: this.#position };
  }

  /**
   * The next batch.
   *
   * @returns The same two arrays every time, filled anew: copy what has to outlive the next call.
   */
  next(): Batch {
    const { batchSize, seqLen } = this.#shape;
    for (let row = 0; row < batchSize; row++) {
      const key = hashCombine(this.#seed, this.#epoch);
      const sequence = permute(this.#position, this.sequencesPerEpoch, key);
      fillRow(this.#batch, row, seqLen, this.#ids, sequence * seqLen);
      if (++this.#position === this.sequencesPerEpoch) {
        this.#position = 0;
        this.#epoch++;
      }
    }
    return this.#batch;
  }

  /**
   * The next batches, all valid until the next call.
   *
   * @param count How many.
   */
  take(count: number): Batch[] {
    if (count === 1) return [this.next()];
    return Array.from({ length: count }, () => {
      const { tokens, targets } = this.next();
      return { tokens: tokens.slice(), targets: targets.slice() };
    });
  }
}

/** How {@linkcode sequentialBatches} goes through a text. */
export interface SequentialOptions extends BatchShape {
  /**
   * How many tokens a sequence begins after the one before it, from 1 to T, its default. Where sequences overlap,
   * targets that the one before had are ignored, so that each of the others is predicted from at least T - stride
   * tokens before it.
   */
  stride?: number;
  /** After how many batches to stop; by default at the end of the text. */
  maxBatches?: number;
}

/**
 * How many batches {@linkcode sequentialBatches} gives.
 *
 * @param length The number of tokens.
 * @param options As for {@linkcode sequentialBatches}.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * // 100 targets: the first sequence has 40 of them, each of the next 6 another 10.
 * equal(sequentialBatchCount(101, { batchSize: 2, seqLen: 40, stride: 10 }), 4);
 * ```
 */
export function sequentialBatchCount(length: number, options: SequentialOptions): number {
  const { batchSize, seqLen, stride = seqLen, maxBatches = Infinity } = options;
  const sequences = 1 + Math.max(0, Math.ceil((length - 1 - seqLen) / stride));
  return Math.min(maxBatches, Math.ceil(sequences / batchSize));
}

/**
 * Batches in order, for evaluation: every token but the first is a target exactly once. All batches have the
 * full size; what is missing at the end, in the last row and in whole rows, has token 0 and
 * {@linkcode IGNORED_TARGET}.
 *
 * @param ids The token ids.
 * @param options The shape, the stride and a limit, see {@linkcode SequentialOptions}.
 * @returns The batches, each in the same two arrays: copy what has to outlive the next.
 *
 * @throws {RangeError} When there are fewer than two tokens, or a number is out of range.
 */
export function sequentialBatches(
  ids: TokenIds,
  options: SequentialOptions,
): Generator<Batch, void, void> {
  const { batchSize, seqLen, stride = seqLen, maxBatches = Infinity } = options;
  checkShape(options);
  if (!Number.isInteger(stride) || stride < 1 || stride > seqLen) {
    throw new RangeError(
      `The stride must be an integer from 1 to the sequence length ${seqLen}: got ${stride}`,
    );
  }
  if (ids.length < 2) throw new RangeError(`Evaluation data must have at least 2 tokens: got ${ids.length}`);
  if (!(maxBatches >= 1)) throw new RangeError(`The number of batches must be at least 1: got ${maxBatches}`);
  // An inner generator, so that bad arguments are told at the call and not at the first batch.
  return (function* () {
    const batch = emptyBatch({ batchSize, seqLen });
    const count = sequentialBatchCount(ids.length, options);
    let start = 0;
    for (let n = 0; n < count; n++) {
      for (let row = 0; row < batchSize; row++, start += stride) {
        fillRow(batch, row, seqLen, ids, start);
        const end = (row + 1) * seqLen;
        if (start > 0) batch.targets.fill(IGNORED_TARGET, end - seqLen, end - stride);
      }
      yield batch;
    }
  })();
}

function checkShape({ batchSize, seqLen }: BatchShape): void {
  for (const [name, value] of [["batch size", batchSize], ["sequence length", seqLen]] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`The ${name} must be an integer of at least 1: got ${value}`);
    }
  }
}

function emptyBatch({ batchSize, seqLen }: BatchShape): Batch {
  const size = batchSize * seqLen;
  return { tokens: new Uint32Array(size), targets: new Uint32Array(size) };
}

/** Copies the sequence that begins at `start` into a row, with padding for what lies past the end. */
function fillRow(
  { tokens, targets }: Batch,
  row: number,
  seqLen: number,
  ids: TokenIds,
  start: number,
): void {
  const to = row * seqLen;
  const filled = Math.max(0, Math.min(seqLen, ids.length - 1 - start));
  tokens.set(ids.subarray(start, start + filled), to);
  targets.set(ids.subarray(start + 1, start + 1 + filled), to);
  tokens.fill(0, to + filled, to + seqLen);
  targets.fill(IGNORED_TARGET, to + filled, to + seqLen);
}

/**
 * A pseudo-random permutation of 0 to `count` - 1, computed one value at a time without a table.
 *
 * A Feistel network permutes the numbers of an even number of bits, whatever its round function is. Values
 * that fall outside go through it again until they fall inside ("cycle walking", Black and Rogaway 2002),
 * which happens fewer than four times on average.
 *
 * @param index Which value, from 0 to below `count`.
 * @param count How many values there are, up to 2^32.
 * @param key Which permutation: a 32-bit hash.
 */
export function permute(index: number, count: number, key: number): number {
  // The fewest bits per half with 4^bits >= count.
  let bits = 1;
  while (4 ** bits < count) bits++;
  const half = 2 ** bits;
  do {
    let left = Math.floor(index / half), right = index % half;
    for (let round = 0; round < 6; round++) {
      [left, right] = [right, (left ^ (hashCombine(key, round, right) & (half - 1))) >>> 0];
    }
    index = left * half + right;
  } while (index >= count);
  return index;
}
