/**
 * How long the GPU takes: by timestamp queries where the device has them, else by waiting.
 *
 * WebGPU's timestamps are nanoseconds, but wgpu (and so Deno) may hand out the adapter's own ticks, which are
 * nanoseconds on some adapters only. So the length of a tick is measured once per device against the wall clock.
 * Some adapters give zeros: Metal for passes without a dispatch (wgpu-native issue 625), and on macOS 26 for others too
 * (wgpu issue 9414). Where stamps are zero or fall, it is the wall clock that counts.
 *
 * A wait costs about 10 ms in Deno even when the queue is idle. That floor is measured too and taken off times
 * that were measured by waiting.
 *
 * @module
 */
import type { Gpu } from "./device.ts";
import { mapForReading } from "./readback.ts";
import { measuredWait, submitCommands } from "./replay.ts";

/** How a time was measured. */
export type ClockMethod = "timestamps" | "waiting";

/** Queries that one set may hold on every adapter. */
const SET_SIZE = 4096;
/** Wall time over which the length of a tick is measured; the wait's jitter is about 1% of it. */
const CALIBRATION_MS = 150;

/** Whether the device can write timestamps and writes right ones, and so how times are measured on it. */
export async function clockMethod(gpu: Gpu): Promise<ClockMethod> {
  if (!gpu.features.includes("timestamp-query")) return "waiting";
  return await nanosecondsPerTick(gpu) === undefined ? "waiting" : "timestamps";
}

const ticks = new WeakMap<GPUDevice, Promise<number | undefined>>();
const idleWaits = new WeakMap<GPUDevice, Promise<number>>();
const emptyKernels = new WeakMap<GPUDevice, GPUComputePipeline>();

/** Waits until the queue is idle. */
export async function waitForGpu(gpu: Gpu): Promise<void> {
  await measuredWait(gpu.device, () => gpu.device.queue.onSubmittedWorkDone());
  gpu.check();
}

/** Encodes a pass of a kernel that does nothing: a stamp by itself. */
export function encodeMark(
  { device }: Gpu,
  encoder: GPUCommandEncoder,
  timestampWrites: GPUComputePassTimestampWrites,
): void {
  let pipeline = emptyKernels.get(device);
  if (!pipeline) {
    const module = device.createShaderModule({ code: "@compute @workgroup_size(1) fn main() {}" });
    pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
    emptyKernels.set(device, pipeline);
  }
  const pass = encoder.beginComputePass({ timestampWrites });
  pass.setPipeline(pipeline);
  pass.dispatchWorkgroups(1);
  pass.end();
}

/** Nanoseconds that {@linkcode waitForGpu} takes after an empty submission: the median of some. */
export function idleWait(gpu: Gpu): Promise<number> {
  return remember(idleWaits, gpu.device, async () => {
    const waits: number[] = [];
    await waitForGpu(gpu);
    for (let i = 0; i < 5; i++) {
      const started = performance.now();
      submitCommands(gpu.device, () => {});
      await waitForGpu(gpu);
      waits.push((performance.now() - started) * 1e6);
    }
    return waits.sort((a, b) => a - b)[2];
  });
}

/** Starts and ends of stretches of GPU work, for compute passes to write. Needs timestamp queries. */
export class Timestamps {
  readonly #gpu: Gpu;
  readonly #sets: readonly { readonly set: GPUQuerySet; readonly count: number }[];

