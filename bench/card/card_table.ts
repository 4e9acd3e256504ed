/**
 * The result of `deno task card`: its fields, which `--json` prints, and its table for people.
 *
 * @module
 */
import { align } from "../../tasks/command/align.ts";
import { hotLoop } from "./hot_loop.ts";
import type { StepKernel } from "./kernels.ts";
import type { Compiled } from "./radv.ts";

/** A kernel of the step, and what the compiler made of it. */
export interface CardRow {
  /** Its name. */
  readonly kernel: string;
  /** Dispatches in a step. */
  readonly dispatches: number;
  /** Workgroups of the dispatch that has the fewest. */
  readonly fewest_workgroups: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Threads of a wave. */
  readonly wave_size: number;
  /** Vector registers of a thread. */
  readonly vgprs: number;
  /** Vector registers that did not fit and are kept in scratch memory. */
  readonly spilled_vgprs: number;
  /** Scalar registers that did not fit and are kept in vector registers. */
  readonly spilled_sgprs: number;
  /** Scratch memory of a wave: spilled registers, and private arrays that are indexed by variables. */
  readonly scratch_bytes: number;
  /** Workgroup memory. */
  readonly workgroup_bytes: number;
  /** Waves that a SIMD can hold at once; on RDNA counted in 32 threads, so that one of 64 is two. */
  readonly waves_per_simd: number;
  /** Instructions of the whole kernel. */
  readonly instructions: number;
  /** Where it multiplies most, see {@linkcode hotLoop}, per thread and turn; null where it has no multiply-add or there is no disassembler. */
  readonly hot_loop: {
    readonly multiply_adds: number;
    readonly vector_operations: number;
    readonly workgroup_bytes: number;
  } | null;
  /** Floating point operations of all dispatches. */
  readonly flops: number;
  /** Bytes that all dispatches read and write. */
  readonly bytes: number;
}

/**
 * The row of a kernel.
 *
 * @throws {Error} If the driver does not tell one of the numbers.
 */
export function cardRow(kernel: StepKernel, { statistics, waveSize, assembly }: Compiled): CardRow {
  const told = (name: string) => {
    if (statistics[name] !== undefined) return statistics[name];
    throw new Error(
      `RADV must tell ${name}, received ${Object.keys(statistics).join(", ")}: use another Mesa`,
    );
  };
  const loop = assembly === undefined ? undefined : hotLoop(assembly);
  return {
    kernel: kernel.label,
    dispatches: kernel.dispatches,
    fewest_workgroups: kernel.fewestWorkgroups,
    threads: kernel.threads,
    wave_size: waveSize,
    vgprs: told("VGPRs"),
    spilled_vgprs: told("Spilled VGPRs"),
    spilled_sgprs: told("Spilled SGPRs"),
    scratch_bytes: told("Scratch size"),
    workgroup_bytes: told("LDS size"),
    waves_per_simd: told("Subgroups per SIMD"),
    instructions: told("Instructions"),
    hot_loop: loop === undefined ? null : {
      multiply_adds: loop.multiplyAdds,
      vector_operations: loop.vectorOperations,
      workgroup_bytes: loop.workgroupBytes,
    },
    flops: kernel.flops,
    bytes: kernel.bytes,
  };
}

const heads = [
  "kernel",
  "count",
  "fewest groups",
  "threads",
  "wave",
  "VGPRs",
  "spilled",
  "SGPRs spilled",
  "scratch",
  "LDS",
  "waves/SIMD",
  "instr",
  "FMAs",
  "FMA share",
  "LDS B/FMA",
  "GFLOP",
  "GB",
];

/** Writes rows as a table. */
export function formatCardTable(rows: readonly CardRow[]): string {
  const cells = (row: CardRow) => {
    const loop = row.hot_loop;
    return [
      row.kernel,
      String(row.dispatches),
      String(row.fewest_workgroups),
      String(row.threads),
      String(row.wave_size),
      String(row.vgprs),
      String(row.spilled_vgprs),
      String(row.spilled_sgprs),
      String(row.scratch_bytes),
      String(row.workgroup_bytes),
      String(row.waves_per_simd),
      String(row.instructions),
      loop ? String(loop.multiply_adds) : "",
      loop ? `${(100 * loop.multiply_adds / loop.vector_operations).toFixed(0)} %` : "",
      loop ? (loop.workgroup_bytes / loop.multiply_adds).toFixed(1) : "",
      row.flops > 0 ? (row.flops / 1e9).toFixed(1) : "",
      (row.bytes / 1e9).toFixed(2),
    ];
  };
  return align([heads, ...rows.map(cells)], 1).join("\n");
}
