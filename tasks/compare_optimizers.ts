/**
 * `deno task compare-optimizers`: the same training with several optimizers, each with its best learning rate.
 *
 * @module
 */
import { join } from "node:path";
import { writeTextAtomically } from "../files/atomic_file.ts";
import { writeJsonFile } from "../files/json_file.ts";
import { holdFolder } from "../files/lock_file.ts";
import { type TokenDataset, tokenizerDigest } from "../data/tokens/dataset.ts";
import type { Gpu } from "../gpu/device.ts";
import type { LanguageModel } from "../models/model.ts";
import {
  compareSteps,
  type Contestant,
  runComparison,
  type StepComparisonOptions,
} from "../training/compare/comparison.ts";
import type { TrialContext } from "../training/compare/trial.ts";
import { comparisonHtml } from "../training/compare/report.ts";
import { type ComparisonReport, type ComparisonSetting, summarize } from "../training/compare/summary.ts";
import { declareParameters } from "../training/run/load_weights.ts";
import { createProgress } from "../training/progress.ts";
import { runModel } from "../training/run/model.ts";
import type { StepCost } from "../training/compare/step_race.ts";
import { claimFolder } from "./command/claim_folder.ts";
import { runTask, type Task, type TaskContext } from "./command/command_line.ts";
import { comparisonTable } from "./compare/comparison_table.ts";
import { comparisonEvents } from "./compare/comparison_events.ts";
import {
  comparisonOptions,
  type ComparisonValues,
  contestantsOf,
  withQuick,
} from "./compare/comparison_options.ts";
import { openEmbeddings } from "./train/embedding_options.ts";
import { watchInterrupts } from "./command/interrupts.ts";
import { withGivenSources } from "./train/given_sources.ts";
import { prepareData } from "./train/prepare_data.ts";
import { sayAdapter, withFastestKernels } from "./train/fastest_kernels.ts";
import { requirePrecision } from "../gpu/precision/precision.ts";
import { openGpu } from "./gpu/open_gpu.ts";

async function main(asked: ComparisonValues, { given, output }: TaskContext): Promise<void> {
  const say = (line: string) => output.say(line);
  const values = withQuick(asked, given);
  const contestants = await contestantsOf(values, given);
  const outDir = values.out ?? join("runs", `compare-${nameOf(values.model)}-${values.steps}`);
  const probe = await claimFolder(outDir);
  try {
    using _lock = await holdFolder(outDir, "the folder of a comparison");
    using devices = new DisposableStack();
    const gpu = devices.adopt(await openGpu(values.gpu), (gpu) => gpu.destroy());
    requirePrecision(gpu.profile, contestants[0].config.precision ?? "f32");
    sayAdapter(gpu, say);
    const prepared = await withGivenSources(
      contestants[0].config,
      values,
      (config) => prepareData(config, { ...values, runDir: outDir, say }),
    );
    const { tokenizer } = prepared;
    using dataset = prepared.dataset;
    const model = runModel(contestants[0].config, tokenizer.vocabSize);
    using embeddings = await openEmbeddings(contestants[0].config, tokenizer.vocabSize);
    const ready: Contestant[] = [];
    for (const contestant of contestants) {
      const config = { ...contestant.config, model: { ...model.config } };
      ready.push({
        ...contestant,
        config: await withFastestKernels(gpu, config, model, values.cache, say),
      });
    }
    using interrupts = watchInterrupts(() => say("stopping; once more to stop at once"));
    const context: TrialContext = {
      gpu,
      model,
      dataset,
      embeddings,
      tokenizerDigest: tokenizerDigest(tokenizer),
      byteLengths: tokenizer.byteLengths,
      evalPoints: Math.min(values.evalPoints, values.steps),
      evalBatches: values.evalBatches,
      signal: interrupts.signal,
    };
    const setting = settingOf(values, ready, { gpu, model, dataset });
    const report = await compare(values, ready, { context, setting, outDir }, say);
    if (!report?.complete) {
      say("stopped; the same command goes on with what is left");
      Deno.exitCode = interrupts.exitCode;
    }
    if (report) {
      for (const line of ["", ...comparisonTable(report), "", `report: ${join(outDir, REPORT)}`]) {
        say(line);
      }
    }
    if (output.json) output.result(report ?? null);
  } catch (error) {
    await probe.release();
    throw error;
  }
}

const REPORT = "report.html";

