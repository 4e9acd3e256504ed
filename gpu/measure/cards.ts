/**
 * What graphics cards are made of, for the roofline. Numbers are the vendors' where they publish them; what is measured by
 * others, or assumed, says so.
 *
 * @module
 */
import type { Profile } from "../device.ts";

/** A graphics card. A core is what a workgroup runs on: NVIDIA's SM, Apple's core, Intel's dual subslice. */
export interface Card {
  /** What it is called. */
  readonly title: string;
  /** Cores. */
  readonly cores: number;
  /** Multiply-adds of f32 that a core begins in a clock. */
  readonly lanes: number;
  /** Billions of clocks in a second, the boost clock. */
  readonly clockGHz: number;
  /** Multiply-adds of f16 for one of f32, without matrix units, which WebGPU does not reach. */
  readonly f16Rate: number;
  /** Billions of bytes in a second, of memory. */
  readonly bandwidthGBps: number;
  /** Threads that run in step. */
  readonly subgroup: number;
  /** Registers of 32 bits of a core. */
  readonly registers: number;
  /** The most of them that a thread may have. */
  readonly registersPerThread: number;
  /** Threads that a core keeps at the same time, at most. */
  readonly threads: number;
  /** Workgroups that a core keeps at the same time, at most. */
  readonly workgroups: number;
  /** Bytes of workgroup memory of a core. */
  readonly workgroupBytes: number;
  /** Bytes of workgroup memory that a core reads in a clock. */
  readonly workgroupBytesPerClock: number;
  /** Nanoseconds that a dispatch takes at least. */
  readonly dispatch: number;
  /** What kernels are recorded for. */
  readonly profile: Profile;
}

const GIB = 2 ** 30;

const nvidia = {
  lanes: 128,
  subgroup: 32,
  // CUDA C++ Programming Guide, "Technical Specifications per Compute Capability": 64 K registers, 255 of a thread.
  registers: 65_536,
  registersPerThread: 255,
  // The same, "Shared Memory": 32 banks of 4 bytes per clock.
  workgroupBytesPerClock: 128,
  // Maczan 2026 (arXiv 2604.02344): 24 to 36 us for a dispatch on Vulkan.
  dispatch: 24_000,
  profile: {
    subgroupSize: 32,
    isSoftware: false,
    maxBindingBytes: 2 * GIB - 4,
    maxBufferBytes: 4 * GIB,
    maxStorageBuffers: 1 << 20,
    maxInvocations: 1024,
    maxWorkgroupBytes: 49_152,
    halfPrecision: true,
  },
} as const;

/** The cards, by the names that `deno task profile --on` takes. */
export const CARDS = {
  // NVIDIA H100 Tensor Core GPU Architecture: SXM5, 66.9 TFLOPS of f32, 133.8 of f16 without tensor cores, 3.35 TB/s.
  // Hopper Tuning Guide: 64 warps and 32 thread blocks per SM, 228 KB of shared memory.
  "h100": {
    ...nvidia,
    title: "NVIDIA H100 SXM",
    cores: 132,
    clockGHz: 1.98,
    f16Rate: 2,
    bandwidthGBps: 3350,
    threads: 2048,
    workgroups: 32,
    workgroupBytes: 228 << 10,
  },
  // NVIDIA Ada GPU Architecture: 82.6 TFLOPS of f32 and of f16, 1,008 GB/s.
  // Ada Tuning Guide: 48 warps and 24 thread blocks per SM, 100 KB of shared memory.
  "rtx4090": {
    ...nvidia,
    title: "NVIDIA GeForce RTX 4090",
    cores: 128,
    clockGHz: 2.52,
    f16Rate: 1,
    bandwidthGBps: 1008,
    threads: 1536,
    workgroups: 24,
    workgroupBytes: 100 << 10,
  },
  // Apple publishes 40 cores and 400 GB/s. 1.398 GHz is hmc-tech.com's; others say up to 1.6, so 14.3 to 16.4 TFLOPS.
  // Of a core, measured on the M1 (philipturner/metal-benchmarks): 128 lanes, f16 no faster, 208 KB of registers, 256 of
  // 16 bits for a thread, 3,072 threads, 64 KB, 64 bytes of data in a clock. The M3 divides its memory between registers
  // and the rest as it goes, which may hold more. Assumed: 24 workgroups.
  "m3-max": {
    title: "Apple M3 Max (40 cores)",
    cores: 40,
    lanes: 128,
    clockGHz: 1.398,
    f16Rate: 1,
    bandwidthGBps: 400,
    subgroup: 32,
    registers: 208 << 8,
    registersPerThread: 128,
    threads: 3072,
    workgroups: 24,
    workgroupBytes: 64 << 10,
    workgroupBytesPerClock: 64,
    // Maczan 2026: 32 to 71 us on Metal.
    dispatch: 32_000,
    profile: { ...nvidia.profile, maxStorageBuffers: 31, maxWorkgroupBytes: 32_768 },
  },
  // 96 execution units of 8 lanes in 6 dual subslices at 1.45 GHz: 2.23 TFLOPS of f32, 4.45 of f16 (hmc-tech.com). Memory is
  // the computer's: LPDDR4X-4266 on 128 bits (AnandTech). oneAPI GPU Optimization Guide: 7 threads in a unit, each with 128
  // registers of 32 bytes, here for 16 lanes; units pair for 16. A dual subslice reads 128 bytes in a clock and has 128 KB of
  // workgroup memory; oneAPI's occupancy calculator counts 112 workgroups.
  "iris-xe": {
    title: "Intel Iris Xe (96 units)",
    cores: 6,
    lanes: 128,
    clockGHz: 1.45,
    f16Rate: 2,
    bandwidthGBps: 68,
    subgroup: 16,
    registers: 112 * 1024,
    registersPerThread: 128,
    threads: 112 * 16,
    workgroups: 112,
    workgroupBytes: 128 << 10,
    workgroupBytesPerClock: 128,
    dispatch: 24_000,
    profile: { ...nvidia.profile, subgroupSize: 0, maxBindingBytes: GIB, maxWorkgroupBytes: 32_768 },
  },
} as const satisfies Record<string, Card>;

/** The name of one of them. */
export type CardName = keyof typeof CARDS;

/** Billions of floating point operations in a second of f32 multiply-adds. */
export function peakGflops({ cores, lanes, clockGHz }: Card): number {
  return 2 * cores * lanes * clockGHz;
}
