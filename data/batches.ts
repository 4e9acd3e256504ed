/**
 * Batches of sequences of token ids: shuffled for training, in order for evaluation.
 *
 * @module
 */

import { IGNORED_TARGET } from "../ops/ignored_target.ts";
import { hashCombine } from "../ops/random.ts";
import { readTokens, type TokenIds } from "./tokens/token_ids.ts";
import type { TokenWindow } from "./tokens/window.ts";

/** The shape of batches. */
export interface BatchShape {
  /** B: how many sequences are in a batch. */
  batchSize: number;
  /** T: how many tokens a sequence has. */
  seqLen: number;
  /** The id of the end-of-text token, to be told where documents start. */
  endId?: number;
}

/** Inputs and what is to be predicted at each. */
export type Batch = {
  /** Token ids, (B, T). */
  readonly tokens: Uint32Array<ArrayBuffer>;
  /** The token after each, (B, T), or {@linkcode IGNORED_TARGET}. */
  readonly targets: Uint32Array<ArrayBuffer>;
  /**
   * With `endId`: where in its row the document of each token starts, (B, T): at the last end-of-text token up
   * to there, which stands before a document, else at 0.
   */
  readonly starts?: Uint32Array<ArrayBuffer>;
};

/** Where {@linkcode Batches} stands, the same for all that share an order; fits into JSON. */
export interface DataCursor {
  /** How many epochs are over. */
  readonly epoch: number;
  /** How many sequences of this epoch have been used, by all together. */
  readonly position: number;
}

/** Options of {@linkcode Batches}. */
export interface BatchesOptions extends BatchShape {
  /** The seed of the order, an integer; 0 by default. */
  seed?: number;
  /** Where to go on; by default the beginning. */
  cursor?: DataCursor;
  /** Which of several processes that share the order this is, from 0; 0 by default. */
  rank?: number;
  /** How many processes share it; 1 by default. */
  worldSize?: number;
}

