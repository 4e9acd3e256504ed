/** Plans whole training steps without a GPU. */
import { ok } from "node:assert/strict";
import type { Profile } from "../../gpu/device.ts";
import type { Kernel } from "../../gpu/kernel.ts";
import { type MemoryPlan, planMemory } from "../../gpu/plan.ts";
import type { Precision } from "../../gpu/precision/precision.ts";
import { gpt2, gpt2Presets } from "../../models/gpt2.ts";
import { adamw } from "../../optim/adamw.ts";
import { Graph } from "../../gpu/graph.ts";
import { evaluationBatchSize } from "../evaluation.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import { hiddenMatrices, partition } from "../../optim/partition.ts";
import { PROFILES } from "../../tests/profiles.ts";
import { recordStep } from "./recording.ts";
import { languageModelLoss } from "./trainer.ts";

const profile = { subgroupSize: 8, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 2 ** 32 };

interface Step {
  readonly batchSize?: number;
  readonly seqLen: number;
  readonly recompute?: boolean;
  readonly precision?: Precision;
}

function record(
  config: Record<string, unknown>,
  { batchSize = 1, seqLen, recompute, precision }: Step,
  adapter: Profile = profile,
): Graph {
  return recordStep(adapter, {
    record: languageModelLoss(gpt2({ n_positions: seqLen, ...config }), batchSize, seqLen),
    optimizer: partition([{ owns: hiddenMatrices, optimizer: koalaPlusPlus() }, { optimizer: adamw() }]),
    clip: 1,
    recompute,
    precision,
  }).graph;
}

const plan = (...step: Parameters<typeof record>): MemoryPlan => planMemory(record(...step)).memory;
const total = (memory: MemoryPlan) => Object.values(memory).reduce((a, b) => a + b, 0);

Deno.test("a step of GPT-2 (124M, 1,024 tokens) plans less than 3.0 GB, with recomputation less than 2.5 GB", () => {
  for (const [recompute, most] of [[false, 3.0e9], [true, 2.5e9]] as const) {
    const memory = plan({ ...gpt2Presets.gpt2, vocab_size: 50_257 }, { seqLen: 1024, recompute });
    const bytes = total(memory);
    ok(bytes < most, `${bytes} bytes: ${JSON.stringify(memory)}`);
  }
});

Deno.test("four times the sequence takes at most 4.2 times the activations", () => {
  const config = { n_embd: 128, n_layer: 4, n_head: 4, vocab_size: 2048 };
  for (const recompute of [false, true]) {
    const [short, long] = [1024, 4096].map((seqLen) => plan(config, { seqLen, recompute }).activations);
    ok(long <= 4.2 * short, `${short} bytes become ${long}`);
  }
});

Deno.test("recomputation saves two thirds of the activations of 8 layers, and nothing else changes", () => {
  const config = { n_embd: 64, n_layer: 8, n_head: 4, vocab_size: 128, resid_pdrop: 0.1 };
  const [kept, again] = [false, true].map((recompute) =>
    plan(config, { batchSize: 4, seqLen: 64, recompute })
  );
  ok(again.activations * 3 < kept.activations, `${kept.activations} bytes become ${again.activations}`);
  for (const key of ["parameters", "gradients", "state", "other"] as const) ok(again[key] === kept[key], key);
});

Deno.test("evaluating GPT-2 (124M) plans less than 100 MB of activations, less than a small step of training", () => {
  const config = { ...gpt2Presets.gpt2, vocab_size: 50_257 };
  const seqLen = 128;
  const g = new Graph({ profile });
  languageModelLoss(
    gpt2(config),
    evaluationBatchSize({ batchSize: 1, seqLen }, { isSoftware: false }),
    seqLen,
  )(g);
  const { activations } = planMemory(g).memory;
  ok(activations < 100e6, `${activations} bytes`);
  ok(activations < plan(config, { seqLen, recompute: false }).activations);
});

Deno.test("a step of GPT-2 (124M, 1,024 tokens) with f16 plans at most 65% of f32's memory with 8 sequences", () => {
  const config = { ...gpt2Presets.gpt2, vocab_size: 50_257 };
  // Weights, their gradients and the optimizer's state, which stay f32, are 75% with one sequence and 28% with eight.
  for (const [batchSize, most] of [[1, 0.92], [2, 0.84], [4, 0.74], [8, 0.65]] as const) {
    const [full, half] = (["f32", "f16"] as const).map((precision) =>
      total(plan(config, { batchSize, seqLen: 1024, precision }, PROFILES.NVIDIA))
    );
    ok(half <= most * full, `${batchSize} sequences: ${full} bytes become ${half}`);
  }
});

Deno.test("a graphics card moves half the bytes with f16, but for what stays f32", () => {
  const step = { batchSize: 8, seqLen: 1024 };
  const config = { ...gpt2Presets.gpt2, vocab_size: 50_257 };
  const [full, half] = (["f32", "f16"] as const).map((precision) => {
    const { microKernels } = record(config, { ...step, precision }, PROFILES.NVIDIA);
    const kinds = Map.groupBy(microKernels, ({ label }) => /^[a-z]+/.exec(label)![0]);
    const bytes = ([kind, kernels]: [string, Kernel[]]) =>
      [kind, kernels.reduce((sum, k) => sum + k.bytes, 0)] as const;
    return new Map([...kinds].map(bytes));
  });
  // Of products, gradients of weights and parts of a split k stay f32; of attention, two values of each row of a head.
  for (
    const [kind, most] of Object.entries({
      matmul: 0.62,
      attention: 0.51,
      gelu: 0.5,
      layer: 0.51,
      bias: 0.51,
    })
  ) {
    const share = half.get(kind)! / full.get(kind)!;
    ok(share <= most, `${kind} moves ${share} of the bytes`);
  }
});