/** Measures, trains and keeps the report up to date. @returns The report, or undefined if there is none yet. */
async function compare(
  values: ComparisonValues,
  contestants: readonly Contestant[],
  { context, setting, outDir }: { context: TrialContext; setting: ComparisonSetting; outDir: string },
  say: (line: string) => void,
): Promise<ComparisonReport | undefined> {
  const reference = referenceOf(contestants);
  const seeds = Array.from({ length: values.seeds }, (_, i) => i);
  const plan = { seeds, extensions: values.extensions };
  const rounds = values.timingRounds;
  const costs = rounds > 0
    ? await measure({ ...context, outDir, contestants, reference, rounds }, say)
    : undefined;
  if (rounds > 0 && !costs) return undefined;
  const write = async (trials: Parameters<typeof summarize>[0]["trials"], complete: boolean) => {
    const report = summarize({ ...plan, contestants, reference, trials, complete, costs, setting });
    await writeJsonFile(join(outDir, "comparison.json"), report);
    await writeTextAtomically(join(outDir, REPORT), comparisonHtml(report));
    return report;
  };
  const events = comparisonEvents({ contestants, costs, steps: values.steps, say });
  const { trials, complete } = await runComparison({
    ...context,
    ...plan,
    ...events,
    outDir,
    contestants,
    async finished(trial, count) {
      events.finished(trial, count);
      // Whoever looks while it runs sees what is done.
      if (!count.kept) await write(count.done, false);
    },
  });
  return await write(trials, complete);
}

/** Measures the time of a step and says it. */
async function measure(
  options: StepComparisonOptions,
  say: (line: string) => void,
): Promise<readonly StepCost[] | undefined> {
  const { contestants, reference, rounds } = options;
  say(`measuring the time of a step: ${contestants.length} optimizers, ${rounds} rounds`);
  const bar = createProgress({ totalSteps: contestants.length * rounds, print: say });
  const costs = await compareSteps({ ...options, progress: (step) => bar.update({ step }) });
  bar.clear();
  costs?.forEach(({ ms, ratio }, i) => {
    const times = i === reference ? "" : `, ${ratio.toFixed(2)} times ${contestants[reference].name}'s`;
    say(`  ${contestants[i].name}: ${ms.toFixed(1)} ms${times}`);
  });
  return costs;
}

/** AdamW where it takes part, without options if possible; else the first. */
function referenceOf(contestants: readonly Contestant[]): number {
  const plain = contestants.findIndex(({ name }) => name === "adamw");
  if (plain >= 0) return plain;
  return Math.max(0, contestants.findIndex(({ config }) => config.optimizer.name === "adamw"));
}

function settingOf(
  values: ComparisonValues,
  [{ config }]: readonly Contestant[],
  { gpu, model, dataset }: { gpu: Gpu; model: LanguageModel; dataset: TokenDataset },
): ComparisonSetting {
  const { steps, seqLen, batchSize, gradAccum } = config;
  const held = dataset.validation.length;
  const { count, trainableCount } = declareParameters(model);
  return {
    model: nameOf(values.model),
    parameters: count,
    ...(trainableCount < count ? { trained_parameters: trainableCount } : {}),
    data: config.data,
    vocab_size: model.vocabSize,
    train_tokens: dataset.train.length,
    validation_tokens: held,
    steps,
    tokens_per_step: batchSize * seqLen * gradAccum,
    seq_len: seqLen,
    batch_size: batchSize,
    grad_accum: gradAccum,
    schedule: config.schedule,
    warmup: config.warmup,
    min_lr_ratio: config.minLrRatio,
    curve_tokens: values.evalBatches > 0 ? Math.min(held, values.evalBatches * batchSize * seqLen) : held,
    timing_rounds: values.timingRounds,
    adapter: gpu.description,
    software: gpu.profile.isSoftware,
    deno: Deno.version.deno,
  };
}

/** A model file's folder names it. */
function nameOf(model: string): string {
  return model.endsWith(".json") ? model.split(/[\\/]/).at(-2) || "model" : model;
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof comparisonOptions> = {
  name: "compare-optimizers",
  summary:
    "Trains the same model on the same batches with several optimizers, finds the best learning rate of each, " +
    "repeats it with several seeds, measures time and memory per step, and writes a report.",
  options: comparisonOptions,
  examples: [
    "deno task compare-optimizers --quick",
    "deno task compare-optimizers",
    "deno task compare-optimizers --optimizers adamw,koala++,koala++:q=0.05 --steps 400",
    "deno task compare-optimizers --optimizers adamw koala++:lr=0.01/0.02/0.04 --lr adamw=0.001,0.002,0.004",
    "deno task compare-optimizers --model llama-nano --data my_texts/ --out runs/mine",
  ],
  main,
};

if (import.meta.main) await runTask(task);
