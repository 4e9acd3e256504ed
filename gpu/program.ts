/**
 * A compiled graph: pipelines, buffers and bind groups are made once, then every run only writes inputs,
 * encodes and submits.
 *
 * @module
 */
import { type SubmissionTime, timeSubmission } from "./clock.ts";
import { type Gpu, GpuError } from "./device.ts";
import type { Graph, Input } from "./graph.ts";
import type { Kernel } from "./kernel.ts";
import { allocateStorage, writeTensor } from "./parameters.ts";
import { planBuffers } from "./plan.ts";
import { profileParts, type ReplayProfile } from "./profile.ts";
import { readTensors } from "./readback.ts";
import { encodeParts, type ReplayPart, type Step } from "./replay.ts";
import { alignedBytes, formatShape, type Storage, type Tensor } from "./tensor.ts";

/** Planned GPU memory in bytes, by what it holds. */
export interface MemoryPlan {
  /** Model weights. */
  readonly parameters: number;
  /** Gradients of the weights. */
  readonly gradients: number;
  /** Optimizer state. */
  readonly state: number;
  /** Activations and their gradients, after sharing buffers. */
  readonly activations: number;
  /** Inputs and outputs. */
  readonly other: number;
}

/** A compiled {@linkcode Graph}. Made by {@linkcode compileProgram}. */
export class Program {
  readonly #gpu: Gpu;
  readonly #graph: Graph;
  readonly #owned: GPUBuffer[];
  readonly #parts: readonly ReplayPart[];
  readonly #staged: ReadonlyMap<Input, GPUBuffer>;
  /** Planned memory. */
  readonly memory: MemoryPlan;

  /** @ignore Use {@linkcode compileProgram}. */
  constructor(
    gpu: Gpu,
    graph: Graph,
    parts: {
      owned: GPUBuffer[];
      micro: readonly Step[];
      update: readonly Step[];
      staged: ReadonlyMap<Input, GPUBuffer>;
      memory: MemoryPlan;
    },
  ) {
    this.#gpu = gpu;
    this.#graph = graph;
    this.#owned = parts.owned;
    this.#staged = parts.staged;
    this.#parts = replayParts(graph, parts);
    this.memory = parts.memory;
  }

