/**
 * Symbolic tensors: a shape over a stretch of storage that gets a GPU buffer only when a program is compiled.
 *
 * @module
 */

/** Element type of a tensor. Kernels see an f16 as an f32, see `precision/half_arrays.ts`. */
export type Dtype = "f32" | "u32" | "f16";

/** Bytes of an element. */
export const DTYPE_BYTES: Readonly<Record<Dtype, number>> = { f32: 4, u32: 4, f16: 2 };

/**
 * What a storage is for. `activation` storages share buffers by liveness; all others keep their own
 * buffer for as long as their owner lives.
 */
export type StorageKind = "parameter" | "gradient" | "state" | "input" | "output" | "activation";

/** A stretch of GPU memory. {@linkcode Program} or {@linkcode ParameterStore} gives it a buffer. */
export class Storage {
  /** The buffer once there is one. */
  buffer?: GPUBuffer;
  /** The texture once there is one, where the form says so. */
  texture?: GPUTexture;
  /** Of a parameter: how often its values were written, by the host or by a run. */
  version = 0;

  /**
   * Describes a stretch of memory.
   *
   * @param kind What it is for.
   * @param byteLength Its size; buffers are padded to a multiple of 256 bytes.
   * @param label Name for messages and GPU debuggers.
   * @param form What it lies in: a buffer, or a texture of texels (see {@linkcode Graph.texels}); default buffer.
   */
  constructor(
    readonly kind: StorageKind,
    readonly byteLength: number,
    readonly label: string,
    readonly form: "buffer" | "texture" = "buffer",
  ) {}
}

/** Where tensors start inside a storage: bindings must be aligned to 256 bytes on every adapter. */
export const ALIGNMENT_BYTES = 256;

/** Rounds a byte length up to a multiple of {@linkcode ALIGNMENT_BYTES}, at least one. */
export function alignedBytes(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / ALIGNMENT_BYTES)) * ALIGNMENT_BYTES;
}

/** Where a tensor and all its views are; shared by them, so that moving one moves all. */
export interface Place {
  /** The storage. */
  storage: Storage;
  /** Where in it the root tensor starts. */
  byteOffset: number;
}

/** A tensor of a {@linkcode Graph}: shape, element type and place, but no values on the host. */
export class Tensor {
  /** Number of elements. */
  readonly size: number;
  /** The tensor this one is another view of; itself when it is none. Gradients belong to the root. */
  readonly root: Tensor;
  readonly #place: Place;
  readonly #relativeBytes: number;

  /**
   * Describes a tensor.
   *
   * @param shape Sizes of the dimensions, outermost first; `[]` is not used, a scalar is `[1]`.
   * @param dtype Element type.
   * @param place Where the root's values are.
   * @param requiresGradient Whether backward passes a gradient to it.
   * @param label Name for messages; a parameter's is its own.
   * @param view Of a view: its root, and where in it the view starts.
   */
  constructor(
    readonly shape: readonly number[],
    readonly dtype: Dtype,
    place: Place,
    readonly requiresGradient: boolean,
    readonly label: string,
    view?: { readonly root: Tensor; readonly relativeBytes: number },
  ) {
    this.size = elementCount(shape, label);
    this.#place = place;
    this.root = view?.root ?? this;
    this.#relativeBytes = view?.relativeBytes ?? 0;
  }

  /** The storage that holds the values. */
  get storage(): Storage {
    return this.#place.storage;
  }

  /** Where in the storage the values start. */
  get byteOffset(): number {
    return this.#place.byteOffset + this.#relativeBytes;
  }

  /** Byte length of the values. */
  get byteLength(): number {
    return this.size * DTYPE_BYTES[this.dtype];
  }

  /** Moves the tensor and all its views; recorded kernels follow. Only before buffers are bound. */
  moveTo(storage: Storage, byteOffset: number): void {
    this.#place.storage = storage;
    this.#place.byteOffset = byteOffset;
  }

  /**
   * The same values in another shape.
   *
   * @param shape The new shape, of the same number of elements.
   * @throws {TypeError} If the number of elements differs.
   */
  reshape(...shape: number[]): Tensor {
    if (elementCount(shape, this.label) !== this.size) {
      throw new TypeError(
        `Cannot reshape ${this.label} ${formatShape(this.shape)} as ${formatShape(shape)}: ` +
          `the number of elements must stay ${this.size}`,
      );
    }
    const view = { root: this.root, relativeBytes: this.#relativeBytes };
    return new Tensor(shape, this.dtype, this.#place, this.requiresGradient, this.label, view);
  }

  /**
   * Rows `start` to `end` (exclusive) of the first dimension, without a gradient of their own.
   *
   * @throws {RangeError} If the rows are outside the tensor or do not start on a 256-byte boundary.
   */
  rows(start: number, end: number): Tensor {
    const relativeBytes = this.#relativeBytes + start * (this.byteLength / this.shape[0]);
    if (!(start >= 0 && start < end && end <= this.shape[0]) || relativeBytes % ALIGNMENT_BYTES !== 0) {
      throw new RangeError(
        `Rows ${start} to ${end} of ${this.label} ${
          formatShape(this.shape)
        } must lie inside it and start at a ` +
          `multiple of ${ALIGNMENT_BYTES} bytes`,
      );
    }
    const shape = [end - start, ...this.shape.slice(1)];
    return new Tensor(shape, this.dtype, this.#place, false, this.label, { root: this.root, relativeBytes });
  }
}

/**
 * Cuts rows into blocks of at most `maxBytes`, each starting at a multiple of 64 rows, which is on a 256-byte
 * boundary whatever a row's length (of f16: if it is even).
 *
 * @returns [start, end) of each block; one block for all rows where they fit. A block has at least 64 rows even if
 * they are larger.
 */
export function rowBlocks(rows: number, rowBytes: number, maxBytes: number): [number, number][] {
  if (rows * rowBytes <= maxBytes) return [[0, rows]];
  const size = Math.max(64, Math.floor(maxBytes / rowBytes / 64) * 64);
  return Array.from({ length: Math.ceil(rows / size) }, (_, i) => [i * size, Math.min((i + 1) * size, rows)]);
}

/** Writes a shape as `[2, 3]`. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

function elementCount(shape: readonly number[], label: string): number {
  let count = 1;
  for (const n of shape) {
    if (!Number.isSafeInteger(n) || n < 1) {
      throw new RangeError(
        `The sizes of ${label} must be positive integers, got ${formatShape(shape)}`,
      );
    }
    count *= n;
  }
  return count;
}

/**
 * Checks a tensor's shape and element type before anything is recorded.
 *
 * @param op Name of the op, for the message.
 * @param name Name of the argument, for the message.
 * @param tensor The argument.
 * @param shape What each dimension must be; `null` accepts any size.
 * @param dtype The element type; default f32, or f16, which kernels see as f32.
 * @throws {TypeError} If they differ.
 */
export function expectShape(
  op: string,
  name: string,
  tensor: Tensor,
  shape: readonly (number | null)[],
  dtype: Dtype = "f32",
): void {
  const seen = tensor.dtype === "f16" ? "f32" : tensor.dtype;
  const fits = seen === dtype && tensor.shape.length === shape.length &&
    shape.every((n, i) => n === null || n === tensor.shape[i]);
  if (fits) return;
  const wanted = `[${shape.map((n) => n ?? "any").join(", ")}]`;
  throw new TypeError(
    `${op}: ${name} must be ${dtype} of shape ${wanted}, got ${tensor.dtype} ${
      formatShape(tensor.shape)
    } (${tensor.label})`,
  );
}
