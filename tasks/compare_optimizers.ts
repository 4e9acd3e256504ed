/**
 * `deno task compare-optimizers`: the same training with several optimizers, each with its best learning rate.
 *
 * @module
 */
import { join } from "node:path";
import { writeTextAtomically } from "../checkpoint/atomic_file.ts";
import { writeJsonFile } from "../checkpoint/json_file.ts";
import type { TokenDataset } from "../data/token_dataset.ts";
import { type Gpu, requestGpu } from "../gpu/device.ts";
import { modelFromConfig } from "../models/load.ts";
import type { LanguageModel } from "../models/model.ts";
import {
  compareSteps,
  type Contestant,
  runComparison,
  type StepComparisonOptions,
} from "../training/comparison.ts";
import type { CellContext } from "../training/comparison_cell.ts";
import { comparisonHtml } from "../training/comparison_report.ts";
import { type ComparisonReport, type ComparisonSetting, summarize } from "../training/comparison_summary.ts";
import { declareParameters } from "../training/load_weights.ts";
import { OPTIMIZERS } from "../training/run_optimizer.ts";
import type { StepCost } from "../training/step_race.ts";
import { claimFolder } from "./claim_folder.ts";
import { jsonOption, type OptionValues, runTask, type TaskContext } from "./command_line.ts";
import { comparisonTable } from "./comparison_table.ts";
import { comparisonEvents } from "./comparison_events.ts";
import { contestantsFor, entryOptions, parseContestants, parseGrids } from "./contestants.ts";
import { watchInterrupts } from "./interrupts.ts";
import { prepareData, sayAdapter, withFastestKernels } from "./prepare_run.ts";
import { dataOptions, modelOptions, scheduleOptions } from "./train_lm_options.ts";

const COMPARISON = "Comparison";
const LENGTH = "Length";

/** SGD needs far more steps than anybody would want to wait for; whoever wants to see that can name it. */
const DEFAULT_OPTIMIZERS = Object.keys(OPTIMIZERS).filter((name) => name !== "sgd");

/** What `--quick` changes where nothing else was said. */
const QUICK = {
  steps: 100,
  seeds: 2,
  batchSize: 4,
  validationFraction: 0.005,
  evalPoints: 5,
  evalBatches: 10,
  timingRounds: 5,
};

const options = {
  "optimizers": {
    type: "string",
    multiple: true,
    placeholder: "NAMES",
    group: COMPARISON,
    description: `who takes part, with options of their own where they differ from the rest: ` +
      `koala++,koala++:q=0.05,adamw:lr=0.001/0.003 (default: ${DEFAULT_OPTIMIZERS.join(",")}; all: ${
        Object.keys(OPTIMIZERS).join(", ")
      })`,
  },
  "lr": {
    type: "string",
    multiple: true,
    placeholder: "NAME=RATES",
    group: COMPARISON,
    description: "learning rates to try, such as adamw=0.001,0.003; one is taken as it is " +
      "(default: half of train-lm's default, that, and twice that)",
  },
  "extensions": {
    type: "integer",
    min: 0,
    default: 4,
    group: COMPARISON,
    description: "most learning rates to add while the best is the lowest or highest tried",
  },
  "seeds": {
    type: "integer",
    min: 1,
    default: 3,
    group: COMPARISON,
    description: "number of seeds, 0 and up; they change weights, batches and dropout",
  },
  "quick": {
    type: "boolean",
    default: false,
    group: COMPARISON,
    description: `a first impression in minutes: ${QUICK.steps} steps, ${QUICK.seeds} seeds, batches of ` +
      `${QUICK.batchSize}, ${QUICK.validationFraction} of the text held out and less of it evaluated on the way, ` +
      "where nothing else is given",
  },
  "out": {
    type: "string",
    placeholder: "DIR",
    group: COMPARISON,
    description: "folder of the report; runs that are done there are not run again " +
      "(default: runs/compare-MODEL-STEPS)",
  },
  "steps": { type: "integer", min: 1, default: 1200, group: LENGTH, description: "steps of each run" },
  "eval-points": {
    type: "integer",
    min: 1,
    default: 12,
    group: LENGTH,
    description: "evaluations along a run, for the curves",
  },
  "eval-batches": {
    type: "integer",
    min: 0,
    default: 20,
    group: LENGTH,
    description: "batches of each; 0 for all held-out text, which the end always takes",
  },
  "timing-rounds": {
    type: "integer",
    min: 0,
    default: 15,
    group: LENGTH,
    description:
      "turns of each optimizer when the time of a step is measured, which needs memory for two of " +
      "them at once; 0 not to measure it",
  },
  ...dataOptions,
  ...modelOptions,
  ...scheduleOptions,
  ...entryOptions,
  "json": jsonOption,
} as const;

type Values = OptionValues<typeof options>;

