/**
 * The report of `deno task profile --on`: what a step would take on cards that are not at hand.
 *
 * @module
 */
import { type Card, type CardName, CARDS, peakGflops } from "../../gpu/measure/cards.ts";
import type { LanguageModel } from "../../models/model.ts";
import type { StepConfig } from "../../training/run/config.ts";
import { runOptimizer } from "../../training/run/optimizer.ts";
import { recordStep } from "../../training/step/recording.ts";
import {
  modelledChoices,
  type ModelledKernel,
  type StepRoofline,
  stepRoofline,
} from "../../training/step/roofline.ts";
import { languageModelLoss } from "../../training/step/trainer.ts";
import { align } from "../command/align.ts";

/** A card's name and what the step would take there. */
export type NamedRoofline = readonly [name: CardName, roofline: StepRoofline];

/** Rows that are shown one by one; the rest is one row. */
const ROWS = 20;

/**
 * What others measured with GPT-2 124M, in tokens per second of one card. Matrix units, which WebGPU does not reach, do the
 * products of all of them: an A100 has 19.5 TFLOPS of f32 without them and 156 of TF32, 312 of bf16 with them.
 */
export const PEERS: readonly {
  readonly what: string;
  readonly tokensPerSecond: number;
  readonly source: string;
}[] = [
  // 78 ms for 4 x 1,024 tokens.
  {
    what: "A100, llm.c, TF32",
    tokensPerSecond: 52_500,
    source: "x.com/karpathy, April 2024; llm.c's README and pull request 113",
  },
  {
    what: "A100, PyTorch, TF32",
    tokensPerSecond: 51_200,
    source: "the same: 80 ms",
  },
  // 562 ms for 5 x 12 x 1,024 tokens on each.
  {
    what: "A100, nanoGPT, bf16, of eight",
    tokensPerSecond: 109_000,
    source: "nanoGPT's issue 110, its default batch",
  },
  // 29% of an A100's 312 TFLOPS, as nanoGPT counts: 855 million operations for a token.
  { what: "RTX 4090, nanoGPT, bf16", tokensPerSecond: 106_000, source: "nanoGPT's issue 182" },
  // 10 billion tokens in 45 minutes on 8 cards.
  { what: "H100, llm.c, bf16, of eight", tokensPerSecond: 463_000, source: "modded-nanogpt's README" },
];

/**
 * Records a step for a card and models it.
 *
 * @param card The card.
 * @param model The model.
 * @param config Its batches and optimizer.
 */
export function rooflineOn(card: Card, model: LanguageModel, config: StepConfig): StepRoofline {
  const { batchSize, seqLen, gradAccum, clip, recompute, precision } = config;
  const options = {
    record: languageModelLoss(model, batchSize, seqLen),
    optimizer: runOptimizer(config),
    gradAccum,
    clip,
    recompute,
    precision,
  };
  const kernels = modelledChoices(card, recordStep(card.profile, options).graph);
  return stepRoofline(card, model, recordStep(card.profile, { ...options, kernels }), config);
}

