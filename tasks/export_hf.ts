/**
 * `deno task export-hf`: a checkpoint as a Hugging Face folder to share, with a model card.
 *
 * @module
 */
import { basename, join, resolve } from "node:path";
import { checkEmpty, writeFolderAtomically, writeTextAtomically } from "../files/atomic_file.ts";
import { parseByteSize } from "../files/byte_size.ts";
import { convertTensors } from "../checkpoint/safetensors/convert_tensors.ts";
import { readModelFolder, writeModelFolder } from "../checkpoint/hugging_face.ts";
import { type MetricsRecord, readMetricsFile } from "../checkpoint/run/metrics_file.ts";
import { readRunOf, TRAINING_STATE_FILE } from "../checkpoint/run/run_folder.ts";
import { matchTensors } from "../checkpoint/tensor_names.ts";
import { readTrainingState } from "../checkpoint/run/training_state.ts";
import { modelFromConfig } from "../models/load.ts";
import { declareParameters } from "../training/run/load_weights.ts";
import { lossCurveSvg } from "../training/loss_curve.ts";
import { type CardRun, modelCard } from "../training/model_card.ts";
import { formatCount } from "../training/progress.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
  type TaskOutput,
  usage,
  UsageError,
} from "./command/command_line.ts";
import { baseOption, openCheckpoint } from "./model/open_checkpoint.ts";
import { pushFolder, pushOptions, pushTarget } from "./model/push_to_hub.ts";

const LOSS_CURVE = "loss_curve.svg";

/** The float formats by their short names. */
const FORMATS = {
  f32: { dtype: "F32", torch: "float32" },
  f16: { dtype: "F16", torch: "float16" },
  bf16: { dtype: "BF16", torch: "bfloat16" },
} as const;

const options = {
  "checkpoint": {
    type: "string",
    placeholder: "DIR",
    description:
      "a checkpoint, any Hugging Face folder, a LoRA adapter, or a run's folder for its newest checkpoint (required " +
      "unless a folder is pushed that was exported before)",
  },
  "base": baseOption,
  "out": {
    type: "string",
    required: true,
    placeholder: "DIR",
    description: "the new folder; it must not exist, or be empty",
  },
  "dtype": {
    type: "choice",
    choices: ["f32", "f16", "bf16"],
    default: "f32",
    description: "format of the weights, rounded to nearest",
  },
  "max-shard-size": {
    type: "string",
    placeholder: "SIZE",
    default: "2GB",
    description: "largest weights file, such as 500MB (powers of 1000)",
  },
  "name": { type: "string", description: "the model's name in its card (default: that of the folder)" },
  "license": { type: "string", placeholder: "ID", description: "its licence in the card, such as mit" },
  "dataset": {
    type: "string",
    multiple: true,
    placeholder: "ID",
    description: "a data set on the hub that it was trained on, for the card",
  },
  ...pushOptions,
  "json": jsonOption,
} as const;

/** Options of the folder's content, which a folder that was exported before has already. */
const contentOptions = {
  base: "base",
  dtype: "dtype",
  maxShardSize: "max-shard-size",
  name: "name",
  license: "license",
  dataset: "dataset",
};

type ExportValues = OptionValues<typeof options>;

async function main(values: ExportValues, { given, output }: TaskContext): Promise<void> {
  const target = pushTarget(values);
  const { out, checkpoint } = values;
  if (checkpoint === undefined && target === undefined) {
    throw new UsageError(
      "--checkpoint must be given, or --push-to-hub to push a folder that was exported before",
    );
  }
  const written = checkpoint === undefined
    ? await openExported(out, given)
    : await exportCheckpoint({ ...values, checkpoint }, output);
  const pushed = target && await pushFolder(out, target, output);
  const files = (await Array.fromAsync(Deno.readDir(out), (entry) => entry.name)).sort();
  if (output.json) output.result({ out, ...written, files, ...pushed });
}

/** Checks that a folder is one that this task has made, and so fit to be pushed as it is. */
async function openExported(out: string, given: ReadonlySet<string>): Promise<Record<string, unknown>> {
  const wrong = Object.entries(contentOptions).find(([key]) => given.has(key));
  if (wrong) {
    throw new UsageError(`--${wrong[1]} must come with --checkpoint, since it is of a new folder's content`);
  }
  using folder = await readModelFolder(out);
  const parameters = declareParameters(modelFromConfig(folder.config));
  matchTensors(parameters.all, folder.tensors);
  for (const [file, isThere] of [["README.md", true], [TRAINING_STATE_FILE, false]] as const) {
    const found = await Deno.stat(join(out, file)).then(() => true, orNothing) ?? false;
    if (found === isThere) continue;
    throw new UsageError(
      `--out must be a folder that export-hf has written, but ${out} has ${found ? "a" : "no"} ${file}; ` +
        "give --checkpoint to export it",
    );
  }
  return { parameters: parameters.count };
}

