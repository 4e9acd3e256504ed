/**
 * The options of `deno task train-lm`, and the configuration that they ask for.
 *
 * @module
 */
import { withoutSecrets } from "../../files/address.ts";
import { readJsonFile } from "../../files/json_file.ts";
import { DEFAULT_VALIDATION_FRACTION } from "../../data/corpus/split.ts";
import type { Precision } from "../../gpu/precision/precision.ts";
import { dropoutKeys, modelFromConfig, modelPresets } from "../../models/load.ts";
import type { ScheduleKind } from "../../optim/schedule.ts";
import type { RunConfig, StepConfig } from "../../training/run/config.ts";
import { gpuOption } from "../gpu/open_gpu.ts";
import { jsonOption, type OptionValues, UsageError } from "../command/command_line.ts";
import { DATA_GROUP as DATA, dataChoice, sourceOptions } from "../data/data_options.ts";
import { embeddingOptions, readEmbeddings } from "./embedding_options.ts";
import type { InitialModel } from "./init_from.ts";
import { loraOptions } from "./lora_options.ts";
import {
  type ChosenOptimizer,
  chosenOptimizer,
  optimizerOptions,
  scheduleOptions,
} from "./optimizer_options.ts";

const MODEL = "Model and batches";
const RUN = "Run";

/** The text and its tokenizer. */
export const dataOptions = {
  ...sourceOptions,
  "data": {
    ...sourceOptions.data,
    description:
      `${sourceOptions.data.description}; .bin files hold token ids, as nanoGPT's do, and need their --tokenizer`,
  },
  "validation-data": {
    type: "string",
    multiple: true,
    placeholder: "PATH",
    group: DATA,
    description: "what to hold out, all text or all .bin as the data are (default: a share of the data)",
  },
  "validation-fraction": {
    type: "number",
    above: 0,
    below: 1,
    default: DEFAULT_VALIDATION_FRACTION,
    group: DATA,
    description: "share of the text that is held out: documents by their content, of .bin files the end",
  },
  "tokenizer": {
    type: "string",
    placeholder: "FILE",
    group: DATA,
    description: "a tokenizer.json to use (default: train one on the data)",
  },
  "vocab-size": {
    type: "integer",
    min: 257,
    default: 2048,
    group: DATA,
    description: "vocabulary of the tokenizer that is trained",
  },
  "cache": {
    type: "string",
    placeholder: "DIR",
    default: ".cache",
    group: DATA,
    description: "folder for trained tokenizers and token ids",
  },
  "no-cache": {
    type: "boolean",
    group: DATA,
    description: "keep neither: token ids lie in the run's folder, without a name, until the run ends",
  },
  "workers": {
    type: "integer",
    min: 0,
    group: DATA,
    description: "threads that tokenise beside the main one (default: one for every core)",
  },
} as const;

/** The model and its batches. */
export const modelOptions = {
  "model": {
    type: "string",
    placeholder: "NAME",
    default: "gpt2-nano",
    group: MODEL,
    description: `${Object.keys(modelPresets).join(", ")}, or a config.json`,
  },
  "seq-len": {
    type: "integer",
    min: 1,
    group: MODEL,
    description: "tokens per sequence (default: 128, or the model's longest if that is shorter)",
  },
  "batch-size": {
    type: "integer",
    min: 1,
    default: 16,
    group: MODEL,
    description: "sequences per micro-batch",
  },
  "grad-accum": { type: "integer", min: 1, default: 1, group: MODEL, description: "micro-batches per step" },
  "recompute": {
    type: "boolean",
    default: false,
    group: MODEL,
    description:
      "compute activations again instead of keeping them: less memory, more time, the same weights; " +
      "may change when resuming",
  },
  "precision": {
    type: "choice",
    choices: ["f32", "f16"],
    default: "f32",
    group: MODEL,
    description:
      "how activations and their gradients are stored: f16 takes half the memory; weights, their " +
      "gradients and the optimizer's state stay f32",
  },
  "dropout": {
    type: "number",
    min: 0,
    below: 1,
    group: MODEL,
    description: "dropout everywhere in a GPT or GPT-2; on the attention weights, its only place, in a Llama",
  },
} as const;

const initOptions = {
  "cross-document": {
    type: "boolean",
    default: true,
    group: MODEL,
    description: "let attention reach over the end of a document into the one before it in the sequence; " +
      "positions count on either way",
  },

  "init-from": {
    type: "string",
    placeholder: "DIR",
    group: MODEL,
    description:
      "a Hugging Face folder: start from its model, weights and tokenizer, instead of --model; or a LoRA adapter's, " +
      "which is trained on",
  },
} as const;

