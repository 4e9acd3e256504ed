/**
 * Recording: an ordinary function over symbolic tensors leaves behind a list of commands, and a tape from
 * which the backward pass is recorded.
 *
 * Accumulation rule, everywhere: a gradient is set (`=`) by the first kernel that writes it and added to (`+=`) by
 * the later ones. Only where a step has several micro-batches, gradients of parameters are cleared when it
 * begins and every kernel adds to them.
 *
 * @module
 */
import { withoutUnusedKernels } from "./dead_kernels.ts";
import type { Profile } from "./device.ts";
import {
  type Access,
  type Binding,
  copyToTexels,
  type Kernel,
  kernelCode,
  requireLimits,
  type WgslType,
} from "./kernel.ts";
import { type Precision, requirePrecision } from "./precision/precision.ts";
import { packSegments, type Parameter, type ParameterSpec, ParameterStore } from "./parameters.ts";
import { type Dtype, DTYPE_BYTES, Storage, Tensor } from "./tensor.ts";
import { hasTexels, TexelCopies, texelsOf } from "./texels/texels.ts";

/** A tensor under a WGSL name; the short form of a {@linkcode Binding}. */
export type Operand = Tensor | { readonly tensor: Tensor; readonly type: WgslType };

/** Binds a tensor as an array of `vec4f`. */
export function vec4(tensor: Tensor): Operand {
  return { tensor, type: "vec4f" };
}

/** What {@linkcode Graph.dispatch} takes. */
export interface DispatchOptions {
  /** Name for messages and profiles. */
  readonly label: string;
  /** Tensors that the kernel only reads, by their names in WGSL. */
  readonly read?: Readonly<Record<string, Operand>>;
  /** Tensors that the kernel writes or updates, by their names in WGSL. */
  readonly write: Readonly<Record<string, Operand>>;
  /** Emitted above the body as WGSL constants. */
  readonly constants?: Readonly<Record<string, number | boolean>>;
  /** WGSL with `@compute fn main`, without binding declarations. */
  readonly body: string;
  /** Workgroups in x, y, z. */
  readonly workgroups: readonly [number, number, number];
  /** Floating point operations, for profiles; a multiply-add counts as two. */
  readonly flops?: number;
  /** Bytes that are read and written, for profiles; default those of every binding once. */
  readonly bytes?: number;
}

/** An input of a graph that the host writes. */
export interface Input {
  /** What the kernels read. */
  readonly tensor: Tensor;
  /** Whether it has new values for each micro-batch or for each step. */
  readonly per: "micro" | "step";
}

/** A value that every micro-batch leaves for the update phase. */
export interface Collected {
  /** Written by the micro-batch's kernels. */
  readonly from: Tensor;
  /** Shape [microBatches, ...from.shape]. */
  readonly into: Tensor;
}

/** Values that kernels read and that never change. */
export interface Constant {
  /** What the kernels read. */
  readonly tensor: Tensor;
  /** Uploaded when the graph is compiled. */
  readonly values: Float32Array | Uint32Array;
}

/** Where a kernel writes its part of a gradient. */
export interface GradientTarget {
  /** The gradient. */
  readonly tensor: Tensor;
  /** Whether to add to it; otherwise the kernel sets every value. */
  readonly accumulate: boolean;
}

/** A kernel that was chosen among several for the same work. */
export interface Choice {
  /** Names of the kernels, the default first. */
  readonly candidates: readonly string[];
  /** The one that was recorded. */
  readonly chosen: string;
  /** Records such work with one of the kernels alone in an empty graph, so that it can be measured. */
  readonly trial: (g: Graph, candidate: string) => void;
}

/** Options of a {@linkcode Graph}. */
export interface GraphOptions {
  /** Kernels are specialised for this adapter. */
  readonly profile: Profile;
  /** Parameters shared with other graphs; default a new store. */
  readonly parameters?: ParameterStore;
  /** Whether ops record a backward pass and dropout drops; default false. */
  readonly training?: boolean;
  /** How many micro-batches the first phase is replayed for in a step; default 1. */
  readonly microBatches?: number;
  /** Kernels to take by what they are for (see {@linkcode Graph.choose}); default each one's first candidate. */
  readonly choices?: Readonly<Record<string, string>>;
  /** Whether {@linkcode Graph.recompute} trades time for memory while training; default false. */
  readonly recompute?: boolean;
  /** See {@linkcode Graph.precision}; default f32. */
  readonly precision?: Precision;
  /** See {@linkcode Graph.keepsWeights}; default false. */
  readonly keepsWeights?: boolean;
}

