/**
 * How long the GPU takes: by timestamp queries where the device has them, else by waiting.
 *
 * WebGPU's timestamps are nanoseconds, but wgpu (and so Deno) may hand out the adapter's own ticks, which are
 * nanoseconds on some adapters only. So the length of a tick is measured once per device against the wall clock.
 *
 * A wait costs about 10 ms in Deno even when the queue is idle. That floor is measured too and taken off times
 * that were measured by waiting.
 *
 * @module
 */
import type { Gpu } from "./device.ts";

/** How a time was measured. */
export type ClockMethod = "timestamps" | "waiting";

/** Queries that one set may hold on every adapter. */
const SET_SIZE = 4096;
/** Wall time over which the length of a tick is measured; the wait's jitter is about 1% of it. */
const CALIBRATION_MS = 150;

/** Whether the device can write timestamps, and so how times are measured on it. */
export function clockMethod(gpu: Gpu): ClockMethod {
  return gpu.features.includes("timestamp-query") ? "timestamps" : "waiting";
}

const ticks = new WeakMap<GPUDevice, Promise<number>>();
const idleWaits = new WeakMap<GPUDevice, Promise<number>>();

/** Waits until the queue is idle. */
export async function waitForGpu(gpu: Gpu): Promise<void> {
  await gpu.device.queue.onSubmittedWorkDone();
  gpu.check();
}

/** Nanoseconds that {@linkcode waitForGpu} takes after an empty submission: the median of some. */
export function idleWait(gpu: Gpu): Promise<number> {
  return remember(idleWaits, gpu.device, async () => {
    const waits: number[] = [];
    await waitForGpu(gpu);
    for (let i = 0; i < 5; i++) waits.push(await wallTime(gpu, () => {}));
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

  /** Waits for the GPU and reads all queries, in ticks since the first; all must have been written. */
  async read(): Promise<number[]> {
    const { device } = this.#gpu;
    const size = this.#sets.reduce((sum, { count }) => sum + count * 8, 0);
    const resolved = device.createBuffer({
      size,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    const staging = device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    try {
      const encoder = device.createCommandEncoder();
      this.#sets.forEach(({ set, count }, i) =>
        encoder.resolveQuerySet(set, 0, count, resolved, i * SET_SIZE * 8)
      );
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ);
      this.#gpu.check();
      const values = new BigUint64Array(staging.getMappedRange());
      return Array.from(values, (value) => Number(value - values[0]));
    } finally {
      resolved.destroy();
      staging.destroy();
    }
  }

  /** Waits for the GPU. @returns The nanoseconds of each stretch. */
  async nanoseconds(): Promise<number[]> {
    const stamps = await this.read();
    const tick = await nanosecondsPerTick(this.#gpu);
    return Array.from({ length: stamps.length / 2 }, (_, i) => (stamps[2 * i + 1] - stamps[2 * i]) * tick);
  }

  /** Gives the query sets back. */
  destroy(): void {
    for (const { set } of this.#sets) set.destroy();
  }
}

/** How long one submission took. */
export interface SubmissionTime {
  /** Nanoseconds on the GPU, from the first command to the end of the last. */
  readonly gpu: number;
  /** Nanoseconds in JavaScript to encode and to submit, with the queue idle before. */
  readonly host: number;
}

/**
 * Encodes, submits and waits for some GPU work.
 *
 * @param gpu The device.
 * @param encode Encodes the work.
 */
export async function timeSubmission(
  gpu: Gpu,
  encode: (encoder: GPUCommandEncoder) => void,
): Promise<SubmissionTime> {
  await idleWait(gpu);
  if (clockMethod(gpu) === "waiting") {
    let host = 0;
    const wall = await wallTime(gpu, (encoder) => encode(encoder), (time) => host = time);
    return { gpu: Math.max(0, wall - await idleWait(gpu) - host), host };
  }
  await nanosecondsPerTick(gpu);
  const stamps = new Timestamps(gpu, 1);
  try {
    const started = performance.now();
    const encoder = gpu.device.createCommandEncoder();
    encoder.beginComputePass({ timestampWrites: stamps.writes(0, "start") }).end();
    encode(encoder);
    encoder.beginComputePass({ timestampWrites: stamps.writes(0, "end") }).end();
    gpu.device.queue.submit([encoder.finish()]);
    const host = (performance.now() - started) * 1e6;
    return { gpu: (await stamps.nanoseconds())[0], host };
  } finally {
    stamps.destroy();
  }
}

/** Nanoseconds from encoding until the wait is over. */
async function wallTime(
  gpu: Gpu,
  encode: (encoder: GPUCommandEncoder) => void,
  submitted?: (host: number) => void,
): Promise<number> {
  const started = performance.now();
  const encoder = gpu.device.createCommandEncoder();
  encode(encoder);
  gpu.device.queue.submit([encoder.finish()]);
  submitted?.((performance.now() - started) * 1e6);
  await waitForGpu(gpu);
  return (performance.now() - started) * 1e6;
}

function nanosecondsPerTick(gpu: Gpu): Promise<number> {
  return remember(ticks, gpu.device, async () => {
    const stamps = new Timestamps(gpu, 1);
    try {
      await waitForGpu(gpu);
      const mark = (which: "start" | "end") => {
        const encoder = gpu.device.createCommandEncoder();
        encoder.beginComputePass({ timestampWrites: stamps.writes(0, which) }).end();
        gpu.device.queue.submit([encoder.finish()]);
        return performance.now();
      };
      const started = mark("start");
      await waitForGpu(gpu);
      await new Promise((resolve) => setTimeout(resolve, CALIBRATION_MS));
      const wall = (mark("end") - started) * 1e6;
      const [start, end] = await stamps.read();
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
