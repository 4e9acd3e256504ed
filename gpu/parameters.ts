/**
 * Parameters that several graphs share (training, evaluation, generation), packed into few large buffers.
 *
 * @module
 */
import { alignedBytes, formatShape, Storage, type StorageKind, Tensor } from "./tensor.ts";
import { formatBytes, withinMemory } from "./memory.ts";
import { readTensors } from "./readback.ts";
import type { Gpu } from "./device.ts";

/** How a parameter starts: writes the values, given a seed of its own. */
export type Initializer = (values: Float32Array, seed: number) => void;

/** What a model says of a parameter when it declares it. */
export interface ParameterSpec {
  /** The checkpoint's name of it, Hugging Face's own for its architectures. */
  readonly name: string;
  /** Sizes of its dimensions, in the checkpoint's orientation. */
  readonly shape: readonly number[];
  /** Starting values. */
  readonly init: Initializer;
  /** Whether training changes it; default true. */
  readonly trainable: boolean;
  /** What it is in the model, by which optimizers choose what they own. */
  readonly role: ParameterRole;
  /** Of a matrix: whether its rows belong to inputs or to outputs; default `out-in`, PyTorch's. */
  readonly layout?: "in-out" | "out-in";
  /** Of a matrix that holds several, such as q, k and v: how many, each of equally many outputs; default 1. */
  readonly parts?: number;
}

/**
 * `matrix` is a hidden weight matrix, `embedding` a table indexed by tokens or positions (a tied output head among
 * them), `head` an output head of its own, `norm` a normalisation's gain or shift, `bias` an added vector.
 */
export type ParameterRole = "matrix" | "embedding" | "head" | "norm" | "bias";

/** A declared parameter. */
export interface Parameter extends ParameterSpec {
  /** Its tensor, the same in every graph. */
  readonly tensor: Tensor;
}

/** A stretch of packed tensors that one kernel can bind whole. */
export interface Segment<T = Parameter> {
  /** The storage that holds exactly these tensors. */
  readonly storage: Storage;
  /** Number of f32 elements, padding included. */
  readonly length: number;
  /** What lies in it: each item, its first element and its number of elements. */
  readonly items: readonly { readonly item: T; readonly start: number; readonly size: number }[];
}

/** The parameters of a model by name. */
export class ParameterStore {
  readonly #parameters = new Map<string, Parameter>();
  #allocated = false;

