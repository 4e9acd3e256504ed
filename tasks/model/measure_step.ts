/**
 * What a training step takes on an adapter: the measurement behind `deno task profile`.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import { type Ceilings, measureCeilings } from "../../gpu/measure/ceilings.ts";
import { ceilingTime } from "../../gpu/measure/roofline.ts";
import type { LanguageModel } from "../../models/model.ts";
import { hashCombine } from "../../ops/random.ts";
import type { StepConfig } from "../../training/run/config.ts";
import { runOptimizer } from "../../training/run/optimizer.ts";
import { type ModelFlops, modelFlops, profileSteps, type StepProfile } from "../../training/step/profile.ts";
import { languageModelLoss, Trainer } from "../../training/step/trainer.ts";
import type { StepReport } from "./profile_table.ts";

/**
 * Measures training steps on random tokens, kernel by kernel and as a whole, and what the adapter can do at best.
 *
 * @param gpu The device, which should have nothing else to do.
 * @param model The model.
 * @param config Its batches and optimizer.
 * @param how The model's name for the report, and how many steps are measured after how many others.
 */
export async function measureStep(
  gpu: Gpu,
  model: LanguageModel,
  config: StepConfig,
  { model: name, steps, warmupSteps }: { model: string; steps: number; warmupSteps: number },
): Promise<StepReport> {
  const { batchSize, seqLen, gradAccum, precision } = config;
  const trainer = await Trainer.create(gpu, {
    record: languageModelLoss(model, batchSize, seqLen),
    optimizer: runOptimizer(config),
    gradAccum,
    clip: config.clip,
    precision,
  });
  const inputs = Array.from({ length: gradAccum }, (_, micro) => {
    const ids = (stream: number) =>
      Uint32Array.from({ length: batchSize * seqLen }, (_, i) => hashCombine(stream, i) % model.vocabSize);
    return { tokens: ids(2 * micro), targets: ids(2 * micro + 1) };
  });
  const before = await measureCeilings(gpu);
  const profile = await profileSteps(gpu, trainer, inputs, { warmupSteps, steps });
  // Again, since what a shared machine has to give changes.
  const ceilings = higher(before, await measureCeilings(gpu));
  const flops = modelFlops(gpu.profile, model, trainer.parameters, seqLen);
  const { dispatches, ...memory } = trainer.plan;
  const parameters = trainer.parameters.count;
  trainer.destroy();
  return {
    adapter: gpu.description,
    software: gpu.profile.isSoftware,
    model: name,
    parameters,
    vocab_size: model.vocabSize,
    batch_size: batchSize,
    seq_len: seqLen,
    grad_accum: gradAccum,
    precision: precision ?? "f32",
    optimizer: config.optimizer.name,
    measured_steps: steps,
    ...report(profile, ceilings, flops, { tokens: batchSize * seqLen * gradAccum, dispatches }),
    memory_bytes: { ...memory, total: Object.values(memory).reduce((a, b) => a + b, 0) },
  };
}

/** What was measured, against what the adapter can do. */
function report(
  profile: StepProfile,
  ceilings: Ceilings,
  flops: ModelFlops,
  { tokens, dispatches }: { tokens: number; dispatches: number },
): Pick<StepReport, "method" | "step" | "parts" | "ceilings" | "model_flops" | "kernels"> {
  const perStep = flops.perToken * tokens;
  const gflops = perStep / profile.inARow;
  return {
    method: profile.method,
    step: {
      in_a_row_ms: profile.inARow / 1e6,
      alone_ms: profile.alone / 1e6,
      spread: profile.spread,
      tokens,
      tokens_per_second: tokens / profile.inARow * 1e9,
      kernels: dispatches,
      at_ceilings_ms: profile.groups.reduce(
        (sum, group) =>
          sum + group.count * ceilingTime(group, ceilings.multiplyAddGflops, ceilings.kernelCopyGBps),
        0,
      ) / 1e6,
    },
    parts: {
      kernels: part(profile.kernels, profile.alone),
      between_kernels: part(profile.between, profile.alone),
      javascript: part(profile.javascript, profile.alone),
    },
    ceilings: {
      multiply_add_gflops: ceilings.multiplyAddGflops,
      kernel_copy_gb_per_s: ceilings.kernelCopyGBps,
      buffer_copy_gb_per_s: ceilings.bufferCopyGBps,
    },
    model_flops: {
      product_parameters: flops.parameters,
      per_token: flops.perToken,
      per_step: perStep,
      gflops,
      utilization: gflops / ceilings.multiplyAddGflops,
    },
    kernels: profile.groups.map(({ label, reads, writes, workgroups, count, nanoseconds, flops, bytes }) => ({
      label,
      reads,
      writes,
      workgroups,
      count,
      ms_per_step: nanoseconds / 1e6,
      share: nanoseconds / profile.alone,
      flops: flops ?? null,
      gflops: flops === undefined ? null : flops * count / nanoseconds,
      bytes,
      gb_per_s: bytes * count / nanoseconds,
    })),
  };
}

function part(nanoseconds: number, whole: number): { ms: number; share: number } {
  return { ms: nanoseconds / 1e6, share: nanoseconds / whole };
}

function higher(a: Ceilings, b: Ceilings): Ceilings {
  return {
    multiplyAddGflops: Math.max(a.multiplyAddGflops, b.multiplyAddGflops),
    bufferCopyGBps: Math.max(a.bufferCopyGBps, b.bufferCopyGBps),
    kernelCopyGBps: Math.max(a.kernelCopyGBps, b.kernelCopyGBps),
  };
}