const runOptions = {
  "steps": { type: "integer", min: 1, default: 400, group: RUN, description: "steps of the run" },
  "epochs": { type: "number", above: 0, group: RUN, description: "passes over the data, instead of --steps" },
  "seed": {
    type: "integer",
    min: 0,
    max: 2 ** 31,
    default: 0,
    group: RUN,
    description: "seed of everything random",
  },
  "out": {
    type: "string",
    placeholder: "DIR",
    group: RUN,
    description: "folder of the run (default: runs/ and a name with the date)",
  },
  "resume": {
    type: "string",
    placeholder: "DIR",
    allowEmpty: true,
    group: RUN,
    description: "go on with the run in this folder; without a value, the one in --out",
  },
  "autotune": {
    type: "boolean",
    default: true,
    group: RUN,
    description: "measure which kernels are fastest here, once for all runs; a resumed run keeps its own",
  },
  "log-every": { type: "integer", min: 1, default: 10, group: RUN, description: "steps between metrics" },
  "eval-every": {
    type: "integer",
    min: 0,
    default: 100,
    group: RUN,
    description: "steps between evaluations",
  },
  "eval-batches": {
    type: "integer",
    min: 0,
    default: 20,
    group: RUN,
    description: "batches per evaluation on the way, of --batch-size sequences, or on a GPU of about 2,048 " +
      "tokens if that is more; 0 for all held-out text, which the end always takes",
  },
  "save-every": {
    type: "integer",
    min: 0,
    default: 200,
    group: RUN,
    description: "steps between checkpoints",
  },
  "keep": {
    type: "integer",
    min: 1,
    default: 2,
    group: RUN,
    description: "checkpoints to keep beside the best",
  },
  "prompt": {
    type: "string",
    default: "It was",
    group: RUN,
    description: "beginning of the sample at the end",
  },
  "sample-tokens": { type: "integer", min: 0, default: 120, group: RUN, description: "length of the sample" },
  "gpu": gpuOption,
  "json": jsonOption,
} as const;

/** The options of `train-lm`. */
export const trainLmOptions = {
  ...dataOptions,
  ...modelOptions,
  ...initOptions,
  ...embeddingOptions,
  ...loraOptions,
  ...optimizerOptions,
  ...scheduleOptions,
  ...runOptions,
} as const;

/** Their values. */
export type TrainLmValues = OptionValues<typeof trainLmOptions>;

/** Values of {@linkcode modelOptions}, and the size of the vocabulary. */
export type ModelValues = OptionValues<typeof modelOptions & Pick<typeof dataOptions, "vocab-size">>;

/** Values that decide a configuration, beside those of the optimizer. */
export type ConfigValues =
  & OptionValues<
    & typeof dataOptions
    & typeof modelOptions
    & typeof scheduleOptions
    & Pick<typeof runOptions, "steps" | "seed">
  >
  & Partial<Pick<TrainLmValues, "initFrom" | "crossDocument" | "freezeEmbeddings" | "embeddingsFrom">>;

/**
 * Keys of the configuration that must stay when resuming, by the options that set them; what is not given may
 * differ. Not here: the optimizer (see `checkSameOptimizer`), the length of the run, and `recompute`, which does not
 * change the weights.
 */
export const configKeys = new Set([
  "data",
  "textField",
  "encoding",
  "validationData",
  "validationFraction",
  "tokenizer",
  "vocabSize",
  "initFrom",
  "freezeEmbeddings",
  "embeddingsFrom",
  "seqLen",
  "batchSize",
  "gradAccum",
  "precision",
  "crossDocument",
  "schedule",
  "warmup",
  "minLrRatio",
  "seed",
]);

/** The configuration that the options of `train-lm` ask for. Files it names are read here, so that mistakes show at once. */
export async function newConfig(
  values: TrainLmValues,
  given: ReadonlySet<string>,
  initial?: InitialModel,
): Promise<RunConfig> {
  const purpose = initial?.lora ? "lora" : initial ? "tuning" : "scratch";
  return await configWith(values, chosenOptimizer(values, given, purpose), initial);
}