  /**
   * Makes query sets.
   *
   * @param gpu A device with timestamp queries.
   * @param stretches How many stretches are to be measured.
   */
  constructor(gpu: Gpu, stretches: number) {
    this.#gpu = gpu;
    this.#sets = Array.from({ length: Math.ceil(2 * stretches / SET_SIZE) }, (_, i) => {
      const count = Math.min(SET_SIZE, 2 * stretches - i * SET_SIZE);
      return { set: gpu.device.createQuerySet({ type: "timestamp", count }), count };
    });
  }

  /** What a compute pass must write to be stretch `index`, or only its start or its end. */
  writes(index: number, which: "start" | "end" | "both" = "both"): GPUComputePassTimestampWrites {
    const at = 2 * index % SET_SIZE;
    return {
      querySet: this.#sets[Math.floor(2 * index / SET_SIZE)].set,
      ...(which === "end" ? {} : { beginningOfPassWriteIndex: at }),
      ...(which === "start" ? {} : { endOfPassWriteIndex: at + 1 }),
    };
  }

  /**
   * Waits for the GPU and reads all queries, which must have been written.
   *
   * @returns Ticks since the first, or nothing if one is zero or a stretch ends before it starts.
   */
  async read(): Promise<number[] | undefined> {
    const { device } = this.#gpu;
    const size = this.#sets.reduce((sum, { count }) => sum + count * 8, 0);
    const resolved = device.createBuffer({
      size,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    try {
      submitCommands(device, (encoder) => {
        this.#sets.forEach(({ set, count }, i) =>
          encoder.resolveQuerySet(set, 0, count, resolved, i * SET_SIZE * 8)
        );
        encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
      });
      await mapForReading(this.#gpu, staging, size);
      const values = new BigUint64Array(staging.getMappedRange());
      if (values.some((value, i) => value === 0n || i % 2 === 1 && value < values[i - 1])) return undefined;
      return Array.from(values, (value) => Number(value - values[0]));
    } finally {
      resolved.destroy();
      staging.destroy();
    }
  }

  /** Waits for the GPU. @returns The nanoseconds of each stretch, or nothing if the stamps are wrong. */
  async nanoseconds(): Promise<number[] | undefined> {
    const [stamps, tick] = [await this.read(), await nanosecondsPerTick(this.#gpu)];
    if (!stamps || tick === undefined) return undefined;
    return Array.from({ length: stamps.length / 2 }, (_, i) => (stamps[2 * i + 1] - stamps[2 * i]) * tick);
  }

  /** Gives the query sets back. */
  destroy(): void {
    for (const { set } of this.#sets) set.destroy();
  }
}

/** How long one submission or several in a row took. */
export interface SubmissionTime {
  /** Nanoseconds on the GPU, from the first command to the end of the last. */
  readonly gpu: number;
  /** Nanoseconds in JavaScript to encode and to submit, with the queue idle before. */
  readonly host: number;
}

/** Encodes what must come before the first command that is to be measured, or after the last. */
type EncodeStamp = (encoder: GPUCommandEncoder) => void;

/**
 * Encodes, submits and waits for some GPU work.
 *
 * @param gpu The device.
 * @param submit Encodes and submits the work, with `start` before its first command and `end` after its last.
 */
export async function timeSubmissions(
  gpu: Gpu,
  submit: (start: EncodeStamp, end: EncodeStamp) => void,
): Promise<SubmissionTime> {
  const idle = await idleWait(gpu);
  const stamps = await clockMethod(gpu) === "timestamps" ? new Timestamps(gpu, 1) : undefined;
  const stamp = (which: "start" | "end"): EncodeStamp => (encoder) => {
    if (stamps) encodeMark(gpu, encoder, stamps.writes(0, which));
  };
  try {
    const started = performance.now();
    submit(stamp("start"), stamp("end"));
    const host = (performance.now() - started) * 1e6;
    const stretches = stamps ? await stamps.nanoseconds() : void await waitForGpu(gpu);
    const wall = (performance.now() - started) * 1e6;
    return { gpu: stretches?.[0] ?? Math.max(0, wall - idle - host), host };
  } finally {
    stamps?.destroy();
  }
}

/** The same of one submission. */
export function timeSubmission(
  gpu: Gpu,
  encode: (encoder: GPUCommandEncoder) => void,
): Promise<SubmissionTime> {
  return timeSubmissions(gpu, (start, end) =>
    submitCommands(gpu.device, (encoder) => {
      start(encoder);
      encode(encoder);
      end(encoder);
    }));
}

/** The length of a tick; nothing if the stamps are wrong. */
function nanosecondsPerTick(gpu: Gpu): Promise<number | undefined> {
  return remember(ticks, gpu.device, async () => {
    const stamps = new Timestamps(gpu, 1);
    try {
      await waitForGpu(gpu);
      const mark = (which: "start" | "end") => {
        submitCommands(gpu.device, (encoder) => encodeMark(gpu, encoder, stamps.writes(0, which)));
        return performance.now();
      };
      const started = mark("start");
      await waitForGpu(gpu);
      await new Promise((resolve) => setTimeout(resolve, CALIBRATION_MS));
      const wall = (mark("end") - started) * 1e6;
      const [start, end] = await stamps.read() ?? [0, 0];
      if (end === start) return undefined;
      const tick = wall / (end - start);
      // Ticks of a nanosecond are exact; the measurement is not.
      return Math.abs(tick - 1) < 0.05 ? 1 : tick;
    } finally {
      stamps.destroy();
    }
  });
}

function remember<T>(
  known: WeakMap<GPUDevice, Promise<T>>,
  device: GPUDevice,
  measure: () => Promise<T>,
): Promise<T> {
  let value = known.get(device);
  if (!value) known.set(device, value = measure());
  return value;
}