  /** Number of kernels that one run dispatches. */
  get dispatches(): number {
    return this.#parts.reduce((sum, part) => sum + (typeof part === "function" ? 0 : part.length), 0);
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

  /** Encodes and submits one step: all micro-batches, then the update phase. Makes no GPU object. */
  run(): void {
    const encoder = this.#gpu.device.createCommandEncoder();
    encodeParts(encoder, this.#parts);
    this.#gpu.device.queue.submit([encoder.finish()]);
  }

  /** Runs one step as {@linkcode Program.run} does, waits for it and says how long it took as a whole. */
  timeRun(): Promise<SubmissionTime> {
    return timeSubmission(this.#gpu, (encoder) => encodeParts(encoder, this.#parts));
  }

  /**
   * Runs one step with the effect of {@linkcode Program.run}, but every kernel by itself, and says how long each
   * took. Makes GPU objects and waits.
   */
  profile(): Promise<ReplayProfile> {
    return profileParts(this.#gpu, this.#parts);
  }

  /** Waits for the runs so far and reads tensors that keep their buffers. */
  read(...tensors: Tensor[]): Promise<Float32Array[]> {
    return readTensors(this.#gpu, tensors);
  }

  /** Gives back all buffers but the parameters'. */
  destroy(): void {
    for (const buffer of this.#owned) buffer.destroy();
    this.#owned.length = 0;
  }
}

/** A step in the order of its commands: clears, each micro-batch between its copies, the update phase. */
function replayParts(
  graph: Graph,
  { micro, update, staged }: {
    micro: readonly Step[];
    update: readonly Step[];
    staged: ReadonlyMap<Input, GPUBuffer>;
  },
): ReplayPart[] {
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
      micro,
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
  return [...parts, update];
}

/** Pipelines by WGSL, for every graph of a device. */
const pipelineCaches = new WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>();

/**
 * Compiles a graph. Allocate its parameters first ({@linkcode ParameterStore.allocate}).
 *
 * @param gpu The device.
 * @param graph A finished recording.
 * @throws {GpuError} If a kernel does not compile or memory runs out.
 */
export async function compileProgram(gpu: Gpu, graph: Graph): Promise<Program> {
  const kernels = [...graph.microKernels, ...graph.updateKernels];
  const plan = planBuffers(
    kernels.map((kernel) => kernel.bindings.map((b) => b.tensor.storage)),
    graph.collected.map((c) => c.from.storage),
  );
  const { device } = gpu;
  const owned: GPUBuffer[] = [];
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  device.pushErrorScope("out-of-memory");
  const shared = plan.bufferBytes.map((size, i) => {
    const buffer = device.createBuffer({ label: `activations.${i}`, size, usage });
    owned.push(buffer);
    return buffer;
  });
  for (const [storage, index] of plan.assignment) storage.buffer = shared[index];
  for (const storage of graph.persistent) {
    allocateStorage(gpu, storage);
    owned.push(storage.buffer!);
  }
  const staged = new Map<Input, GPUBuffer>();
  if (graph.microBatches > 1) {
    for (const input of graph.inputs.values()) {
      if (input.per === "step") continue;
      const buffer = device.createBuffer({
        label: `staged.${input.tensor.label}`,
        size: alignedBytes(input.tensor.byteLength * graph.microBatches),
        usage,
      });
      owned.push(buffer);
      staged.set(input, buffer);
    }
  }
  const outOfMemory = await device.popErrorScope();
  if (outOfMemory) {
    owned.forEach((b) => b.destroy());
    throw new RangeError(`The GPU is out of memory: ${outOfMemory.message}; use a smaller batch or model`);
  }
  for (const { tensor, values } of graph.constants) writeTensor(gpu, tensor, values);

  const compile = (list: readonly Kernel[]) => Promise.all(list.map((kernel) => compileKernel(gpu, kernel)));
  const [micro, update] = await Promise.all([compile(graph.microKernels), compile(graph.updateKernels)]);
  gpu.check();

  const sum = (storages: Iterable<Storage>, kind: string) =>
    [...new Set(storages)].filter((s) => s.kind === kind).reduce((n, s) => n + alignedBytes(s.byteLength), 0);
  const gradients = sum(graph.persistent, "gradient");
  const state = sum(graph.persistent, "state");
  const memory = {
    parameters: sum(graph.parameters.all.map((p) => p.tensor.storage), "parameter"),
    gradients,
    state,
    activations: plan.bufferBytes.reduce((a, b) => a + b, 0),
    other: graph.persistent.reduce((n, s) => n + alignedBytes(s.byteLength), 0) - gradients - state +
      [...staged.values()].reduce((n, buffer) => n + buffer.size, 0),
  };
  return new Program(gpu, graph, { owned, micro, update, staged, memory });
}

async function compileKernel(gpu: Gpu, kernel: Kernel): Promise<Step> {
  const { device } = gpu;
  let cache = pipelineCaches.get(device);
  if (!cache) pipelineCaches.set(device, cache = new Map());
  // The layout follows from the code: declarations carry access and order.
  let compiled = cache.get(kernel.code);
  if (!compiled) {
    const layout = device.createBindGroupLayout({
      label: kernel.label,
      entries: kernel.bindings.map(({ access }, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: access === "read" ? "read-only-storage" : "storage" },
      })),
    });
    // The scope keeps a broken kernel's error from being reported a second time by Gpu.check().
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: kernel.label, code: kernel.code });
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
  const bindGroup = device.createBindGroup({
    label: kernel.label,
    layout: pipeline.getBindGroupLayout(0),
    entries: kernel.bindings.map(({ name, tensor, type }, binding) => {
      const { storage, byteOffset, byteLength } = tensor;
      if (!storage.buffer) {
        throw new TypeError(`${kernel.label}: ${name} (${tensor.label}) must have a buffer`);
      }
      // Vector views may end in padding, which every buffer has.
      const size = type.startsWith("vec4") ? Math.ceil(byteLength / 16) * 16 : byteLength;
      return { binding, resource: { buffer: storage.buffer, offset: byteOffset, size } };
    }),
  });
  return { kernel, pipeline, bindGroup };
}