async function main(asked: Values, { given, output }: TaskContext): Promise<void> {
  const say = (line: string) => output.say(line);
  const values = asked.quick ? withQuick(asked, given) : asked;
  const contestants = await contestantsOf(values);
  const outDir = values.out ?? join("runs", `compare-${nameOf(values.model)}-${values.steps}`);
  const probe = await claimFolder(outDir);
  try {
    const gpu = await requestGpu();
    try {
      sayAdapter(gpu, say);
      const { tokenizer, dataset } = await prepareData(contestants[0].config, values.cache, say);
      const model = modelFromConfig({ ...contestants[0].config.model, vocab_size: tokenizer.vocabSize });
      const ready: Contestant[] = [];
      for (const contestant of contestants) {
        const config = { ...contestant.config, model: { ...model.config } };
        ready.push({
          ...contestant,
          config: await withFastestKernels(gpu, config, model, values.cache, say),
        });
      }
      const interrupts = watchInterrupts(() => say("stopping; once more to stop at once"));
      try {
        const context: CellContext = {
          gpu,
          model,
          dataset,
          byteLengths: tokenizer.byteLengths,
          evalPoints: Math.min(values.evalPoints, values.steps),
          evalBatches: values.evalBatches,
          interrupted: () => interrupts.requested,
        };
        const setting = settingOf(values, ready, { gpu, model, dataset });
        const report = await compare(values, ready, { context, setting, outDir }, say);
        if (!report?.complete) {
          say("stopped; the same command goes on with what is left");
          Deno.exitCode = 130;
        }
        if (report) {
          for (const line of ["", ...comparisonTable(report), "", `report: ${join(outDir, REPORT)}`]) {
            say(line);
          }
        }
        if (output.json) output.result(report ?? null);
      } finally {
        interrupts.close();
      }
    } finally {
      gpu.destroy();
    }
  } catch (error) {
    await probe.release();
    throw error;
  }
}

const REPORT = "report.html";

/** Measures, trains and keeps the report up to date. @returns The report, or undefined if there is none yet. */
async function compare(
  values: Values,
  contestants: readonly Contestant[],
  { context, setting, outDir }: { context: CellContext; setting: ComparisonSetting; outDir: string },
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
  const write = async (cells: Parameters<typeof summarize>[0]["cells"], complete: boolean) => {
    const report = summarize({ ...plan, contestants, reference, cells, complete, costs, setting });
    await writeJsonFile(join(outDir, "comparison.json"), report);
    await writeTextAtomically(join(outDir, REPORT), comparisonHtml(report));
    return report;
  };
  const events = comparisonEvents({ contestants, costs, steps: values.steps, say });
  const { cells, complete } = await runComparison({
    ...context,
    ...plan,
    ...events,
    outDir,
    contestants,
    async finished(cell, count) {
      events.finished(cell, count);
      // Whoever looks while it runs sees what is done.
      if (!count.kept) await write(count.done, false);
    },
  });
  return await write(cells, complete);
}

/** Measures the time of a step and says it. */
async function measure(
  options: StepComparisonOptions,
  say: (line: string) => void,
): Promise<readonly StepCost[] | undefined> {
  const { contestants, reference, rounds } = options;
  say(`measuring the time of a step: ${contestants.length} optimizers, ${rounds} rounds`);
  const costs = await compareSteps(options);
  costs?.forEach(({ ms, ratio }, i) => {
    const times = i === reference ? "" : `, ${ratio.toFixed(2)} times ${contestants[reference].name}'s`;
    say(`  ${contestants[i].name}: ${ms.toFixed(1)} ms${times}`);
  });
  return costs;
}

function withQuick(values: Values, given: ReadonlySet<string>): Values {
  const changes = Object.entries(QUICK).filter(([key]) => !given.has(key));
  return { ...values, ...Object.fromEntries(changes) };
}

async function contestantsOf(values: Values): Promise<Contestant[]> {
  const asked = parseContestants(values.optimizers.length > 0 ? values.optimizers : DEFAULT_OPTIMIZERS);
  const grids = parseGrids(values.lr, [...new Set(asked.map(({ optimizer }) => optimizer))]);
  return await contestantsFor(asked, grids, values);
}

/** AdamW where it takes part, without options if possible; else the first. */
function referenceOf(contestants: readonly Contestant[]): number {
  const plain = contestants.findIndex(({ name }) => name === "adamw");
  if (plain >= 0) return plain;
  return Math.max(0, contestants.findIndex(({ config }) => config.optimizer === "adamw"));
}

function settingOf(
  values: Values,
  [{ config }]: readonly Contestant[],
  { gpu, model, dataset }: { gpu: Gpu; model: LanguageModel; dataset: TokenDataset },
): ComparisonSetting {
  const { steps, seqLen, batchSize, gradAccum } = config;
  const held = dataset.validation.length;
  return {
    model: nameOf(values.model),
    parameters: declareParameters(model).count,
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

if (import.meta.main) {
  await runTask({
    name: "compare-optimizers",
    summary:
      "Trains the same model on the same batches with several optimizers, finds the best learning rate of each, " +
      "repeats it with several seeds, measures time and memory per step, and writes a report.",
    options,
    examples: [
      "deno task compare-optimizers --quick",
      "deno task compare-optimizers",
      "deno task compare-optimizers --optimizers adamw,koala++,koala++:q=0.05 --steps 400",
      "deno task compare-optimizers --optimizers adamw koala++:lr=0.01/0.02/0.04 --lr adamw=0.001,0.002,0.004",
      "deno task compare-optimizers --model llama-nano --data my_texts/ --out runs/mine",
    ],
    main,
  });
}
