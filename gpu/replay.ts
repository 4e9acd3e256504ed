/**
 * What a compiled program replays: runs of kernels, each for one compute pass, and the copies between them; and how it
 * is submitted.
 *
 * A graphics card does a whole step of a large model in seconds, but its driver takes one submission of some seconds
 * for a hang and resets the card: Windows after 2 s. So a replay is cut into pieces of about 100 ms. How long kernels
 * take is estimated from what they say of themselves, with one rate for the whole program:
 *
 *     work = (operations + 10 * bytes) * max(1, 64 / workgroups) + 10^6
 *
 * The rate begins so low that on any card the first pieces are far too short, and follows the work that was done from
 * the first submission to the end of a wait. That time has pauses and the wait itself in it, so cards are thought slower
 * than they are and never faster. What is cut stays in order, and the results are the same bit for bit. A kernel that
 * takes longer than that is a piece of its own.
 *
 * @module
 */
import type { Gpu } from "./device.ts";
import type { Kernel } from "./kernel.ts";

/** A kernel with everything that a dispatch needs. */
export interface Dispatch {
  /** What was recorded. */
  readonly kernel: Kernel;
  /** Its compiled code. */
  readonly pipeline: GPUComputePipeline;
  /** Its buffers. */
  readonly bindGroup: GPUBindGroup;
}

/** A recorded copy, ready to be encoded between passes. */
export interface Copy {
  /** What was recorded. */
  readonly kernel: Kernel;
  /** Encodes it. */
  readonly encode: (encoder: GPUCommandEncoder) => void;
}

/** One command of a replay. */
export type Step = Dispatch | Copy;

/** Kernels of one compute pass, which copies among them cut, or copies and clears that stand between passes. */
export type ReplayPart = readonly Step[] | ((encoder: GPUCommandEncoder) => void);

/** What a submission should take on a graphics card, in milliseconds: a twentieth of what Windows allows. */
const SUBMISSION_MS = 100;
/** Work per millisecond of a program that was never measured: 20 GFLOP/s, less than laptops had ten years ago. */
const FIRST_RATE = 2e7;
/** Operations that a card does while it moves a byte. */
const WORK_PER_BYTE = 10;
/** Workgroups below which most of a card is idle. */
const BUSY_WORKGROUPS = 64;
/** What any dispatch costs. */
const DISPATCH_WORK = 1e6;

/** How long a kernel takes beside others, in operations; see the top of this file. */
export function kernelWork({ flops = 0, bytes, workgroups: [x, y, z] }: Kernel): number {
  return (flops + WORK_PER_BYTE * bytes) * Math.max(1, BUSY_WORKGROUPS / (x * y * z)) + DISPATCH_WORK;
}

/** Programs that have submitted since their device was last waited for. */
const unwaited = new WeakMap<GPUDevice, Set<Pace>>();

/** How much work a program puts into one submission. */
export class Pace {
  readonly #device: GPUDevice;
  readonly #milliseconds: number;
  #rate = FIRST_RATE;
  #work = 0;
  #since = 0;

  /** Starts with the lowest rate. */
  constructor({ device, profile, submissionMs }: Gpu) {
    this.#device = device;
    // No watchdog, and pieces cost time there.
    this.#milliseconds = submissionMs ?? (profile.isSoftware ? Infinity : SUBMISSION_MS);
  }

  /** The most work for one submission. */
  get most(): number {
    return this.#rate * this.#milliseconds;
  }

