/**
 * `deno task card`: what AMD's own compiler makes of the kernels of a training step, or of decoding, without a card.
 *
 * @module
 */
import {
  jsonOption,
  type OptionValues,
  runTask,
  type TaskContext,
} from "../../tasks/command/command_line.ts";
import { chosenOptimizer, optimizerOptions } from "../../tasks/train/optimizer_options.ts";
import { modelOptions, stepConfig, trainLmOptions } from "../../tasks/train/train_lm_options.ts";
import { modelFromConfig } from "../../models/load.ts";
import { cardRow, formatCardTable } from "./card_table.ts";
import { compileForCard, findDrivers, toSpirv } from "./drivers.ts";
import { decodeKernels, stepKernels } from "./kernels.ts";

const CARD = "Card";

const options = {
  ...modelOptions,
  "model": { ...modelOptions.model, default: "gpt2" },
  "seq-len": { ...modelOptions["seq-len"], default: 1024, description: "tokens per sequence" },
  "batch-size": { ...modelOptions["batch-size"], default: 8 },
  "vocab-size": {
    ...trainLmOptions["vocab-size"],
    default: 50257,
    group: modelOptions.model.group,
    description: "number of token ids",
  },
  ...optimizerOptions,
  "decode": {
    type: "boolean",
    default: false,
    group: CARD,
    description:
      "kernels that add a token to each of --batch-size sequences, at most 32, instead of a step's",
  },
  "family": {
    type: "string",
    placeholder: "NAME",
    default: "navi31",
    group: CARD,
    description:
      "the card's name in Mesa: vega10 (GCN 5), navi10, navi21, navi31 (RDNA 1, 2, 3), gfx1201 (RDNA 4), ...",
  },
  "drivers": {
    type: "string",
    placeholder: "DIR",
    group: CARD,
    description: "where lvp_icd*.json and radeon_icd*.json of Mesa's are (default: where they are installed)",
  },
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { given, output }: TaskContext): Promise<void> {
  const config = await stepConfig(values, chosenOptimizer(values, given));
  const drivers = findDrivers(values.drivers);
  const { batchSize, seqLen, optimizer } = config;
  const kernels = values.decode
    ? decodeKernels(modelFromConfig({ ...config.model, vocab_size: config.vocabSize }), batchSize)
    : stepKernels(config);
  const modules = await toSpirv(drivers, kernels.map(({ code }) => code));
  const { driver, compiled } = await compileForCard(drivers, values.family, modules);
  const rows = kernels.map((kernel, i) => cardRow(kernel, compiled[i]));
  const sum = (key: "dispatches" | "flops" | "bytes") => rows.reduce((total, row) => total + row[key], 0);
  const what = values.decode
    ? `decoding, ${batchSize} sequences`
    : `${batchSize} x ${seqLen} tokens, ${config.precision}, ${optimizer.name}`;
  const text = [
    `${driver.card}, ${driver.version}, Deno ${Deno.version.deno}`,
    `${values.model}, ${what}: ${rows.length} kernels in ` +
    `${sum("dispatches")} dispatches, ${(sum("flops") / 1e12).toFixed(2)} TFLOP, ${
      (sum("bytes") / 1e9).toFixed(1)
    } GB`,
    "",
    formatCardTable(rows),
  ].join("\n");
  output.result({
    card: driver.card,
    driver: driver.version,
    deno: Deno.version.deno,
    model: values.model,
    batch_size: batchSize,
    precision: values.decode ? "f32" : config.precision,
    ...(values.decode ? {} : { seq_len: seqLen, optimizer: optimizer.name }),
    kernels: rows,
  }, text);
}

if (import.meta.main) {
  await runTask({
    name: "card",
    summary:
      "Shows what AMD's own compiler makes of each kernel of a training step or of decoding: registers, spills, waves, the loop that " +
      "multiplies most. Needs no card, but Mesa's drivers for Vulkan, at least 25.0.",
    options,
    examples: [
      "deno task card",
      "deno task card --family vega10",
      "deno task card --decode --batch-size 1",
      "deno task card --model gpt2-mini --seq-len 128 --optimizer adamw --json > card.json",
    ],
    main,
  });
}