/** Bytes of texels that a graph keeps at most: beyond it weights are read as they lie. */
const MOST_KEPT_BYTES = 2 ** 30;

/** A recording. */
export class Graph {
  /** The adapter's profile. */
  readonly profile: Profile;
  /** The parameters. */
  readonly parameters: ParameterStore;
  /** Whether a backward pass will be recorded. */
  readonly training: boolean;
  /** Replays of the first phase per step. */
  readonly microBatches: number;
  /**
   * Whether copies of weights may be kept from run to run in a layout that kernels read faster, and be made anew when
   * they change: for graphs that run many times with the same weights. It takes memory.
   */
  readonly keepsWeights: boolean;
  /** Recorded by {@linkcode Graph.prepare}: replayed before a run if the parameters have changed since the last. */
  readonly preparation: Kernel[] = [];
  /** Recorded before {@linkcode Graph.beginUpdate}: replayed for every micro-batch. */
  readonly microKernels: Kernel[] = [];
  /** Recorded after it: once a step. */
  readonly updateKernels: Kernel[] = [];
  /** Inputs by name. */
  readonly inputs: Map<string, Input> = new Map();
  /** See {@linkcode Graph.exchange}. */
  readonly exchanged: (readonly [Storage, Storage])[] = [];
  /** See {@linkcode Graph.constant}. */
  readonly constants: Constant[] = [];
  /** See {@linkcode Graph.collect}. */
  readonly collected: Collected[] = [];
  /** Storages of inputs, outputs, optimizer state and gradients, in the order they were made. */
  readonly persistent: Storage[] = [];
  /** Storages to clear when a step begins. */
  readonly clearedEachStep: Storage[] = [];

  /** What {@linkcode Graph.choose} chose. */
  readonly choices: Map<string, Choice> = new Map();

  readonly #given: Readonly<Record<string, string>>;
  readonly #copies = new TexelCopies();
  #sizes = new Map<string, Tensor>();
  #tape: (() => void)[] = [];
  #gradients = new Map<Tensor, Tensor>();
  #updating = false;
  #preparing = false;
  #keptBytes = 0;
  #randomStreams = 0;
  readonly #recomputing: boolean;
  readonly #precision: Precision;
  #lossScale = 1;