  /** Told of work just before it is submitted. */
  submitting(work: number): void {
    if (this.#work === 0) this.#since = performance.now();
    this.#work += work;
    const waiting = unwaited.get(this.#device) ?? new Set();
    unwaited.set(this.#device, waiting.add(this));
  }

  /** Told when a wait begins; returns what to call when it is over. */
  waiting(): () => void {
    const [work, since] = [this.#work, this.#since];
    return () => {
      // What was submitted meanwhile may be done or not: it counts for nothing.
      this.#work = 0;
      const milliseconds = performance.now() - since;
      const rate = work / milliseconds;
      // Of a short time the wait itself is much.
      if (rate > this.#rate || work > 0 && milliseconds >= SUBMISSION_MS) this.#rate = rate;
    };
  }
}

/**
 * Waits for what a device was told to do, and measures by the way how fast its programs run.
 *
 * @param device The device.
 * @param wait Begins to wait for all that was submitted so far.
 */
export async function measuredWait(device: GPUDevice, wait: () => Promise<unknown>): Promise<void> {
  const over = [...unwaited.get(device) ?? []].map((pace) => pace.waiting());
  unwaited.delete(device);
  await wait();
  for (const end of over) end();
}

/** Encodes and submits. */
export function submitCommands(device: GPUDevice, encode: (encoder: GPUCommandEncoder) => void): void {
  const encoder = device.createCommandEncoder();
  encode(encoder);
  device.queue.submit([encoder.finish()]);
}

/** Commands on their way to the queue, in submissions that hold no more work than a pace allows. */
export class Pieces {
  readonly #device: GPUDevice;
  readonly #pace: Pace;
  #encoder: GPUCommandEncoder | undefined;
  #work = 0;

  /** Begins with nothing. */
  constructor(device: GPUDevice, pace: Pace) {
    this.#device = device;
    this.#pace = pace;
  }

  /** Encodes the piece that is being filled. */
  get encoder(): GPUCommandEncoder {
    return this.#encoder ??= this.#device.createCommandEncoder();
  }

  /** Whether a kernel has room in the piece that is being filled; any kernel has in an empty one. */
  hasRoom(kernel: Kernel): boolean {
    return this.#work === 0 || this.#work + kernelWork(kernel) <= this.#pace.most;
  }

  /** Encodes kernels, with a compute pass for each piece that they fall into. */
  encodePass(steps: readonly Step[], timestampWrites?: GPUComputePassTimestampWrites): void {
    for (let from = 0; from < steps.length;) {
      if (!this.hasRoom(steps[from].kernel)) this.submit();
      let to = from;
      for (; to < steps.length && this.hasRoom(steps[to].kernel); to++) {
        this.#work += kernelWork(steps[to].kernel);
      }
      encodePass(this.encoder, steps.slice(from, to), timestampWrites);
      from = to;
    }
  }

  /** Submits the piece. */
  submit(): void {
    if (!this.#encoder) return;
    this.#pace.submitting(this.#work);
    this.#device.queue.submit([this.#encoder.finish()]);
    this.#encoder = undefined;
    this.#work = 0;
  }
}

/**
 * Encodes kernels as one compute pass, or as several between which the copies stand; none at all makes no pass.
 *
 * @param timestampWrites Where to write the times at which the first pass begins and the last one ends.
 */
export function encodePass(
  encoder: GPUCommandEncoder,
  steps: readonly Step[],
  timestampWrites?: GPUComputePassTimestampWrites,
): void {
  if (steps.length === 0) return;
  const runs: Dispatch[][] = [[]];
  const copies: Copy[] = [];
  for (const step of steps) {
    if ("encode" in step) {
      copies.push(step);
      runs.push([]);
    } else runs[runs.length - 1].push(step);
  }
  runs.forEach((run, i) => {
    const stamps = timestampWrites && stampsOf(timestampWrites, i === 0, i === runs.length - 1);
    // A pass of nothing takes the time before a copy or after it.
    if (run.length > 0 || stamps) {
      const pass = encoder.beginComputePass(stamps && { timestampWrites: stamps });
      for (const { pipeline, bindGroup, kernel: { workgroups: [x, y, z] } } of run) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindGroup);
        pass.dispatchWorkgroups(x, y, z);
      }
      pass.end();
    }
    copies[i]?.encode(encoder);
  });
}

/** What the first pass and the last one write of the times of all; those between, nothing. */
function stampsOf(
  { querySet, beginningOfPassWriteIndex, endOfPassWriteIndex }: GPUComputePassTimestampWrites,
  isFirst: boolean,
  isLast: boolean,
): GPUComputePassTimestampWrites | undefined {
  if (!isFirst && !isLast) return undefined;
  return {
    querySet,
    ...(isFirst ? { beginningOfPassWriteIndex } : {}),
    ...(isLast ? { endOfPassWriteIndex } : {}),
  };
}

/** Encodes and submits whole replays. */
export function submitParts(device: GPUDevice, parts: Iterable<ReplayPart>, pace: Pace): void {
  const pieces = new Pieces(device, pace);
  for (const part of parts) {
    if (typeof part === "function") part(pieces.encoder);
    else pieces.encodePass(part);
  }
  pieces.submit();
}
