/**
 * Which run `train-lm` is asked for: a new one or one to go on with, in which folder and with which configuration.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { type CheckpointEntry, latestCheckpoint, readRunFile } from "../../checkpoint/run/run_folder.ts";
import { DEFAULT_ENCODING } from "../../data/bytes/decode.ts";
import { DEFAULT_TEXT_FIELD } from "../../data/formats/rows.ts";
import { checkSameRun, type RunConfig } from "../../training/run/config.ts";
import { runOptimizer } from "../../training/run/optimizer.ts";
import { recordedConfig } from "../../training/run/recorded_config.ts";
import { UsageError } from "../command/command_line.ts";
import { readInitialModel } from "./init_from.ts";
import { askedAdapter } from "./lora_options.ts";
import { checkSameOptimizer } from "./optimizer_options.ts";
import { askedModel, configKeys, newConfig, type TrainLmValues } from "./train_lm_options.ts";

/** A run that was asked for. */
export interface WhichRun {
  /** Its folder. */
  readonly runDir: string;
  /** Whether the folder's name was made up here. */
  readonly isDefaultDir: boolean;
  /** Whether it goes on. */
  readonly resuming: boolean;
  /** Its newest checkpoint, where it goes on and has one. */
  readonly existing: CheckpointEntry | null;
  /** Its configuration, as far as it is known without the data. */
  readonly draft: RunConfig;
}

/**
 * Finds out which run is asked for; nothing is written, and mistakes are found before any work.
 *
 * @param values The options.
 * @param given Those that were given.
 * @throws {UsageError} If options contradict each other or the folder holds a run already.
 * @throws {RangeError} If a hyper-parameter is out of range, or a run that goes on would be another.
 * @throws {Error} If a file cannot be read, with what to do about it.
 */
export async function whichRun(values: TrainLmValues, given: ReadonlySet<string>): Promise<WhichRun> {
  checkTogether(values, given);
  const resuming = values.resume !== undefined;
  const named = values.resume || values.out;
  const runDir = named || join("runs", defaultName(values));
  const existing = await latestCheckpoint(runDir);
  // A run without a checkpoint has nothing to lose.
  if (!resuming && existing && named) {
    throw new UsageError(
      `${runDir} already holds a run; go on with it by --resume ${runDir}, or use another --out`,
    );
  }
  const draft = resuming
    ? await sameConfig(runDir, values, given)
    : await newConfig(values, given, await readInitialModel(values, given));
  runOptimizer(draft); // hyper-parameters out of range are found before any work
  return { runDir, isDefaultDir: !named, resuming, existing: resuming ? existing : null, draft };
}

/** Refuses options that say the same twice. */
function checkTogether(values: TrainLmValues, given: ReadonlySet<string>): void {
  if (values.resume === "" && !values.out) {
    throw new UsageError("--resume without a value needs --out DIR, the folder of the run to go on with");
  }
  if (values.resume && values.out && values.resume !== values.out) {
    throw new UsageError(
      `--resume and --out must name the same folder, got ${values.resume} and ${values.out}`,
    );
  }
  const both = (a: string, b: string) => given.has(a) && given.has(b);
  if (both("steps", "epochs")) {
    throw new UsageError("--steps and --epochs both say how long to train; give one of them");
  }
  if (both("initFrom", "model")) {
    throw new UsageError("--init-from and --model both say which model to train; give one of them");
  }
  if (both("initFrom", "embeddingsFrom")) {
    throw new UsageError(
      "--init-from and --embeddings-from both say where the embeddings come from; give one of them",
    );
  }
  if (both("validationData", "validationFraction")) {
    throw new UsageError("--validation-data and --validation-fraction both say what is held out; give one");
  }
}

/** The configuration of a run that goes on, which what is given now must not contradict. */
async function sameConfig(
  runDir: string,
  values: TrainLmValues,
  given: ReadonlySet<string>,
): Promise<RunConfig> {
  const recorded = recordedConfig(await readRunFile(runDir), `${runDir}/run.json`);
  const defaults = { textField: DEFAULT_TEXT_FIELD, encoding: DEFAULT_ENCODING, precision: "f32" as const };
  const draft = movedBase({ ...defaults, ...recorded }, values.base);
  const asked = Object.entries({ ...values, freezeEmbeddings: values.freezeEmbeddings || undefined })
    .filter(([key]) => given.has(key) && configKeys.has(key));
  checkSameRun(draft as unknown as Record<string, unknown>, Object.fromEntries(asked));
  checkSameOptimizer(values, given, draft);
  checkSameRun(draft.model, await askedModel(values, given, draft.model));
  checkSameRun({ ...draft.lora }, askedAdapter(values, given, draft.model));
  return draft;
}

/** The configuration with the model of its LoRA in another folder, if one is given. */
function movedBase(config: RunConfig, base: string | undefined): RunConfig {
  if (base === undefined) return config;
  if (config.lora) return { ...config, lora: { ...config.lora, base_model_name_or_path: base } };
  throw new UsageError(
    "--base says where the model of an adapter is, but this run trains none; leave it out",
  );
}

function defaultName({ model, optimizer, initFrom }: TrainLmValues): string {
  const date = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  const name = initFrom !== undefined
    ? basename(initFrom) || "model"
    : model.endsWith(".json")
    ? dirname(model).split("/").pop() || "model"
    : model;
  return `${name}-${optimizer?.split(":")[0] ?? (initFrom === undefined ? "koala++" : "tuned")}-${date}`;
}
