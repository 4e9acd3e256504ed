/**
 * How long a kernel would take on a graphics card that is not at hand. **A model, not a measurement**: it says about the best
 * that a kernel could reach, and which limit it meets first. Real cards are mostly slower: clocks fall, caches miss,
 * instructions wait.
 *
 * time = max(multiply-adds, workgroup memory, memory, dispatch)
 *
 *   multiply-adds     flops / (peak * balance * lanes * issue * hidden)
 *     balance         workgroups / (cores * ceil(workgroups / cores)): the core with most workgroups decides
 *     lanes           threads of a workgroup / those of whole subgroups
 *     issue           share of multiply-adds among the vector instructions of the hot loop
 *     hidden          min(1, resident threads * chains / (lanes of a core * 4 clocks)): too few wait for their results
 *   workgroup memory  bytes that threads read of it / (bytes per clock of the cores * balance), and spilled values
 *   memory            bytes / min(bandwidth, resident threads of all cores * 16 bytes / 500 ns): too few wait for memory
 *
 * Resident on a core are as many workgroups as its threads, registers and workgroup memory hold. A thread has a register for
 * each private value and {@linkcode OTHER_REGISTERS} more. What exceeds the most that a thread may have is written
 * and read again in each turn of the hot loop, at the speed of workgroup memory. Threads that read the same address count
 * each by itself. Chains are independent results of a thread: one for each 8 private values, 1 to 4.
 *
 * Bytes are a kernel's own: each binding once. That an operand of a product is read again by each tile is left to
 * caches, which are not modelled, nor are f16's faster multiply-adds: kernels here add up in f32. Kernels that declare no
 * operations are bound by memory alone.
 *
 * @module
 */
import { type Card, peakGflops } from "./cards.ts";
import type { WgslCost } from "./wgsl_cost.ts";

/** A dispatch. */
export interface Work {
  /** Workgroups of all dimensions. */
  readonly workgroups: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Bytes of workgroup memory that a workgroup has. */
  readonly workgroupBytes: number;
  /** Floating point operations; 0 where they are not declared. */
  readonly flops: number;
  /** Bytes that are read and written. */
  readonly bytes: number;
  /** What the WGSL says. */
  readonly cost: WgslCost;
}

/** What a kernel's time comes from; spills, where most of what goes through workgroup memory is spilled values. */
export type Bound = "multiply-adds" | "workgroup memory" | "spills" | "memory" | "latency" | "dispatch";

/** The model's answer. */
export interface ModelledTime {
  /** Time of the dispatch. */
  readonly nanoseconds: number;
  /** The limit that it meets; `latency` is memory with too few threads. */
  readonly bound: Bound;
  /** Threads that a core keeps at the same time. */
  readonly residentThreads: number;
}

/** Registers of a thread beside its private values, for addresses and what is being computed: 16 of 48 in our products. */
export const OTHER_REGISTERS = 16;
/** Clocks until a multiply-add's result can be used; 4 on NVIDIA since Volta and on Apple. */
const RESULT_CLOCKS = 4;
const VALUES_PER_CHAIN = 8;
const MOST_CHAINS = 4;
/** Assumed: a load of vec4f of each thread is on its way, and takes 500 ns. */
const BYTES_ON_THE_WAY = 16;
const MEMORY_NANOSECONDS = 500;

/** The time that a dispatch needs on a card at least, and why. */
export function modelTime(card: Card, work: Work): ModelledTime {
  const { threads, flops, bytes, cost: { hotLoop } } = work;
  const spilled = Math.max(0, registers(work) - card.registersPerThread);
  const onCore = Math.ceil(work.workgroups / card.cores);
  const residentThreads = threads * Math.min(onCore, workgroupsOnCore(card, work));
  const balance = work.workgroups / (card.cores * onCore);

  const chains = Math.min(MOST_CHAINS, Math.max(1, work.cost.privateValues / VALUES_PER_CHAIN));
  const hidden = Math.min(1, residentThreads * chains / (card.lanes * RESULT_CLOCKS));
  const issue = hotLoop.multiplyAdds > 0 ? hotLoop.multiplyAdds / (hotLoop.multiplyAdds + hotLoop.others) : 1;
  const lanes = threads / wholeSubgroups(card, threads);
  const multiplyAdds = flops / (peakGflops(card) * balance * lanes * issue * hidden);

  const turns = hotLoop.multiplyAdds > 0 ? flops / 2 / hotLoop.multiplyAdds : 0;
  const spilledBytes = spilled * 2 * 4;
  const near = turns * (hotLoop.workgroupBytes + spilledBytes);
  const workgroupMemory = near / (card.workgroupBytesPerClock * card.clockGHz * card.cores * balance);

  const onTheWay = Math.min(card.cores, work.workgroups) * residentThreads * BYTES_ON_THE_WAY;
  const rate = Math.min(card.bandwidthGBps, onTheWay / MEMORY_NANOSECONDS);
  const times: Partial<Record<Bound, number>> = {
    "multiply-adds": multiplyAdds,
    [spilledBytes > hotLoop.workgroupBytes ? "spills" : "workgroup memory"]: workgroupMemory,
    [rate < card.bandwidthGBps ? "latency" : "memory"]: bytes / rate,
    "dispatch": card.dispatch,
  };
  const [bound, nanoseconds] = (Object.entries(times) as [Bound, number][]).reduce((a, b) =>
    b[1] > a[1] ? b : a
  );
  return { nanoseconds, bound, residentThreads };
}

/** Workgroups that a core has room for; at least one. */
function workgroupsOnCore(card: Card, work: Work): number {
  const threads = wholeSubgroups(card, work.threads);
  const room = [
    card.workgroups,
    card.threads / threads,
    card.registers / (threads * Math.min(registers(work), card.registersPerThread)),
    ...(work.workgroupBytes > 0 ? [card.workgroupBytes / work.workgroupBytes] : []),
  ];
  return Math.max(1, Math.floor(Math.min(...room)));
}

function registers({ cost }: Work): number {
  return cost.privateValues + OTHER_REGISTERS;
}

function wholeSubgroups({ subgroup }: Card, threads: number): number {
  return Math.ceil(threads / subgroup) * subgroup;
}

/**
 * The same for an adapter of which only the ceilings are known: nanoseconds that the larger of operations and bytes take.
 *
 * @param gflops Billions of floating point operations in a second.
 * @param gigabytes Billions of bytes in a second.
 */
export function ceilingTime(
  { flops = 0, bytes }: { readonly flops?: number; readonly bytes: number },
  gflops: number,
  gigabytes: number,
): number {
  return Math.max(flops / gflops, bytes / gigabytes);
}
