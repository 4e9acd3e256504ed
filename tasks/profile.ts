/**
 * `deno task profile`: where the time of a training step goes.
 *
 * @module
 */
import { type CardName, CARDS } from "../gpu/measure/cards.ts";
import { modelFromConfig } from "../models/load.ts";
import type { LanguageModel } from "../models/model.ts";
import type { StepConfig } from "../training/run/config.ts";
import { runOptimizer } from "../training/run/optimizer.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
  UsageError,
} from "./command/command_line.ts";
import { measureStep } from "./model/measure_step.ts";
import { profileTable } from "./model/profile_table.ts";
import { rooflineOn, rooflineReport, rooflineSummary, rooflineTable } from "./model/roofline_table.ts";
import { chosenOptimizer, optimizerOptions } from "./train/optimizer_options.ts";
import { modelOptions, stepConfig, trainLmOptions } from "./train/train_lm_options.ts";
import { gpuOption, openGpu } from "./gpu/open_gpu.ts";

const MEASURING = "Measuring";

const options = {
  ...modelOptions,
  "vocab-size": {
    ...trainLmOptions["vocab-size"],
    group: modelOptions.model.group,
    description: "number of token ids",
  },
  ...optimizerOptions,
  "steps": {
    type: "integer",
    min: 1,
    default: 5,
    group: MEASURING,
    description: "steps to measure in each of three ways: kernel by kernel, as a whole, and in a row",
  },
  "warmup-steps": {
    type: "integer",
    min: 1,
    default: 2,
    group: MEASURING,
    description: "steps before, which compile the kernels",
  },
  "on": {
    type: "string",
    placeholder: "CARD",
    group: "Without a card",
    description: `model the step on ${
      Object.keys(CARDS).join(", ")
    }, or on all of them: nothing runs, no GPU is needed`,
  },
  "gpu": gpuOption,
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { given, output }: TaskContext): Promise<void> {
  const config = await stepConfig(values, chosenOptimizer(values, given));
  runOptimizer(config); // hyper-parameters out of range are found before any work
  const model = modelFromConfig({ ...config.model, vocab_size: config.vocabSize });
  if (values.on !== undefined) return reportCards(values.on, model, config, values.model, output);
  const gpu = await openGpu(values.gpu);
  try {
    output.say(`adapter: ${gpu.description}${gpu.profile.isSoftware ? " (software: runs on the CPU)" : ""}`);
    const report = await measureStep(gpu, model, config, values);
    output.result(report, output.json ? undefined : profileTable(report).join("\n"));
  } finally {
    gpu.destroy();
  }
}

/** Models the step on one card, with all its kernels, or on all of them. */
function reportCards(
  on: string,
  model: LanguageModel,
  config: StepConfig,
  name: string,
  output: TaskContext["output"],
): void {
  const names = Object.keys(CARDS) as CardName[];
  const chosen = on === "all" ? names : names.filter((card) => card === on);
  if (chosen.length === 0) throw new UsageError(`--on must be one of ${names.join(", ")}, or all, got ${on}`);
  const all = chosen.map((card) => [card, rooflineOn(CARDS[card], model, config)] as const);
  const { batchSize, seqLen, gradAccum, optimizer } = config;
  const text = [
    `${name}, ${gradAccum} x ${batchSize} x ${seqLen} tokens, ${optimizer.name}`,
    "",
    ...(chosen.length === 1 ? [...rooflineTable(all[0]), ""] : []),
    ...rooflineSummary(all),
  ];
  output.result(
    { cards: Object.fromEntries(all.map((one) => [one[0], rooflineReport(one)])) },
    text.join("\n"),
  );
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof options> = {
  name: "profile",
  summary: "Shows where the time of a training step goes, kernel by kernel, on random tokens.",
  options,
  examples: [
    "deno task profile",
    "deno task profile --model gpt2-mini --batch-size 8 --optimizer adamw",
    "deno task profile --on h100 --model gpt2 --vocab-size 50257 --seq-len 1024 --batch-size 8",
  ],
  main,
};

if (import.meta.main) await runTask(task);