/** The whole report of a card in lines for people. */
export function rooflineTable([name, roofline]: NamedRoofline): string[] {
  const { kernels, nanoseconds } = roofline;
  const row = (k: ModelledKernel) => [
    k.label,
    String(k.count),
    String(k.workgroups),
    String(k.threads),
    String(k.privateValues),
    k.bytesPerMultiplyAdd === undefined ? "" : k.bytesPerMultiplyAdd.toFixed(1),
    String(k.residentThreads),
    k.flops > 0 ? (k.flops / 1e9).toFixed(1) : "",
    (k.bytes / 1e9).toFixed(2),
    (k.nanoseconds / 1e6).toFixed(2),
    percent(k.nanoseconds / nanoseconds),
    k.bound,
  ];
  const rest = kernels.slice(ROWS);
  const sum = (label: string, some: readonly ModelledKernel[]) => {
    const total = (value: (k: ModelledKernel) => number) => some.reduce((n, k) => n + value(k), 0);
    const time = total((k) => k.nanoseconds);
    const work = [total((k) => k.flops) / 1e9, total((k) => k.bytes) / 1e9];
    return [
      label,
      String(total((k) => k.count)),
      ...["", "", "", "", ""],
      work[0].toFixed(1),
      work[1].toFixed(2),
      (time / 1e6).toFixed(2),
      percent(time / nanoseconds),
      "",
    ];
  };
  const head = [
    "kernel",
    "count",
    "groups",
    "threads",
    "private",
    "B/FMA",
    "resident",
    "GFLOP",
    "GB",
    "ms",
    "of step",
  ];
  return [
    cardLine(CARDS[name]),
    "",
    ...align(
      [
        [...head, "bound by"],
        ...kernels.slice(0, ROWS).map(row),
        ...(rest.length > 0 ? [sum(`${rest.length} more`, rest)] : []),
        sum("all kernels", kernels),
      ],
      1,
      head.length,
    ),
  ];
}

/** What `--json` prints of a card. */
export function rooflineReport([name, roofline]: NamedRoofline): Record<string, unknown> {
  const { least, weak, kernels } = roofline;
  return {
    card: CARDS[name].title,
    peak_gflops: peakGflops(CARDS[name]),
    ms_per_step: roofline.nanoseconds / 1e6,
    tokens_per_second: roofline.tokensPerSecond,
    model_flops: roofline.modelFlops,
    utilization: roofline.utilization,
    bytes: roofline.bytes,
    least_bytes: least.activations + least.weights,
    weak: Object.fromEntries(weak.map(({ kind, share, largest, label }) => [
      kind.replaceAll(" ", "_"),
      { share, largest, kernel: label ?? null },
    ])),
    kernels: kernels.map((k) => ({
      label: k.label,
      count: k.count,
      workgroups: k.workgroups,
      threads: k.threads,
      private_values: k.privateValues,
      bytes_per_multiply_add: k.bytesPerMultiplyAdd ?? null,
      resident_threads: k.residentThreads,
      flops: k.flops,
      bytes: k.bytes,
      ms_per_step: k.nanoseconds / 1e6,
      bound: k.bound,
    })),
  };
}

/** A line for each card, and what others measured. */
export function rooflineSummary(all: readonly NamedRoofline[]): string[] {
  const weak = all[0][1].weak.map(({ kind }) => kind);
  const row = ([name, r]: NamedRoofline) => [
    name,
    (r.nanoseconds / 1e6).toFixed(1),
    r.tokensPerSecond.toFixed(0),
    percent(r.utilization),
    ...r.weak.map(({ largest, label }) => label === undefined ? percent(0) : `${label} ${percent(largest)}`),
    (r.bytes / 1e9).toFixed(1),
    (r.bytes / (r.least.activations + r.least.weights)).toFixed(2),
  ];
  return [
    ...align([["card", "ms/step", "tokens/s", "of f32 peak", ...weak, "GB", "of least"], ...all.map(row)], 1),
    "",
    "modelled, not measured: about the best they could reach. Of kernels with fewer than 4 workgroups a core, with fewer",
    "than 64 threads, with more than 128 private f32: that which has most of the time. of least: bytes that kernels move,",
    "over those that layers must read and write once",
    "",
    "measured by others, GPT-2 124M, in tokens/s, all with matrix units:",
    ...align(
      PEERS.map(({ what, tokensPerSecond, source }) => [`  ${what}`, String(tokensPerSecond), source]),
      1,
      2,
    ),
  ];
}

function cardLine(card: Card): string {
  const { title, cores, bandwidthGBps, f16Rate } = card;
  const tflops = (rate: number) => (rate * peakGflops(card) / 1e3).toFixed(1);
  return `${title}: ${cores} cores, ${tflops(1)} TFLOPS of f32, ${
    tflops(f16Rate)
  } of f16, ${bandwidthGBps} GB/s`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)}%`;
}