/** The configuration that options ask for, with an optimizer. */
export async function configWith(
  values: ConfigValues,
  optimizer: ChosenOptimizer,
  initial?: InitialModel,
): Promise<RunConfig> {
  const { freezeEmbeddings, embeddingsFrom } = values;
  if (initial?.lora && freezeEmbeddings) {
    throw new UsageError(
      "--freeze-embeddings has nothing to do beside a LoRA, which leaves all weights as they are; leave it out",
    );
  }
  const step = await stepConfig(values, optimizer, initial?.config);
  const embeddings = embeddingsFrom === undefined
    ? undefined
    : await readEmbeddings(embeddingsFrom, values.tokenizer, step.model);
  const { data, ...reading } = dataChoice(values);
  const heldOut = values.validationData.map(withoutSecrets);
  return {
    data: data.map(withoutSecrets),
    ...reading,
    ...(heldOut.length > 0 ? { validationData: heldOut } : {}),
    validationFraction: values.validationFraction,
    crossDocument: values.crossDocument ?? true,
    tokenizer: values.tokenizer ?? initial?.tokenizer ?? embeddings?.tokenizer ?? null,
    ...step,
    ...(initial ? { initFrom: values.initFrom, initWeights: initial.digest } : {}),
    ...(freezeEmbeddings ? { freezeEmbeddings } : {}),
    ...(embeddings ? { embeddingsFrom, embeddingWeights: embeddings.digest } : {}),
    ...(initial?.lora ? { lora: initial.lora } : {}),
    steps: values.steps,
    schedule: values.schedule as ScheduleKind,
    warmup: values.warmup ?? Math.round(values.steps * 0.05),
    minLrRatio: values.minLrRatio,
    seed: values.seed,
  };
}

/** The part of a configuration that decides what one step computes; `initial` takes the place of `--model`. */
export async function stepConfig(
  values: ModelValues,
  optimizer: ChosenOptimizer,
  initial?: Readonly<Record<string, unknown>>,
): Promise<StepConfig> {
  const base = initial ?? await baseModel(values);
  const model = { ...base, ...askedDropout(values, base) };
  // Checked with a stand-in until the tokenizer is known.
  const vocabSize = initial ? Number(initial.vocab_size) : values.vocabSize;
  const { maxSeqLen } = modelFromConfig({ ...model, vocab_size: vocabSize });
  const seqLen = values.seqLen ?? Math.min(128, maxSeqLen);
  if (seqLen > maxSeqLen) {
    throw new UsageError(
      `--seq-len must be at most ${maxSeqLen}, the model's longest sequence, got ${seqLen}`,
    );
  }
  return {
    vocabSize,
    model,
    seqLen,
    batchSize: values.batchSize,
    gradAccum: values.gradAccum,
    recompute: values.recompute,
    precision: values.precision as Precision,
    ...optimizer,
  };
}

/** The keys of the model that `--model` names, before any other option. */
async function baseModel(values: ModelValues): Promise<Readonly<Record<string, unknown>>> {
  const isFile = values.model.endsWith(".json");
  if (!isFile && !Object.hasOwn(modelPresets, values.model)) {
    throw new UsageError(
      `--model must be one of ${
        Object.keys(modelPresets).join(", ")
      } or the path of a config.json, got ${values.model}`,
    );
  }
  return isFile ? await readJsonFile(values.model) : modelPresets[values.model];
}

/** The model's keys that `--dropout` sets, none without it. */
function askedDropout(
  { dropout }: ModelValues,
  model: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  if (dropout === undefined) return {};
  return Object.fromEntries(dropoutKeys(model).map((key) => [key, dropout]));
}

/** What `--model` and `--dropout` ask of a run that goes on, where they are given. */
export async function askedModel(
  values: TrainLmValues,
  given: ReadonlySet<string>,
  recorded: Readonly<Record<string, unknown>>,
): Promise<Record<string, unknown>> {
  if (!given.has("model")) return askedDropout(values, recorded);
  const { config } = modelFromConfig({ ...await baseModel(values), vocab_size: recorded.vocab_size });
  // Dropout may have come from --dropout, which need not be repeated.
  const unsaid = new Set(dropoutKeys(config));
  const keys = Object.entries(config).filter(([key]) => !unsaid.has(key));
  return { ...Object.fromEntries(keys), ...askedDropout(values, config) };
}

/** Lets `--resume` stand without a value. */
export function withEmptyResume(args: readonly string[]): string[] {
  return args.map((arg, i) =>
    arg === "--resume" && (args[i + 1] === undefined || args[i + 1].startsWith("--")) ? "--resume=" : arg
  );
}
