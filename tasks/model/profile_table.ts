/**
 * The report of `deno task profile`: its fields, which `--json` prints, and its words for people.
 *
 * @module
 */
import type { ClockMethod } from "../../gpu/clock.ts";
import type { Precision } from "../../gpu/precision/precision.ts";
import { formatCount } from "../../training/progress.ts";
import { align } from "../command/align.ts";

/** A part of the step: its time, and its share of the step alone. */
export interface StepPart {
  /** Milliseconds per step. */
  readonly ms: number;
  /** Of `alone_ms`. */
  readonly share: number;
}

/** Dispatches of the same kernel on the same shapes. */
export interface KernelRow {
  /** The kernel's name. */
  readonly label: string;
  /** Shapes of the tensors that it only reads. */
  readonly reads: readonly (readonly number[])[];
  /** Shapes of the tensors that it writes or updates. */
  readonly writes: readonly (readonly number[])[];
  /** In x, y and z. */
  readonly workgroups: readonly number[];
  /** Dispatches per step. */
  readonly count: number;
  /** Of all of them. */
  readonly ms_per_step: number;
  /** Of `alone_ms`. */
  readonly share: number;
  /** Floating point operations of one dispatch, where the kernel declares them. */
  readonly flops: number | null;
  /** The rate of these. */
  readonly gflops: number | null;
  /** What the bindings of one dispatch cover. */
  readonly bytes: number;
  /** The rate of these. */
  readonly gb_per_s: number;
}

/** Everything that was measured. */
export interface StepReport {
  /** The adapter's description. */
  readonly adapter: string;
  /** Whether it runs on the CPU. */
  readonly software: boolean;
  /** The model's name or file. */
  readonly model: string;
  /** Number of the model's parameters. */
  readonly parameters: number;
  /** Number of token ids. */
  readonly vocab_size: number;
  /** Sequences per micro-batch. */
  readonly batch_size: number;
  /** Tokens per sequence. */
  readonly seq_len: number;
  /** Micro-batches per step. */
  readonly grad_accum: number;
  /** How activations are stored. */
  readonly precision: Precision;
  /** The optimizer's name. */
  readonly optimizer: string;
  /** Steps measured in each way. */
  readonly measured_steps: number;
  /** How times on the GPU were measured. */
  readonly method: ClockMethod;
  /**
   * The step as a whole; tokens per second are those in a row. `at_ceilings_ms` is the roofline's prediction: every kernel
   * at the adapter's ceiling, of operations or of bytes.
   */
  readonly step: {
    readonly in_a_row_ms: number;
    readonly alone_ms: number;
    readonly spread: number;
    readonly tokens: number;
    readonly tokens_per_second: number;
    readonly kernels: number;
    readonly at_ceilings_ms: number;
  };
  /** What the step alone consists of. */
  readonly parts: {
    readonly kernels: StepPart;
    readonly between_kernels: StepPart;
    readonly javascript: StepPart;
  };
  /** What the adapter can do at best. */
  readonly ceilings: {
    readonly multiply_add_gflops: number;
    readonly kernel_copy_gb_per_s: number;
    readonly buffer_copy_gb_per_s: number;
  };
  /** What the model needs, and the share of the multiply-add ceiling that steps in a row reach with it. */
  readonly model_flops: {
    readonly product_parameters: number;
    readonly per_token: number;
    readonly per_step: number;
    readonly gflops: number;
    readonly utilization: number;
  };
  /** Planned GPU memory. */
  readonly memory_bytes: {
    readonly parameters: number;
    readonly gradients: number;
    readonly state: number;
    readonly activations: number;
    readonly other: number;
    readonly total: number;
  };
  /** By time, longest first. */
  readonly kernels: readonly KernelRow[];
}

/** Rows that are shown one by one; the rest is one row. */
const ROWS = 24;

/** From this spread on, the reader is told. */
const BUSY = 1.2;

/** The report in lines for people. */
export function profileTable(report: StepReport): string[] {
  const { model, parameters, vocab_size, batch_size, seq_len, grad_accum, precision, optimizer, method } =
    report;
  const how = method === "timestamps"
    ? "timed by timestamp queries"
    : "timed by repeating kernels and waiting, since this device has no timestamp queries";
  return [
    `${model}: ${formatCount(parameters)} parameters, vocabulary ${vocab_size}, ${optimizer}`,
    `step: ${grad_accum} micro-batch${
      grad_accum > 1 ? "es" : ""
    } of ${batch_size} x ${seq_len} tokens, activations in ${precision}`,
    `${how}; the fastest of ${report.measured_steps} measured steps`,
    "",
    ...kernelTable(report),
    "",
    ...partsTable(report),
    ...totals(report),
  ];
}

