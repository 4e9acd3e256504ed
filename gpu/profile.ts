/**
 * Where the time of a replay goes, kernel by kernel. Profiling makes GPU objects and waits, normal replays don't.
 *
 * @module
 */
import { type ClockMethod, clockMethod, encodeMark, Timestamps, timeSubmission } from "./clock.ts";
import { type Gpu, GpuError } from "./device.ts";
import type { Access, Kernel } from "./kernel.ts";
import { encodePass, type Pace, Pieces, type ReplayPart, type Step, submitCommands } from "./replay.ts";
import { alignedBytes, type Storage } from "./tensor.ts";

/** A dispatch and how long it took. */
export interface KernelTime {
  /** The kernel's name. */
  readonly label: string;
  /** Shapes of the tensors that it only reads, in the order of its bindings. */
  readonly reads: readonly (readonly number[])[];
  /** Shapes of the tensors that it writes or updates. */
  readonly writes: readonly (readonly number[])[];
  /** Workgroups in x, y and z. */
  readonly workgroups: readonly [number, number, number];
  /** Time on the GPU. */
  readonly nanoseconds: number;
  /** Floating point operations, where the kernel declares them. */
  readonly flops?: number;
  /**
   * Bytes that it declares to move, or else that its bindings cover, each counted once: what must move at least,
   * unless the kernel uses a part of a binding, as looking up rows of a table does.
   */
  readonly bytes: number;
}

/** A replay, kernel by kernel. */
export interface ReplayProfile {
  /** How the times were measured. */
  readonly method: ClockMethod;
  /** Every dispatch in the order of the replay. */
  readonly kernels: readonly KernelTime[];
}

/** Kernels that do nothing, measured too: a dispatch between two timestamps costs about 60 us on lavapipe. */
const EMPTY_KERNELS = 63;
/** What a kernel takes at least; less is within the jitter of the timestamps. */
const SHORTEST_NANOSECONDS = 100;
/** Time in which a kernel is repeated where there are no timestamps; the jitter of a wait is about 1 ms. */
const REPEAT_NANOSECONDS = 25e6;

/**
 * Replays once, with the effect of a normal replay, and measures every kernel: in a compute pass of its own between
 * two timestamps, less what a kernel that does nothing takes; or where there are no timestamps by repeating it and waiting, so
 * that its time includes its dispatch.
 *
 * @param gpu The device.
 * @param parts What a replay consists of.
 * @param pace How much work goes into one submission.
 * @throws {GpuError} If the adapter's timestamps are wrong.
 */
export async function profileParts(
  gpu: Gpu,
  parts: readonly ReplayPart[],
  pace: Pace,
): Promise<ReplayProfile> {
  const kernels = parts.flatMap((part) => (typeof part === "function" ? [] : part.map((s) => s.kernel)));
  const method = await clockMethod(gpu);
  const times = method === "timestamps"
    ? await timeByTimestamps(gpu, parts, kernels.length, pace)
    : await timeByRepeating(gpu, parts);
  return { method, kernels: kernels.map((kernel, i) => kernelTime(kernel, times[i])) };
}

function kernelTime({ label, workgroups, flops, bytes, bindings }: Kernel, nanoseconds: number): KernelTime {
  const shapes = (access: Access) => bindings.filter((b) => b.access === access).map((b) => b.tensor.shape);
  return {
    label,
    reads: shapes("read"),
    writes: shapes("write"),
    workgroups,
    nanoseconds,
    ...(flops === undefined ? {} : { flops }),
    bytes,
  };
}

async function timeByTimestamps(
  gpu: Gpu,
  parts: readonly ReplayPart[],
  count: number,
  pace: Pace,
): Promise<number[]> {
  const stamps = new Timestamps(gpu, count + EMPTY_KERNELS);
  try {
    const pieces = new Pieces(gpu.device, pace);
    let [kernel, empties] = [0, 0];
    const encodeEmpty = () => encodeMark(gpu, pieces.encoder, stamps.writes(count + empties++));
    // Strewn among the kernels, so that other work on the machine meets both alike.
    const every = Math.ceil(count / EMPTY_KERNELS);
    for (const part of parts) {
      if (typeof part === "function") part(pieces.encoder);
      else {
        for (const step of part) {
          pieces.encodePass([step], stamps.writes(kernel));
          if (kernel++ % every === 0) encodeEmpty();
        }
      }
    }
    while (empties < EMPTY_KERNELS) encodeEmpty();
    pieces.submit();
    const times = await stamps.nanoseconds();
    if (!times) {
      throw new GpuError(`Timestamps must grow, but those of ${gpu.description} did not; try again`);
    }
    const empty = times.splice(count).sort((a, b) => a - b)[EMPTY_KERNELS >> 1];
    return times.map((time) => Math.max(SHORTEST_NANOSECONDS, time - empty));
  } finally {
    stamps.destroy();
  }
}

async function timeByRepeating(gpu: Gpu, parts: readonly ReplayPart[]): Promise<number[]> {
  const times: number[] = [];
  for (const part of parts) {
    if (typeof part === "function") {
      submitCommands(gpu.device, part);
    } else {
      for (const step of part) times.push(await timeRepeated(gpu, step));
    }
  }
  return times;
}

/** Repeats a kernel, then lets it run once on what was there before: most kernels add to something. */
async function timeRepeated(gpu: Gpu, step: Step): Promise<number> {
  const written = new Set<Storage>();
  for (const b of step.kernel.bindings) if (b.access === "write") written.add(b.tensor.storage);
  const saved = [...written].map(({ buffer, byteLength }) => ({
    buffer: buffer!,
    copy: gpu.device.createBuffer({
      size: alignedBytes(byteLength),
      usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    }),
  }));
  const submit = (encode: (encoder: GPUCommandEncoder) => void) => submitCommands(gpu.device, encode);
  try {
    submit((encoder) => {
      for (const { buffer, copy } of saved) encoder.copyBufferToBuffer(buffer, 0, copy, 0, copy.size);
    });
    let repeats = 1;
    let time = 0;
    for (; repeats <= 4096; repeats *= 8) {
      const many = Array<Step>(repeats).fill(step);
      time = (await timeSubmission(gpu, (encoder) => encodePass(encoder, many))).gpu;
      if (time >= REPEAT_NANOSECONDS) break;
    }
    submit((encoder) => {
      for (const { buffer, copy } of saved) encoder.copyBufferToBuffer(copy, 0, buffer, 0, copy.size);
      encodePass(encoder, [step]);
    });
    return time / Math.min(repeats, 4096);
  } finally {
    for (const { copy } of saved) copy.destroy();
  }
}