  /**
   * Starts a recording.
   *
   * @param options See {@linkcode GraphOptions}.
   * @throws {RangeError} If f16 is asked for and the adapter has none.
   */
  constructor(options: GraphOptions) {
    this.profile = options.profile;
    this.parameters = options.parameters ?? new ParameterStore();
    this.training = options.training ?? false;
    this.microBatches = options.microBatches ?? 1;
    this.#given = options.choices ?? {};
    this.#recomputing = this.training && (options.recompute ?? false);
    this.#precision = options.precision ?? "f32";
    this.keepsWeights = options.keepsWeights ?? false;
    requirePrecision(this.profile, this.#precision);
  }

  /**
   * How results of layers and their gradients are stored, and the copies of weights that products read. Parameters,
   * their gradients and all of the update phase are f32.
   */
  get precision(): Precision {
    return this.#updating ? "f32" : this.#precision;
  }

  /** What gradients are multiplied with until the update phase, see {@linkcode Graph.scaleLoss}. */
  get lossScale(): number {
    return this.#lossScale;
  }

  /**
   * Chooses what a loss multiplies its gradient with, so that gradients in f16 neither vanish nor overflow.
   *
   * @param terms How many terms the loss of a micro-batch is the mean of.
   * @returns A power of two, the same for every loss of the graph; with f32 always 1.
   */
  scaleLoss(terms: number): number {
    // The gradient of a mean is as small as its terms are many; that of a sum suits f16.
    if (this.#precision === "f16" && this.#lossScale === 1) {
      this.#lossScale = 2 ** Math.round(Math.log2(terms * this.microBatches));
    }
    return this.#lossScale;
  }

  /**
   * Declares a parameter or finds the one of that name.
   *
   * @param name The checkpoint's name.
   * @param shape Its shape.
   * @param spec Starting values (required), role (default `matrix`), trainable (default true).
   */
  parameter(
    name: string,
    shape: readonly number[],
    spec: Pick<ParameterSpec, "init"> & Partial<ParameterSpec>,
  ): Tensor {
    return this.parameters.declare({ trainable: true, role: "matrix", ...spec, name, shape }).tensor;
  }

  /**
   * A tensor that the host writes before a step.
   *
   * @param per `micro` (default) has values for each micro-batch, `step` one for the whole step.
   */
  input(name: string, shape: readonly number[], dtype: Dtype, per: "micro" | "step" = "micro"): Tensor {
    const known = this.inputs.get(name);
    if (known) return known.tensor;
    const tensor = this.#persistent("input", name, shape, dtype);
    this.inputs.set(name, { tensor, per });
    return tensor;
  }

  /** A tensor of values known while recording, such as a table of offsets; uploaded once by the compiler. */
  constant(
    label: string,
    values: Float32Array | Uint32Array,
    shape: readonly number[] = [values.length],
  ): Tensor {
    const tensor = this.#persistent("input", label, shape, values instanceof Float32Array ? "f32" : "u32");
    this.constants.push({ tensor, values });
    return tensor;
  }

  /**
   * Sizes in a buffer, for kernels that are compiled once for many shapes; the same tensor for the same sizes.
   *
   * @returns u32 [values.length].
   */
  sizes(...values: number[]): Tensor {
    const label = `sizes.${values.join("x")}`;
    let tensor = this.#sizes.get(label);
    if (!tensor) this.#sizes.set(label, tensor = this.constant(label, Uint32Array.from(values)));
    return tensor;
  }

  /** A tensor that keeps its values from step to step, zero at first. */
  state(name: string, shape: readonly number[], dtype: Dtype = "f32"): Tensor {
    return this.#persistent("state", name, shape, dtype);
  }

  /** A tensor that the host may read after a step. */
  output(name: string, shape: readonly number[], dtype: Dtype = "f32"): Tensor {
    return this.#persistent("output", name, shape, dtype);
  }

  /** Registers a storage that was made elsewhere and needs a buffer of its own. */
  persist(storage: Storage): Storage {
    this.persistent.push(storage);
    return storage;
  }

  /**
   * Lets two storages of the same size exchange their buffers after every run: what one holds then is found in
   * the other by the next run, without a copy.
   */
  exchange(a: Storage, b: Storage): void {
    this.exchanged.push([a, b]);
  }

  /**
   * A tensor that kernels of this graph write and read; its memory is reused when nobody needs it.
   *
   * @param label Name for messages.
   * @param shape Its shape.
   * @param from What it is computed from: it requires a gradient if one of these does.
   * @param dtype Default: of what is computed from others, {@linkcode Graph.precision}; else f32, as statistics
   * should be. Blocks of rows begin at 256 bytes only if f16 values are even in number, so others stay f32.
   */
  activation(
    label: string,
    shape: readonly number[],
    from: readonly Tensor[] = [],
    dtype: Dtype = from.length > 0 && shape[shape.length - 1] % 2 === 0 ? this.precision : "f32",
  ): Tensor {
    const bytes = shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]);
    const requires = dtype !== "u32" && from.some((t) => t.requiresGradient);
    return placed(shape, dtype, new Storage("activation", bytes, label), requires, label);
  }

  /**
   * Keeps a micro-batch's tensor for the update phase.
   *
   * @returns The tensor of all micro-batches, shape [microBatches, ...shape].
   */
  collect(from: Tensor): Tensor {
    const into = this.output(`collected.${from.label}`, [this.microBatches, ...from.shape], from.dtype);
    this.collected.push({ from, into });
    return into;
  }

  /** A number for each use of randomness in the graph, so that no two draw the same bits. */
  randomStream(): number {
    return this.#randomStreams++;
  }

  /**
   * Chooses between kernels for the same work: the one given for it when the graph was made, if it is one of
   * the candidates, else the first.
   *
   * @param key What the work is: op, shape and layout.
   * @param candidates Names of the kernels.
   * @param trial Records such work with one of the kernels alone in an empty graph.
   */
  choose(key: string, candidates: readonly string[], trial: Choice["trial"]): string {
    const given = this.#given[key];
    const chosen = candidates.includes(given) ? given : candidates[0];
    this.choices.set(key, { candidates, chosen, trial });
    return chosen;
  }

  /**
   * Records a kernel.
   *
   * @throws {RangeError} If the kernel exceeds a limit of the adapter: bytes of a binding, bindings, workgroups in a
   * dimension, threads or memory of a workgroup.
   */
  dispatch(options: DispatchOptions): void {
    const { label, read = {}, write, constants = {}, body, workgroups, flops } = options;
    const bytes = options.bytes ?? bytesOf(read) + bytesOf(write);
    const bindings = [...asBindings(read, "read"), ...asBindings(write, "write")];
    const code = kernelCode(bindings, constants, body);
    const kernel = { label, bindings, code, workgroups, flops, bytes };
    requireLimits(this.profile, kernel);
    for (const { access, tensor } of bindings) if (access === "write") this.#copies.written(tensor.storage);
    this.#record(kernel);
  }

  /**
   * Records a copy of a tensor into texels, which CPU adapters read faster than buffers; kernels recorded soon after
   * share it. In WGSL the texels bound as NAME are read by `NAME_texel(i)`, the i-th vec4f.
   *
   * @returns The texels, of the same shape; the tensor itself where it has none: it is no f32, its size is no multiple of
   * 4, or it is larger than 128 MiB.
   */
  texels(x: Tensor): Tensor {
    const known = this.#copies.find(x);
    if (known || !hasTexels(x)) return known ?? x;
    const texels = texelsOf(x, "activation");
    this.#record(copyToTexels(x, texels));
    this.#copies.add(x, texels);
    return texels;
  }

  /** Records what depends on parameters alone. Only its texels stay ({@linkcode Graph.keepTexels}). */
  prepare<T>(block: () => T): T {
    this.#preparing = true;
    try {
      return block();
    } finally {
      this.#preparing = false;
    }
  }

  /** Whether so many more bytes of texels may be kept: 1 GiB in all, of a graph that {@linkcode Graph.keepsWeights}. */
  canKeep(bytes: number): boolean {
    return this.keepsWeights && this.#keptBytes + bytes <= MOST_KEPT_BYTES;
  }

  /**
   * Records a copy of a tensor into texels that stay as they are from run to run; for {@linkcode Graph.prepare}.
   *
   * @throws {TypeError} If the tensor has no texels, see {@linkcode hasTexels}.
   */
  keepTexels(x: Tensor): Tensor {
    if (!hasTexels(x)) throw new TypeError(`${x.label} has no texels`);
    const texels = texelsOf(x, "input");
    this.#keptBytes += this.persist(texels.storage).byteLength;
    this.#record(copyToTexels(x, texels));
    return texels;
  }

  #record(kernel: Kernel): void {
    const { preparation, updateKernels, microKernels } = this;
    (this.#preparing ? preparation : this.#updating ? updateKernels : microKernels).push(kernel);
  }

  /** Records how to pass gradients back through what was just recorded; called in reverse order. */
  tape(backward: () => void): void {
    if (this.training) this.#tape.push(backward);
  }

  /**
   * Records a block of layers whose activations need not be kept until the backward pass (arXiv 1604.06174):
   * where {@linkcode GraphOptions.recompute} is on, the backward pass computes them once more. The result is
   * the same bit for bit.
   *
   * @param input What the block is given: it is kept.
   * @param block Records the block and returns its output. It is called a second time during
   * {@linkcode Graph.backward}, so it must record the same again and nothing but ops: no loss, no output, no
   * state, and no use of variables that change in between.
   * @returns What `block` returned.
   */
  recompute(input: Tensor, block: (input: Tensor) => Tensor): Tensor {
    if (!this.#recomputing) return block(input);
    const firstStream = this.#randomStreams;
    const { output } = this.#recordApart(() => block(input));
    this.tape(() => {
      const gradient = this.#gradients.get(output.root);
      if (!gradient) return;
      const nextStream = this.#randomStreams;
      this.#randomStreams = firstStream; // dropout draws the same bits again
      const start = this.microKernels.length;
      const again = this.#recordApart(() => block(input));
      this.#randomStreams = nextStream;
      const forwardEnd = this.microKernels.length;
      this.#gradients.set(again.output.root, gradient);
      while (again.tape.length > 0) again.tape.pop()!();
      // Such as the block's last product, whose result no gradient needs.
      const recorded = this.microKernels.splice(start);
      this.microKernels.push(...withoutUnusedKernels(recorded, forwardEnd - start));
    });
    return output;
  }

  /** The gradient of a tensor, complete once all its users' backward kernels are recorded, or undefined. */
  gradientOf(tensor: Tensor): Tensor | undefined {
    return this.#gradients.get(tensor.root)?.reshape(...tensor.shape);
  }

  /**
   * Where a kernel writes its part of a tensor's gradient.
   *
   * @returns The gradient and whether the kernel must add to it (else it sets it); undefined when the
   * tensor requires none.
   */
  gradientTarget(tensor: Tensor): GradientTarget | undefined {
    if (!tensor.requiresGradient) return undefined;
    const known = this.#gradients.get(tensor.root);
    if (known) return { tensor: known.reshape(...tensor.shape), accumulate: true };
    const isParameter = tensor.root.storage.kind === "parameter";
    const label = `${tensor.root.label}.gradient`;
    const { byteLength, dtype } = tensor.root;
    const storage = new Storage(isParameter ? "gradient" : "activation", byteLength, label);
    const made = placed(tensor.root.shape, dtype, storage, false, label);
    this.#gradients.set(tensor.root, made);
    return { tensor: made.reshape(...tensor.shape), accumulate: isParameter && this.microBatches > 1 };
  }

  /**
   * Hands a finished gradient on to a tensor unchanged, without copying when it is the tensor's first.
   * Must be the last use of `gradient` in its backward function: later kernels may add to it in place.
   *
   * @returns Where to copy it or add it to, when it could not be handed on; undefined when nothing is left to do.
   */
  passGradient(tensor: Tensor, gradient: Tensor): GradientTarget | undefined {
    if (!tensor.requiresGradient) return undefined;
    if (tensor.root.storage.kind === "parameter" || this.#gradients.has(tensor.root)) {
      return this.gradientTarget(tensor)!;
    }
    this.#gradients.set(tensor.root, gradient.reshape(...tensor.root.shape));
    return undefined;
  }

  /** Records the backward pass of everything on the tape. */
  backward(): void {
    while (this.#tape.length > 0) this.#tape.pop()!();
  }

  /**
   * Packs parameters and their gradients for the update phase and starts it: what is recorded from here
   * on runs once a step, after all micro-batches.
   *
   * @param groups Parameters that must lie together, such as those of one optimizer. Their storages are
   * replaced, so this comes before the parameters have buffers.
   * @returns For each group its segments: the parameters' storage and the gradients' with the same layout.
   */
  beginUpdate(groups: readonly (readonly Parameter[])[]): UpdateSegment[][] {
    this.#updating = true;
    this.#copies.clear();
    return groups.map((group) => {
      const trained = group.filter((p) => p.trainable && this.#gradients.has(p.tensor));
      return packSegments("parameter", trained, (p) => p.tensor.size, this.profile.maxBindingBytes).map(
        ({ storage, length, items }) => {
          const gradientStorage = new Storage(
            "gradient",
            length * 4,
            storage.label.replace("parameter", "gradient"),
          );
          this.persist(gradientStorage);
          if (this.microBatches > 1) this.clearedEachStep.push(gradientStorage);
          for (const { item, start } of items) {
            if (item.tensor.storage.buffer) {
              throw new TypeError(
                `The parameter ${item.name} must not have a buffer before the training graph is recorded; record ` +
                  "the training graph first",
              );
            }
            // Tensors are shared by every recorded kernel, so moving them moves the kernels' bindings.
            item.tensor.moveTo(storage, start * 4);
            this.#gradients.get(item.tensor)!.moveTo(gradientStorage, start * 4);
          }
          const whole = (s: Storage) => placed([length], "f32", s, false, s.label);
          return { parameters: whole(storage), gradients: whole(gradientStorage), length, items };
        },
      );
    });
  }

  /** Records a block with a tape of its own. */
  #recordApart(block: () => Tensor): { output: Tensor; tape: (() => void)[] } {
    const outer = this.#tape;
    const tape: (() => void)[] = [];
    this.#tape = tape;
    this.#copies.clear();
    try {
      return { output: block(), tape };
    } finally {
      this.#tape = outer;
      this.#copies.clear();
    }
  }

  #persistent(
    kind: "input" | "state" | "output",
    label: string,
    shape: readonly number[],
    dtype: Dtype,
  ): Tensor {
    const bytes = shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]);
    return placed(shape, dtype, this.persist(new Storage(kind, bytes, label)), false, label);
  }
}