function kernelTable({ kernels, ceilings }: StepReport): string[] {
  const { multiply_add_gflops: peak, kernel_copy_gb_per_s: copy } = ceilings;
  const row = (r: KernelRow) => [
    r.label,
    `${shapes(r.reads)} > ${shapes(r.writes)}`,
    r.workgroups.join("x"),
    String(r.count),
    r.ms_per_step.toFixed(2),
    percent(r.share),
    r.gflops === null ? "" : r.gflops.toFixed(1),
    r.gflops === null ? "" : percent(r.gflops / peak),
    r.gb_per_s.toFixed(1),
    percent(r.gb_per_s / copy),
  ];
  const sum = (label: string, rows: readonly KernelRow[]) => {
    const total = (value: (r: KernelRow) => number) => rows.reduce((n, r) => n + value(r), 0);
    const [count, ms, share] = [total((r) => r.count), total((r) => r.ms_per_step), total((r) => r.share)];
    return [label, "", "", String(count), ms.toFixed(2), percent(share), "", "", "", ""];
  };
  // A single row more needs no summary.
  const shown = kernels.length > ROWS + 1 ? ROWS : kernels.length;
  const rest = kernels.slice(shown);
  return align([
    [
      "kernel",
      "reads > writes",
      "workgroups",
      "count",
      "ms/step",
      "of step",
      "GFLOPS",
      "of peak",
      "GB/s",
      "of copy",
    ],
    ...kernels.slice(0, shown).map(row),
    ...(rest.length > 0 ? [sum(`${rest.length} more kinds`, rest)] : []),
    sum("all kernels", kernels),
  ], 3);
}

function partsTable({ step, parts, method }: StepReport): string[] {
  const row = (label: string, { ms, share }: StepPart, what: string) => [
    label,
    `${ms.toFixed(2)} ms`,
    percent(share),
    what,
  ];
  const between = parts.between_kernels.ms < 0
    ? "below zero: kernels overlap in a normal step, or the machine was busy while they were timed"
    : "the rest of the GPU's time: dispatches, barriers, clears, copies";
  const lines = align(
    [
      row("step alone", { ms: step.alone_ms, share: 1 }, "nothing else enqueued; the sum of:"),
      row(
        "  kernels",
        parts.kernels,
        method === "timestamps" ? "beyond what an empty kernel takes" : "with their dispatch",
      ),
      row("  between", parts.between_kernels, between),
      row("  JavaScript", parts.javascript, "writing inputs, encoding, submitting"),
    ],
    1,
    3,
  );
  if (step.spread < BUSY) return lines;
  const factor = `${step.spread.toFixed(2)} times as long as the fastest`;
  return [...lines, `note: the slowest step took ${factor}; on a busy machine the parts above are rough`];
}

function totals({ step, ceilings, model_flops: model, memory_bytes: memory }: StepReport): string[] {
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(2)} MiB`;
  const { multiply_add_gflops: peak, kernel_copy_gb_per_s: copy, buffer_copy_gb_per_s: buffers } = ceilings;
  const rate = `${formatCount(step.tokens_per_second)} tokens/s`;
  const classes = Object.entries({
    parameters: memory.parameters,
    gradients: memory.gradients,
    "optimizer state": memory.state,
    activations: memory.activations,
    other: memory.other,
  }).map(([name, bytes]) => `${name} ${mib(bytes)}`);
  return [
    `in a row:     ${
      step.in_a_row_ms.toFixed(2)
    } ms per step, the mean; ${rate}; ${step.kernels} kernels per step`,
    `roofline:     ${
      step.at_ceilings_ms.toFixed(2)
    } ms if each kernel ran at the ceilings below; measured in a row ` +
    `${(step.in_a_row_ms / step.at_ceilings_ms).toFixed(2)} times that`,
    `peak:         ${peak.toFixed(1)} GFLOPS, multiply-adds without loads`,
    `copy:         ${copy.toFixed(1)} GB/s read and written by a kernel, ${
      buffers.toFixed(1)
    } by copyBufferToBuffer`,
    `model FLOPs:  ${(model.per_step / 1e9).toFixed(2)} GFLOP per step of ${step.tokens} tokens; in a row ` +
    `${model.gflops.toFixed(1)} GFLOPS, ${percent(model.utilization)} of peak`,
    `GPU memory:   ${mib(memory.total)} at peak, all allocated before the first step: ${classes.join(", ")}`,
  ];
}

/** The first three shapes, and how many more there are. */
function shapes(all: readonly (readonly number[])[]): string {
  const first = all.slice(0, 3).map((shape) => shape.join("x"));
  return [...first, ...(all.length > 3 ? [`+${all.length - 3}`] : [])].join(" ");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}