  /** All parameters in the order of their declaration. */
  get all(): readonly Parameter[] {
    return [...this.#parameters.values()];
  }

  /** Number of values in all of them. */
  get count(): number {
    return this.all.reduce((sum, p) => sum + p.tensor.size, 0);
  }

  /** Number of values in those that training changes. */
  get trainableCount(): number {
    return this.all.reduce((sum, p) => p.trainable ? sum + p.tensor.size : sum, 0);
  }

  /** The parameter of that name, or undefined. */
  get(name: string): Parameter | undefined {
    return this.#parameters.get(name);
  }

  /**
   * Declares a parameter, or finds it when another graph has declared it.
   *
   * @throws {TypeError} If it exists in another shape, or is new after the parameters got their buffers.
   */
  declare(spec: ParameterSpec): Parameter {
    const known = this.#parameters.get(spec.name);
    if (known) {
      if (formatShape(known.shape) !== formatShape(spec.shape)) {
        throw new TypeError(
          `The parameter ${spec.name} must keep its shape ${formatShape(known.shape)}, got ${
            formatShape(spec.shape)
          }`,
        );
      }
      return known;
    }
    if (this.#allocated) {
      throw new TypeError(
        `The parameter ${spec.name} must be declared before the parameters are allocated; record every graph's ` +
          "parameters in the first one",
      );
    }
    const bytes = spec.shape.reduce((a, b) => a * b, 4);
    const storage = new Storage("parameter", bytes, spec.name);
    const tensor = new Tensor(spec.shape, "f32", { storage, byteOffset: 0 }, spec.trainable, spec.name);
    const parameter = { ...spec, tensor };
    this.#parameters.set(spec.name, parameter);
    return parameter;
  }

  /**
   * Gives every parameter without a buffer one, and its starting values.
   *
   * @param gpu The device.
   * @param seed Every parameter's values depend on this seed and its name alone.
   * @throws {RangeError} If one is too large for the adapter, or memory runs out.
   */
  async allocate(gpu: Gpu, seed: number): Promise<void> {
    this.#allocated = true;
    const what = `${formatBytes(4 * this.count)} of weights`;
    await withinMemory(gpu, what, "use a smaller model", () => {
      for (const { tensor } of this.all) allocateStorage(gpu, tensor.storage);
      for (const { name, tensor, init } of this.all) {
        const values = new Float32Array(tensor.size);
        init(values, nameSeed(name, seed));
        writeTensor(gpu, tensor, values);
      }
    });
  }

  /** Copies parameters back to the host, all of them by default. */
  async read(
    gpu: Gpu,
    names: readonly string[] = [...this.#parameters.keys()],
  ): Promise<Map<string, Float32Array>> {
    const wanted = names.map((name) => {
      const parameter = this.#parameters.get(name);
      if (!parameter) throw new TypeError(`There is no parameter ${name}`);
      return parameter.tensor;
    });
    const values = await readTensors(gpu, wanted);
    return new Map(names.map((name, i) => [name, values[i]]));
  }

  /**
   * Overwrites a parameter.
   *
   * @throws {TypeError} If there is none of that name or the number of values differs.
   */
  write(gpu: Gpu, name: string, values: Float32Array): void {
    const parameter = this.#parameters.get(name);
    if (!parameter) throw new TypeError(`There is no parameter ${name}`);
    writeTensor(gpu, parameter.tensor, values);
  }

  /** Gives the buffers back. */
  destroy(): void {
    for (const { tensor } of this.all) tensor.storage.buffer?.destroy();
  }
}

/**
 * Moves tensors of one kind into as few storages as one binding can hold, each tensor on a 256-byte
 * boundary, in the order given. A tensor larger than a binding gets a storage of its own.
 *
 * @param kind The kind of the new storages.
 * @param items What to pack.
 * @param sizeOf Number of f32 elements of an item.
 * @param maxBytes The adapter's largest binding.
 */
export function packSegments<T>(
  kind: StorageKind,
  items: readonly T[],
  sizeOf: (item: T) => number,
  maxBytes: number,
): Segment<T>[] {
  const segments: Segment<T>[] = [];
  let pending: { item: T; start: number; size: number }[] = [];
  let bytes = 0;
  const close = () => {
    if (pending.length === 0) return;
    segments.push({
      storage: new Storage(kind, bytes, `${kind}s.${segments.length}`),
      length: bytes / 4,
      items: pending,
    });
    pending = [];
    bytes = 0;
  };
  for (const item of items) {
    const size = sizeOf(item);
    if (bytes > 0 && bytes + alignedBytes(size * 4) > maxBytes) close();
    pending.push({ item, start: bytes / 4, size });
    bytes += alignedBytes(size * 4);
  }
  close();
  return segments;
}

/**
 * Gives a storage its buffer, once; new buffers are zero.
 *
 * @throws {RangeError} If it is larger than a buffer can be.
 */
export function allocateStorage(gpu: Gpu, storage: Storage): void {
  storage.buffer ??= createBuffer(gpu, storage.label, storage.byteLength);
}

/**
 * Creates a buffer of zeros that kernels and copies read and write. Where many or large ones are created,
 * {@linkcode withinMemory} tells whether there is memory for them.
 *
 * @throws {RangeError} If it is larger than a buffer can be.
 */
export function createBuffer(gpu: Gpu, label: string, bytes: number): GPUBuffer {
  const size = alignedBytes(bytes);
  if (size > gpu.profile.maxBufferBytes) {
    throw new RangeError(
      `${label} needs ${size} bytes, but a buffer of ${gpu.description} holds at most ` +
        `${gpu.profile.maxBufferBytes}; use a smaller model or batch`,
    );
  }
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  return gpu.device.createBuffer({ label, size, usage });
}

/**
 * Uploads values to a tensor that has a buffer.
 *
 * @param gpu The device.
 * @param tensor The tensor.
 * @param values All of its values, or with `first` a stretch of them.
 * @param first The element at which the stretch starts. Default: `values` are all of the tensor.
 * @throws {TypeError} If the values do not fit the tensor, or it has no buffer.
 */
export function writeTensor(
  gpu: Gpu,
  tensor: Tensor,
  values: Float32Array | Uint32Array,
  first?: number,
): void {
  const start = first ?? 0;
  if (first === undefined && values.length !== tensor.size) {
    throw new TypeError(
      `${tensor.label} must get ${tensor.size} values for its shape ${
        formatShape(tensor.shape)
      }, got ${values.length}`,
    );
  }
  if (!(start >= 0 && start + values.length <= tensor.size)) {
    throw new TypeError(
      `${tensor.label} must get values within its ${tensor.size}, got ${values.length} from element ${start}`,
    );
  }
  if (!tensor.storage.buffer) throw new TypeError(`${tensor.label} must have a buffer before it is written`);
  tensor.storage.version++;
  gpu.device.queue.writeBuffer(
    tensor.storage.buffer,
    tensor.byteOffset + 4 * start,
    values as Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
  );
}

/** FNV-1a of the name, so that a parameter's start does not depend on what else the model has. */
function nameSeed(name: string, seed: number): number {
  let h = (0x811c9dc5 ^ seed) >>> 0;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
  return h;
}