/** Parameters of one optimizer that lie together in one binding, and their gradients. */
export interface UpdateSegment {
  /** All values, padding included. */
  readonly parameters: Tensor;
  /** All gradients; the padding stays zero. */
  readonly gradients: Tensor;
  /** Number of elements, padding included. */
  readonly length: number;
  /** Where each parameter lies. */
  readonly items: readonly { readonly item: Parameter; readonly start: number; readonly size: number }[];
}

function placed(
  shape: readonly number[],
  dtype: Dtype,
  storage: Storage,
  requiresGradient: boolean,
  label: string,
): Tensor {
  return new Tensor(shape, dtype, { storage, byteOffset: 0 }, requiresGradient, label);
}

function bytesOf(operands: Readonly<Record<string, Operand>>): number {
  return Object.values(operands).reduce((sum, o) => sum + (o instanceof Tensor ? o : o.tensor).byteLength, 0);
}

function asBindings(operands: Readonly<Record<string, Operand>>, access: Access): Binding[] {
  return Object.entries(operands).map(([name, operand]) => {
    if (operand instanceof Tensor) {
      return { name, access, type: operand.dtype === "u32" ? "u32" : "f32", tensor: operand };
    }
    const { tensor, type } = operand;
    return { name, access, type: tensor.storage.form === "texture" ? "texels" : type, tensor };
  });
}
