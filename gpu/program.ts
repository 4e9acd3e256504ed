/**
 * A compiled graph: pipelines, buffers and bind groups are made once, then every run only writes inputs,
 * encodes and submits.
 *
 * @module
 */
import { type SubmissionTime, timeSubmissions } from "./clock.ts";
import { type Gpu, GpuError } from "./device.ts";
import type { Graph, Input } from "./graph.ts";
import type { Access, Kernel } from "./kernel.ts";
import { formatBytes, withinMemory } from "./memory.ts";
import { createBuffer, writeTensor } from "./parameters.ts";
import { type MemoryPlan, planMemory } from "./plan.ts";
import { profileParts, type ReplayProfile } from "./profile.ts";
import { readTensors } from "./readback.ts";
import { encodePass, Pace, type ReplayPart, type Step, submitParts } from "./replay.ts";
import { alignedBytes, formatShape, type Storage, type Tensor } from "./tensor.ts";
import { createTexture, encodeTexelCopy, TEXEL_FORMAT } from "./texels/texels.ts";

/** A compiled {@linkcode Graph}. Made by {@linkcode compileProgram}. */
export class Program {
  readonly #gpu: Gpu;
  readonly #graph: Graph;
  readonly #owned: (GPUBuffer | GPUTexture)[];
  /** For even and for odd runs: they differ where buffers are exchanged. */
  readonly #replays: readonly [readonly ReplayPart[], readonly ReplayPart[]];
  readonly #pace: Pace;
  readonly #preparation: Preparation;
  /** Parameters that a run writes. */
  readonly #written: readonly Storage[];
  #parity: 0 | 1 = 0;
  readonly #staged: ReadonlyMap<Input, GPUBuffer>;
  /** Planned memory. */
  readonly memory: MemoryPlan;

  /** @ignore Use {@linkcode compileProgram}. */
  constructor(
    gpu: Gpu,
    graph: Graph,
    parts: {
      owned: (GPUBuffer | GPUTexture)[];
      preparation: readonly StepPair[];
      micro: readonly StepPair[];
      update: readonly StepPair[];
      staged: ReadonlyMap<Input, GPUBuffer>;
      memory: MemoryPlan;
    },
  ) {
    this.#gpu = gpu;
    this.#graph = graph;
    this.#owned = parts.owned;
    this.#staged = parts.staged;
    this.#replays = [replayParts(graph, parts, 0), replayParts(graph, parts, 1)];
    this.#preparation = new Preparation(parts.preparation.map(([step]) => step));
    this.#written = parametersOf([...graph.microKernels, ...graph.updateKernels], "write");
    this.#pace = new Pace(gpu);
    this.memory = parts.memory;
  }

  /** Number of kernels that one run dispatches, and of copies to texels. */
  get dispatches(): number {
    return this.#replays[0].reduce((sum, part) => sum + (typeof part === "function" ? 0 : part.length), 0);
  }