async function exportCheckpoint(
  values: ExportValues & { checkpoint: string },
  output: TaskOutput,
): Promise<Record<string, unknown>> {
  const { out, license, dataset: datasets } = values;
  const maxShardBytes = usage("--max-shard-size", () => parseByteSize(values.maxShardSize));
  if (license !== undefined && !/^[a-z0-9][a-z0-9.-]*$/.test(license)) {
    throw new UsageError(`--license must be an identifier such as mit or apache-2.0, got ${license}`);
  }
  const wrong = datasets.find((id) => !/^[\w.-]+(\/[\w.-]+)?$/.test(id));
  if (wrong !== undefined) throw new UsageError(`--dataset must be a name or owner/name, got ${wrong}`);
  await checkEmpty(out).catch((error) => {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    const remedy = values.pushToHub === undefined ? "" : ", or leave out --checkpoint to push what is there";
    throw new UsageError(`--out: ${error.message}${remedy}`);
  });

  using folder = await openCheckpoint(values.checkpoint, values.base);
  const model = modelFromConfig(folder.config);
  const parameters = declareParameters(model);
  matchTensors(parameters.all, folder.tensors);
  const { dtype, torch } = FORMATS[values.dtype];
  const { torch_dtype: _, ...kept } = folder.config;
  const config = { ...kept, architectures: model.config.architectures, dtype: torch };
  const run = await readCardRun(folder.path);
  const name = values.name ?? basename(resolve(out));
  const curve = lossCurveSvg(run ? [{ name, records: run.records }] : []);

  await writeFolderAtomically(out, async (temporary) => {
    await writeModelFolder(temporary, {
      config,
      tensors: convertTensors(folder, parameters.all.map((p) => p.name), dtype),
      generationConfig: folder.generationConfig ?? undefined,
      tokenizerJson: folder.tokenizerJson ?? undefined,
      tokenizerConfig: folder.tokenizerConfig ?? undefined,
      chatTemplate: folder.chatTemplate ?? undefined,
      maxShardBytes,
    });
    if (curve !== undefined) await writeTextAtomically(join(temporary, LOSS_CURVE), curve);
    const card = modelCard({
      name,
      repo: values.pushToHub,
      config,
      parameters: parameters.count,
      dtype: values.dtype,
      license,
      datasets,
      run,
      evaluation: run?.evaluation,
      lossCurve: curve === undefined ? undefined : LOSS_CURVE,
    });
    await writeTextAtomically(join(temporary, "README.md"), card);
  });

  const names = await Array.fromAsync(Deno.readDir(out), (entry) => entry.name);
  const weights = names.filter((name) => name.endsWith(".safetensors"));
  const what = `${formatCount(parameters.count)} parameters in ${values.dtype}`;
  output.say(`${out}: ${what}, ${weights.length === 1 ? "one file" : `${weights.length} shards`}`);
  if (folder.tokenizerJson === null) output.say("there is no tokenizer in it, since the checkpoint has none");
  return { checkpoint: folder.path, dtype: values.dtype, parameters: parameters.count };
}

interface RunRecord extends CardRun {
  readonly records: readonly MetricsRecord[];
  readonly evaluation?: Readonly<Record<string, unknown>>;
}

/** What is known of the run that a checkpoint belongs to; nothing of a folder that stands for itself. */
async function readCardRun(checkpoint: string): Promise<RunRecord | undefined> {
  const found = await readRunOf(checkpoint);
  const state = await readTrainingState(checkpoint).catch(orNothing);
  if (found === undefined || state === undefined) return undefined;
  const { runDir, run } = found;
  const { step, metrics } = state;
  const all = await readMetricsFile(join(runDir, "metrics.jsonl")).catch(orNothing) ?? [];
  const records = all.filter((record) => record.step <= step);
  // At the end of a run all of the held-out text was evaluated, else a part.
  const final = records.findLast((record) => record.step === step && "final" in record)?.final;
  return {
    config: run.config as Record<string, unknown>,
    adapter: run.adapter as string | undefined,
    step,
    records,
    evaluation: (final ?? metrics.validation) as Record<string, unknown> | undefined,
  };
}

function orNothing(error: unknown): undefined {
  if (error instanceof Deno.errors.NotFound) return undefined;
  throw error;
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof options> = {
  name: "export-hf",
  summary:
    "Writes a checkpoint as a Hugging Face folder to share: weights, tokenizer and a model card. It can " +
    "push the folder to the Hub.",
  options,
  examples: [
    "deno task export-hf --checkpoint runs/books --out exports/books --dtype bf16 --license mit",
    "deno task export-hf --checkpoint models/gpt2-xl --out exports/gpt2-xl --max-shard-size 500MB",
    "HF_TOKEN=hf_... deno task export-hf --checkpoint runs/books --out exports/books --push-to-hub me/books",
  ],
  main,
};

if (import.meta.main) await runTask(task);