/**
 * Endless batches for training. Sequence i is the tokens [i T, i T + T), its targets are one further, so
 * every token but the last few is predicted once per epoch. Each epoch has its own order, drawn from the
 * seed, and a batch goes on into the next epoch where one ends.
 *
 * Several processes may share the order: of each W B sequences in it, the first B are rank 0's, the next B
 * rank 1's, and so on. So W processes together use what one alone with batches of W B sequences would use,
 * step by step, every sequence once per epoch; and a cursor of one number of processes is good for another.
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
  readonly #rows: RowFiller;
  readonly #batch: Batch;
  readonly #seed: number;
  readonly #rank: number;
  readonly #worldSize: number;
  #cursor: DataCursor;

  /**
   * Begins at the cursor; reads nothing yet.
   *
   * @param ids The token ids.
   * @param options See {@linkcode BatchesOptions}.
   *
   * @throws {RangeError} When there is no whole sequence, or a number is out of range.
   */
  constructor(ids: TokenIds, options: BatchesOptions) {
    const { seqLen, seed = 0, cursor = { epoch: 0, position: 0 }, rank = 0, worldSize = 1 } = options;
    checkShape(options);
    if (!Number.isInteger(seed)) throw new RangeError(`The data seed must be an integer: got ${seed}`);
    if (!Number.isInteger(worldSize) || !Number.isInteger(rank) || rank < 0 || rank >= worldSize) {
      throw new RangeError(`The rank must be an integer from 0 to below ${worldSize}: got ${rank}`);
    }
    const count = Math.floor((ids.length - 1) / seqLen);
    if (count < 1) {
      throw new RangeError(
        `Training data must have at least one sequence of ${
          seqLen + 1
        } tokens: got ${ids.length}; give more text or a shorter sequence length`,
      );
    }
    this.sequencesPerEpoch = count;
    this.#cursor = this.#checked(cursor);
    this.#rows = new RowFiller(ids, options);
    this.#batch = emptyBatch(options);
    this.#seed = seed;
    this.#rank = rank;
    this.#worldSize = worldSize;
  }

  /**
   * Goes on somewhere else.
   *
   * @param cursor Where the next batch begins, such as an earlier {@linkcode Batches.cursor}.
   * @throws {RangeError} When it belongs to other data or another sequence length.
   */
  seek(cursor: DataCursor): void {
    this.#cursor = this.#checked(cursor);
  }

  #checked({ epoch, position }: DataCursor): DataCursor {
    const count = this.sequencesPerEpoch;
    const isPlace = Number.isSafeInteger(epoch) && epoch >= 0 && Number.isInteger(position) && position >= 0;
    if (isPlace && position < count) return { epoch, position };
    throw new RangeError(
      `A data cursor must have an epoch of at least 0 and a position below the ${count} sequences: got epoch ${epoch}, position ${position}; it belongs to other data or another sequence length`,
    );
  }

  /** Where the next batch begins. */
  get cursor(): DataCursor {
    return this.#cursor;
  }

  /** Two arrays for a batch. */
  emptyBatch(): Batch {
    return emptyBatch(this.#rows);
  }

  /**
   * The next batch.
   *
   * @param batch The arrays to fill; by default the same two every time: copy what has to outlive the next call.
   * @returns These arrays.
   */
  next(batch: Batch = this.#batch): Batch {
    const { batchSize, seqLen } = this.#rows;
    for (let row = 0; row < batchSize; row++) {
      const { epoch, position } = this.#ahead(this.#rank * batchSize + row);
      const key = hashCombine(this.#seed, epoch);
      const sequence = permute(position, this.sequencesPerEpoch, key);
      this.#rows.fill(batch, row, sequence * seqLen);
    }
    this.#cursor = this.#ahead(this.#worldSize * batchSize);
    return batch;
  }

  /** The place so many sequences further. */
  #ahead(sequences: number): DataCursor {
    const position = this.#cursor.position + sequences;
    const epochs = Math.floor(position / this.sequencesPerEpoch);
    return { epoch: this.#cursor.epoch + epochs, position: position - epochs * this.sequencesPerEpoch };
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
  checkSequential(ids, options);
  // An inner generator, so that bad arguments are told at the call and not at the first batch.
  return (function* () {
    const rows = new RowFiller(ids, options);
    const batch = emptyBatch(rows);
    const count = sequentialBatchCount(ids.length, options);
    for (let n = 0; n < count; n++) yield fillSequential(rows, batch, n, options);
  })();
}

/**
 * How many tokens the first batch of {@linkcode sequentialBatches} takes, with the target after the last.
 *
 * @param options As for {@linkcode sequentialBatches}.
 */
export function sequentialReach({ batchSize, seqLen, stride = seqLen }: SequentialOptions): number {
  return (batchSize - 1) * stride + seqLen + 1;
}

/**
 * The batches of {@linkcode sequentialBatches} from token ids that come piece by piece.
 *
 * @param ids The token ids; those that no later batch has are let go.
 * @param options As for {@linkcode sequentialBatches}.
 * @returns The batches, each in the same two arrays: copy what has to outlive the next.
 *
 * @throws {RangeError} When there are fewer than two tokens, or a number is out of range.
 */
export async function* streamedBatches(
  ids: TokenWindow,
  options: SequentialOptions,
): AsyncGenerator<Batch, void, void> {
  const { batchSize, seqLen, stride = seqLen } = options;
  const rows = new RowFiller(ids, options);
  await ids.fill(sequentialReach(options));
  checkSequential(ids, options);
  const batch = emptyBatch(rows);
  for (let n = 0; n < sequentialBatchCount(ids.length, options); n++) {
    yield fillSequential(rows, batch, n, options);
    const next = (n + 1) * batchSize * stride;
    ids.release(next);
    await ids.fill(next + sequentialReach(options));
  }
}

/** Fills batch n of those in order. */
function fillSequential(
  rows: RowFiller,
  batch: Batch,
  n: number,
  { batchSize, seqLen, stride = seqLen }: SequentialOptions,
): Batch {
  for (let row = 0; row < batchSize; row++) {
    const start = (n * batchSize + row) * stride;
    rows.fill(batch, row, start);
    const end = (row + 1) * seqLen;
    if (start > 0) batch.targets.fill(IGNORED_TARGET, end - seqLen, end - stride);
  }
  return batch;
}

function checkSequential(ids: TokenIds, options: SequentialOptions): void {
  const { seqLen, stride = seqLen, maxBatches = Infinity } = options;
  checkShape(options);
  if (!Number.isInteger(stride) || stride < 1 || stride > seqLen) {
    throw new RangeError(
      `The stride must be an integer from 1 to the sequence length ${seqLen}: got ${stride}`,
    );
  }
  if (ids.length < 2) throw new RangeError(`Evaluation data must have at least 2 tokens: got ${ids.length}`);
  if (!(maxBatches >= 1)) throw new RangeError(`The number of batches must be at least 1: got ${maxBatches}`);
}

function checkShape({ batchSize, seqLen }: BatchShape): void {
  for (const [name, value] of [["batch size", batchSize], ["sequence length", seqLen]] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`The ${name} must be an integer of at least 1: got ${value}`);
    }
  }
}

function emptyBatch({ batchSize, seqLen, endId }: BatchShape): Batch {
  const array = () => new Uint32Array(batchSize * seqLen);
  return { tokens: array(), targets: array(), ...(endId === undefined ? {} : { starts: array() }) };
}

/** Fills the rows of batches with sequences. */
class RowFiller implements BatchShape {
  readonly batchSize: number;
  readonly seqLen: number;
  readonly endId?: number;
  readonly #ids: TokenIds;
  readonly #sequence: Uint32Array;

  constructor(ids: TokenIds, { batchSize, seqLen, endId }: BatchShape) {
    this.batchSize = batchSize;
    this.seqLen = seqLen;
    this.endId = endId;
    this.#ids = ids;
    this.#sequence = new Uint32Array(seqLen + 1);
  }

  /** Copies the sequence that begins at `start` into a row, with padding for what lies past the end. */
  fill({ tokens, targets, starts }: Batch, row: number, start: number): void {
    const { seqLen } = this;
    const to = row * seqLen;
    const filled = Math.max(0, Math.min(seqLen, this.#ids.length - 1 - start));
    if (filled > 0) {
      const sequence = this.#sequence.subarray(0, filled + 1);
      readTokens(this.#ids, start, sequence);
      tokens.set(sequence.subarray(0, filled), to);
      targets.set(sequence.subarray(1), to);
    }
    tokens.fill(0, to + filled, to + seqLen);
    targets.fill(IGNORED_TARGET, to + filled, to + seqLen);
    if (starts === undefined) return;
    for (let t = 0, document = 0; t < seqLen; t++) {
      if (tokens[to + t] === this.endId) document = t;
      starts[to + t] = document;
    }
  }
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