  /**
   * Writes an input's values for the next run.
   *
   * @param name The input's name.
   * @param values As many as its shape says.
   * @param micro The micro-batch they are for; default 0.
   * @throws {TypeError} If there is no such input or the number or type of values differs.
   */
  write(name: string, values: Float32Array | Uint32Array, micro = 0): void {
    const input = this.#graph.inputs.get(name);
    if (!input) {
      throw new TypeError(
        `The graph has inputs ${[...this.#graph.inputs.keys()].join(", ")}, but no ${name}`,
      );
    }
    const { tensor } = input;
    const wanted = tensor.dtype === "f32" ? Float32Array : Uint32Array;
    if (!(values instanceof wanted) || values.length !== tensor.size) {
      throw new TypeError(
        `The input ${name} must get a ${wanted.name} of ${tensor.size} values for ${
          formatShape(tensor.shape)
        }, ` +
          `got ${values.constructor.name} of ${values.length}`,
      );
    }
    if (!(micro >= 0 && micro < (input.per === "micro" ? this.#graph.microBatches : 1))) {
      throw new RangeError(`There are ${this.#graph.microBatches} micro-batches, got number ${micro}`);
    }
    const staged = this.#staged.get(input);
    this.#gpu.device.queue.writeBuffer(
      staged ?? tensor.storage.buffer!,
      staged ? micro * tensor.byteLength : tensor.byteOffset,
      values as Uint32Array<ArrayBuffer>,
    );
  }

  /**
   * Encodes and submits steps: of each all micro-batches, then the update phase. Makes no buffer, pipeline or bind
   * group.
   *
   * @param count How many, all with the same inputs unless kernels write these; default 1. They share submissions.
   */
  run(count = 1): void {
    this.#prepare();
    submitParts(this.#gpu.device, this.#steps(count), this.#pace);
  }

  *#steps(count: number): Generator<ReplayPart, void, void> {
    for (let i = 0; i < count; i++) {
      yield* this.#nextReplay();
      this.#exchange();
    }
  }

  #prepare(): void {
    submitParts(this.#gpu.device, [this.#preparation.due()], this.#pace);
  }

  /** Encodes the kernels of the first phase as one compute pass, without what surrounds them, to measure them. */
  encodeKernels(encoder: GPUCommandEncoder, timestampWrites: GPUComputePassTimestampWrites): void {
    const kernels = this.#nextReplay().find((part) => typeof part !== "function");
    encodePass(encoder, kernels ?? [], timestampWrites);
  }

  /** Runs one step as {@linkcode Program.run} does, waits for it and says how long it took as a whole. */
  async timeRun(): Promise<SubmissionTime> {
    this.#prepare();
    const time = await timeSubmissions(
      this.#gpu,
      (start, end) => submitParts(this.#gpu.device, [start, ...this.#nextReplay(), end], this.#pace),
    );
    this.#exchange();
    return time;
  }

  /**
   * Runs one step with the effect of {@linkcode Program.run}, but every kernel by itself, and says how long each
   * took. Makes GPU objects and waits.
   */
  async profile(): Promise<ReplayProfile> {
    this.#prepare();
    const profile = await profileParts(this.#gpu, this.#nextReplay(), this.#pace);
    this.#exchange();
    return profile;
  }

  #nextReplay(): readonly ReplayPart[] {
    return this.#replays[this.#parity];
  }

  #exchange(): void {
    for (const storage of this.#written) storage.version++;
    this.#parity = this.#parity === 0 ? 1 : 0;
    for (const [a, b] of this.#graph.exchanged) [a.buffer, b.buffer] = [b.buffer, a.buffer];
  }

  /** Waits for the runs so far and reads tensors that keep their buffers. */
  read(...tensors: Tensor[]): Promise<Float32Array[]> {
    return readTensors(this.#gpu, tensors);
  }

  /** Gives back all memory but the parameters'. */
  destroy(): void {
    for (const owned of this.#owned) owned.destroy();
    this.#owned.length = 0;
  }
}

/** A kernel's step in even and in odd runs; the same one where none of its buffers are exchanged. */
type StepPair = readonly [Step, Step];

/** A step in the order of its commands: clears, each micro-batch between its copies, the update phase. */
function replayParts(
  graph: Graph,
  { micro, update, staged }: {
    micro: readonly StepPair[];
    update: readonly StepPair[];
    staged: ReadonlyMap<Input, GPUBuffer>;
  },
  parity: 0 | 1,
): ReplayPart[] {
  const of = (pairs: readonly StepPair[]) => pairs.map((pair) => pair[parity]);
  const parts: ReplayPart[] = [(encoder) => {
    for (const storage of graph.clearedEachStep) encoder.clearBuffer(storage.buffer!);
  }];
  for (let i = 0; i < graph.microBatches; i++) {
    parts.push(
      (encoder) => {
        for (const [{ tensor: { storage, byteOffset, byteLength } }, from] of staged) {
          encoder.copyBufferToBuffer(from, i * byteLength, storage.buffer!, byteOffset, byteLength);
        }
      },
      of(micro),
      (encoder) => {
        for (const { from, into } of graph.collected) {
          encoder.copyBufferToBuffer(
            from.storage.buffer!,
            from.byteOffset,
            into.storage.buffer!,
            into.byteOffset + i * from.byteLength,
            from.byteLength,
          );
        }
      },
    );
  }
  return [...parts, of(update)];
}

/** What to do where a program does not fit. */
const MEMORY_REMEDY =
  "use --recompute, a smaller batch with more gradient accumulation, shorter sequences, an " +
  "optimizer with less state or a smaller model";

/** What a program needs beside its parameters, which have their memory already. */
function describeMemory({ parameters, ...rest }: MemoryPlan): string {
  const needed = Object.entries(rest).filter(([, bytes]) => bytes > 0).map(([name, bytes]) =>
    `${formatBytes(bytes)} of ${name}`
  );
  return `${needed.join(", ")} beside ${formatBytes(parameters)} of parameters`;
}

/** Pipelines by WGSL, for every graph of a device. */
const pipelineCaches = new WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>();

/**
 * Compiles a graph. Allocate its parameters first ({@linkcode ParameterStore.allocate}).
 *
 * @param gpu The device.
 * @param graph A finished recording.
 * @throws {RangeError} If a buffer is too large for the adapter, or memory runs out.
 * @throws {GpuError} If a kernel does not compile.
 */
export async function compileProgram(gpu: Gpu, graph: Graph): Promise<Program> {
  const { buffers: plan, textures, memory } = planMemory(graph);
  const staging = graph.microBatches > 1
    ? [...graph.inputs.values()].filter(({ per }) => per === "micro")
    : [];
  const stagedBytes = ({ tensor }: Input) => alignedBytes(tensor.byteLength * graph.microBatches);
  const planned = {
    ...memory,
    other: staging.reduce((sum, input) => sum + stagedBytes(input), memory.other),
  };
  const owned: (GPUBuffer | GPUTexture)[] = [];
  const staged = new Map<Input, GPUBuffer>();
  const create = (label: string, bytes: number) => {
    const buffer = createBuffer(gpu, label, bytes);
    owned.push(buffer);
    return buffer;
  };
  try {
    await withinMemory(gpu, describeMemory(planned), MEMORY_REMEDY, () => {
      const shared = plan.bufferBytes.map((bytes, i) => create(`activations.${i}`, bytes));
      for (const [storage, index] of plan.assignment) storage.buffer = shared[index];
      const texels = textures.bufferBytes.map((bytes, i) => createTexture(gpu.device, `texels.${i}`, bytes));
      owned.push(...texels);
      for (const [storage, index] of textures.assignment) storage.texture = texels[index];
      for (const storage of graph.persistent) {
        if (storage.form === "buffer") storage.buffer ??= create(storage.label, storage.byteLength);
        else owned.push(storage.texture = createTexture(gpu.device, storage.label, storage.byteLength));
      }
      for (const input of staging) {
        staged.set(input, create(`staged.${input.tensor.label}`, stagedBytes(input)));
      }
    });
  } catch (error) {
    owned.forEach((b) => b.destroy());
    throw error;
  }
  for (const { tensor, values } of graph.constants) writeTensor(gpu, tensor, values);

  const exchanged = new Map(graph.exchanged.flatMap(([a, b]) => [[a, b], [b, a]] as const));
  const compile = (list: readonly Kernel[]) =>
    Promise.all(list.map((kernel) => compileKernel(gpu, kernel, exchanged)));
  const [preparation, micro, update] = await Promise.all(
    [graph.preparation, graph.microKernels, graph.updateKernels].map(compile),
  );
  gpu.check();

  return new Program(gpu, graph, { owned, preparation, micro, update, staged, memory: planned });
}

async function compileKernel(
  gpu: Gpu,
  kernel: Kernel,
  exchanged: ReadonlyMap<Storage, Storage>,
): Promise<StepPair> {
  if (kernel.code === "") {
    const copy = copyStep(kernel);
    return [copy, copy];
  }
  const { device } = gpu;
  let cache = pipelineCaches.get(device);
  if (!cache) pipelineCaches.set(device, cache = new Map());
  // The layout follows from the code: declarations carry access and order.
  let compiled = cache.get(kernel.code);
  if (!compiled) {
    const layout = device.createBindGroupLayout({
      label: kernel.label,
      entries: kernel.bindings.map(({ access, type }, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        ...(type === "texels"
          ? { storageTexture: { access: "read-only", format: TEXEL_FORMAT } }
          : { buffer: { type: access === "read" ? "read-only-storage" : "storage" } }),
      })),
    });
    // The scope keeps a broken kernel's error from being reported a second time by Gpu.check().
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: kernel.label, code: gpu.preamble + kernel.code });
    const invalid = device.popErrorScope();
    compiled = device.createComputePipelineAsync({
      label: kernel.label,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    }).catch(async (error) => {
      const reasons = (await invalid)?.message ?? error.message;
      throw new GpuError(
        `The kernel ${kernel.label} must compile on ${gpu.description}, got: ${reasons.trim()}`,
      );
    });
    cache.set(kernel.code, compiled);
  }
  const pipeline = await compiled;
  const step = (other: ReadonlyMap<Storage, Storage>): Step => {
    const entries = kernel.bindings.map(({ name, tensor, type }, binding) => {
      const { storage, byteOffset, byteLength } = tensor;
      if (type === "texels") return { binding, resource: storage.texture!.createView() };
      const { buffer } = other.get(storage) ?? storage;
      if (!buffer) throw new TypeError(`${kernel.label}: ${name} (${tensor.label}) must have a buffer`);
      // Vector views may end in padding, which every buffer has; WebGPU wants a multiple of 4 bytes.
      const element = type.startsWith("vec4") ? 16 : 4;
      const size = Math.ceil(byteLength / element) * element;
      return { binding, resource: { buffer, offset: byteOffset, size } };
    });
    const layout = pipeline.getBindGroupLayout(0);
    return { kernel, pipeline, bindGroup: device.createBindGroup({ label: kernel.label, layout, entries }) };
  };
  const even = step(new Map());
  return [even, kernel.bindings.some((b) => exchanged.has(b.tensor.storage)) ? step(exchanged) : even];
}

/** Parameters that kernels read or write. */
function parametersOf(kernels: readonly Kernel[], access: Access): Storage[] {
  const bindings = kernels.flatMap((kernel) => kernel.bindings.filter((b) => b.access === access));
  return [
    ...new Set(bindings.map(({ tensor }) => tensor.storage).filter(({ kind }) => kind === "parameter")),
  ];
}

/** What is computed of parameters alone, and whether that is so. */
class Preparation {
  readonly #steps: readonly Step[];
  readonly #parameters: readonly Storage[];
  #version = -1;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#parameters = parametersOf(steps.map(({ kernel }) => kernel), "read");
  }

  /** What must be done before a run: all of it or nothing. */
  due(): readonly Step[] {
    // Versions only grow.
    const version = this.#parameters.reduce((sum, storage) => sum + storage.version, 0);
    if (version === this.#version) return [];
    this.#version = version;
    return this.#steps;
  }
}

/** A copy to texels; of a storage that is exchanged it finds the buffer of the run. */
function copyStep(kernel: Kernel): Step {
  const [{ tensor: { storage, byteOffset, byteLength } }, { tensor: texels }] = kernel.bindings;
  return {
    kernel,
    encode: (encoder) => {
      const from = { buffer: storage.buffer!, offset: byteOffset, byteLength };
      encodeTexelCopy(encoder, from, texels.storage.texture!);
    },
  };
}
