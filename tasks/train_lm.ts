/**
 * `deno task train-lm`: trains a language model on text, from a corpus to a sample.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { readModelFolder } from "../checkpoint/hugging_face.ts";
import { latestCheckpoint, readRunFile } from "../checkpoint/run_folder.ts";
import { readCheckpoint } from "../checkpoint/training_state.ts";
import { readJsonFile } from "../checkpoint/json_file.ts";
import { DEFAULT_SOURCE } from "../data/corpus.ts";
import { DEFAULT_VALIDATION_FRACTION } from "../data/split.ts";
import { checkDataset, prepareTokens, trainOrLoadTokenizer } from "../data/token_dataset.ts";
import { loadTokenizer, Tokenizer } from "../data/tokenizer.ts";
import { requestGpu } from "../gpu/device.ts";
import { gpt2Presets } from "../models/gpt2.ts";
import { modelFromConfig } from "../models/load.ts";
import { SCHEDULE_KINDS, type ScheduleKind } from "../optim/schedule.ts";
import { evaluationRecord } from "../training/evaluation.ts";
import { Generator } from "../training/generation.ts";
import {
  createProgress,
  formatCount,
  formatDuration,
  type Progress,
  stderrWriter,
} from "../training/progress.ts";
import { describe, trainRun } from "../training/run.ts";
import {
  checkSameRun,
  OPTIMIZERS,
  RUN_VERSION,
  type RunConfig,
  runOptimizer,
} from "../training/run_config.ts";
import { jsonOption, type OptionValues, runTask, type TaskContext, UsageError } from "./command_line.ts";
import { watchInterrupts } from "./interrupts.ts";

const DATA = "Data and tokenizer";
const MODEL = "Model and batches";
const OPTIM = "Optimizer";
const RUN = "Run";

const options = {
  "data": {
    type: "string",
    multiple: true,
    placeholder: "PATH",
    group: DATA,
    description: `text files, folders or globs (default: ${DEFAULT_SOURCE}, 18 books)`,
  },
  "validation-fraction": {
    type: "number",
    above: 0,
    below: 1,
    default: DEFAULT_VALIDATION_FRACTION,
    group: DATA,
    description: "share of the text that is held out",
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
  "model": {
    type: "string",
    placeholder: "NAME",
    default: "gpt2-nano",
    group: MODEL,
    description: `${Object.keys(gpt2Presets).join(", ")}, or a config.json`,
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
  "dropout": {
    type: "number",
    min: 0,
    below: 1,
    group: MODEL,
    description: "dropout everywhere in the model",
  },
  "optimizer": {
    type: "choice",
    choices: OPTIMIZERS,
    default: "koala++",
    group: OPTIM,
    description: "optimizer",
  },
  "koala-scope": {
    type: "choice",
    choices: ["hidden", "all"],
    default: "hidden",
    group: OPTIM,
    description: "what KOALA++ trains: the hidden weight matrices, with AdamW for the rest, or all",
  },
  "lr": {
    type: "number",
    above: 0,
    group: OPTIM,
    description: "peak learning rate (default: koala++ 0.02, adamw 0.003, sgd 0.1)",
  },
  "adamw-lr": {
    type: "number",
    above: 0,
    default: 0.006,
    group: OPTIM,
    description: "peak learning rate of the AdamW part beside KOALA++",
  },
  "weight-decay": {
    type: "number",
    min: 0,
    group: OPTIM,
    description: "weight decay (default: adamw 0.1, others 0)",
  },
  "sigma": { type: "number", min: 0, default: 0.1, group: OPTIM, description: "KOALA++'s initial variance" },
  "q": { type: "number", min: 0, default: 0.1, group: OPTIM, description: "KOALA++'s process noise" },
  "r": {
    type: "number",
    min: 0,
    choices: ["variance", "second-moment"],
    default: "variance",
    group: OPTIM,
    description: "KOALA++'s measurement noise",
  },
  "symmetric": {
    type: "boolean",
    default: true,
    group: OPTIM,
    description: "KOALA++'s symmetric variant; --no-symmetric for the vanilla one",
  },
  "schedule": {
    type: "choice",
    choices: SCHEDULE_KINDS,
    default: "warmup-cosine",
    group: OPTIM,
    description: "learning rate over the run",
  },
  "warmup": {
    type: "integer",
    min: 0,
    group: OPTIM,
    description: "steps of warm-up (default: 5% of the steps)",
  },
  "min-lr-ratio": {
    type: "number",
    min: 0,
    max: 1,
    default: 0.1,
    group: OPTIM,
    description: "last learning rate as a share of the peak",
  },
  "clip": {
    type: "number",
    min: 0,
    default: 1,
    group: OPTIM,
    description: "largest gradient norm; 0 for none",
  },
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
    description: "batches per evaluation on the way; 0 for all held-out text, which the end always takes",
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
  "json": jsonOption,
} as const;

type Values = OptionValues<typeof options>;

/** Keys of the configuration by the options that set them; what is not given may differ when resuming. */
const configKeys = new Set([
  "data",
  "validationFraction",
  "tokenizer",
  "vocabSize",
  "seqLen",
  "batchSize",
  "gradAccum",
  "optimizer",
  "koalaScope",
  "lr",
  "adamwLr",
  "weightDecay",
  "sigma",
  "q",
  "r",
  "symmetric",
  "schedule",
  "warmup",
  "minLrRatio",
  "clip",
  "seed",
]);

const lrDefaults: Readonly<Record<string, number>> = { "koala++": 0.02, adamw: 0.003, sgd: 0.1 };

async function main(values: Values, { given, output }: TaskContext): Promise<void> {
  const started = performance.now();
  const say = (line: string) => output.say(line);
  const resuming = values.resume !== undefined;
  const runDir = values.resume || values.out || join("runs", defaultName(values));
  if (resuming && !values.resume && !values.out) {
    throw new UsageError("--resume without a value needs --out DIR, the folder of the run to go on with");
  }
  if (values.resume && values.out && values.resume !== values.out) {
    throw new UsageError(
      `--resume and --out must name the same folder, got ${values.resume} and ${values.out}`,
    );
  }
  if (given.has("steps") && given.has("epochs")) {
    throw new UsageError("--steps and --epochs both say how long to train; give one of them");
  }
  const existing = await latestCheckpoint(runDir);
  // A run without a checkpoint has nothing to lose.
  if (!resuming && existing) {
    throw new UsageError(
      `${runDir} already holds a run; go on with it by --resume ${runDir}, or use another --out`,
    );
  }
  const recorded = resuming ? await readRunFile(runDir) : undefined;
  if (recorded && recorded.version !== RUN_VERSION) {
    throw new RangeError(`${runDir}/run.json must be of version ${RUN_VERSION}, got ${recorded.version}`);
  }

  const draft = recorded ? (recorded.config as RunConfig) : await newConfig(values);
  if (recorded) {
    const asked = Object.entries(values).filter(([key]) => given.has(key) && configKeys.has(key));
    checkSameRun(draft as unknown as Record<string, unknown>, Object.fromEntries(asked));
    checkSameRun(draft.model, await askedModel(values, given, draft.model.vocab_size));
  }
  runOptimizer(draft); // hyper-parameters out of range are found before any work
  const probe = resuming ? undefined : await claimFolder(runDir);
  try {
    const gpu = await requestGpu();
    try {
      say(
        `adapter: ${gpu.description}${
          gpu.profile.isSoftware ? " (software: runs on the CPU, so it is slow)" : ""
        }`,
      );
      const prepared = await prepare(values, draft, say, existing?.path);
      const { tokenizer, dataset } = prepared;
      const steps = given.has("steps")
        ? values.steps
        : values.epochs !== undefined
        ? epochSteps(values.epochs, dataset.train.length, draft)
        : draft.steps;
      const warmup = values.warmup ?? (recorded ? draft.warmup : Math.round(steps * 0.05));
      const model = modelFromConfig({ ...draft.model, vocab_size: tokenizer.vocabSize });
      const config: RunConfig = { ...draft, steps, warmup, model: { ...model.config } };
      using checkpoint = existing ? await readCheckpoint(existing.path) : undefined;
      if (checkpoint) say(`resuming ${runDir} at step ${checkpoint.state.step}`);
      const interrupts = watchInterrupts(() =>
        say("stopping after this step and saving; once more to stop at once")
      );
      try {
        const progress = progressFor(steps, say);
        const result = await trainRun({
          gpu,
          runDir,
          config,
          model,
          tokenizer,
          dataset,
          checkpoint,
          progress,
          interrupted: () => interrupts.requested,
          rhythm: {
            logEvery: values.logEvery,
            evalEvery: values.evalEvery,
            evalBatches: values.evalBatches,
            saveEvery: values.saveEvery,
            keep: values.keep,
          },
        });
        progress.clear();
        const sample = result.interrupted || values.sampleTokens === 0
          ? undefined
          : await sampleText(gpu, model, result.trainer, tokenizer, values);
        result.trainer.destroy();
        const { evaluation, step, interrupted, best, tokensPerSecond } = result;
        const seconds = (performance.now() - started) / 1000;
        say(
          `${interrupted ? "stopped" : "done"} at step ${step} after ${formatDuration(seconds)}: ${
            describe(evaluation)
          }`,
        );
        say(`checkpoint: ${result.checkpoint}`);
        if (interrupted) {
          say(`go on with: deno task train-lm --resume ${runDir}`);
          Deno.exitCode = 130;
        }
        if (sample !== undefined) say(`\n${sample}\n`);
        if (!interrupted) {
          say(`more: deno task generate --checkpoint ${result.checkpoint} --prompt "${values.prompt}"`);
        }
        if (output.json) {
          output.result({
            run: runDir,
            checkpoint: result.checkpoint,
            step,
            interrupted,
            validation: evaluationRecord(evaluation),
            best,
            tokens_per_second: tokensPerSecond,
            seconds,
            sample: sample ?? null,
          });
        }
      } finally {
        interrupts.close();
      }
    } finally {
      gpu.destroy();
    }
  } catch (error) {
    await probe?.release();
    throw error;
  }
}

/** The configuration that the options ask for. Files it names are read here, so that mistakes show at once. */
async function newConfig(values: Values): Promise<RunConfig> {
  const model = { ...await baseModel(values), ...dropoutKeys(values) };
  // Checked with a stand-in until the tokenizer is known.
  const { maxSeqLen } = modelFromConfig({ ...model, vocab_size: values.vocabSize });
  const seqLen = values.seqLen ?? Math.min(128, maxSeqLen);
  if (seqLen > maxSeqLen) {
    throw new UsageError(`--seq-len must be at most ${maxSeqLen}, the model's n_positions, got ${seqLen}`);
  }
  return {
    data: values.data.length > 0 ? values.data : [DEFAULT_SOURCE],
    validationFraction: values.validationFraction,
    tokenizer: values.tokenizer ?? null,
    vocabSize: values.vocabSize,
    model,
    seqLen,
    batchSize: values.batchSize,
    gradAccum: values.gradAccum,
    steps: values.steps,
    optimizer: values.optimizer,
    koalaScope: values.koalaScope,
    lr: values.lr ?? lrDefaults[values.optimizer],
    adamwLr: values.adamwLr,
    weightDecay: values.weightDecay ?? (values.optimizer === "adamw" ? 0.1 : 0),
    sigma: values.sigma,
    q: values.q,
    r: values.r as RunConfig["r"],
    symmetric: values.symmetric,
    schedule: values.schedule as ScheduleKind,
    warmup: values.warmup ?? Math.round(values.steps * 0.05),
    minLrRatio: values.minLrRatio,
    clip: values.clip,
    seed: values.seed,
  };
}

/** The keys of the model that `--model` names, before any other option. */
async function baseModel(values: Values): Promise<Record<string, unknown>> {
  const isFile = values.model.endsWith(".json");
  if (!isFile && !Object.hasOwn(gpt2Presets, values.model)) {
    throw new UsageError(
      `--model must be one of ${
        Object.keys(gpt2Presets).join(", ")
      } or the path of a config.json, got ${values.model}`,
    );
  }
  return isFile ? await readJsonFile(values.model) : { model_type: "gpt2", ...gpt2Presets[values.model] };
}

/** The model's keys that `--dropout` sets, none without it. */
function dropoutKeys({ dropout }: Values): Record<string, number> {
  return dropout === undefined ? {} : { resid_pdrop: dropout, embd_pdrop: dropout, attn_pdrop: dropout };
}

/** What `--model` and `--dropout` ask of a run that goes on, where they are given. */
async function askedModel(
  values: Values,
  given: ReadonlySet<string>,
  vocabSize: unknown,
): Promise<Record<string, unknown>> {
  if (!given.has("model")) return dropoutKeys(values);
  const { config } = modelFromConfig({ ...await baseModel(values), vocab_size: vocabSize });
  // Dropout may have come from --dropout, which need not be repeated.
  const { resid_pdrop: _r, embd_pdrop: _e, attn_pdrop: _a, ...keys } = { ...config };
  return { ...keys, ...dropoutKeys(values) };
}

/** Tokenizer and token ids; a resumed run takes the tokenizer of its checkpoint. */
async function prepare(values: Values, config: RunConfig, say: (line: string) => void, checkpoint?: string) {
  const shared = {
    sources: config.data,
    validationFraction: config.validationFraction,
    cacheDir: values.cache,
  };
  let tokenizer: Tokenizer;
  if (checkpoint) {
    using folder = await readModelFolder(checkpoint);
    if (folder.tokenizerJson === null) {
      throw new TypeError(`${checkpoint} must hold tokenizer.json to be resumed`);
    }
    tokenizer = Tokenizer.fromJson(JSON.parse(folder.tokenizerJson));
  } else if (config.tokenizer !== null) {
    tokenizer = await loadTokenizer(config.tokenizer);
  } else {
    tokenizer = await trainOrLoadTokenizer({ ...shared, vocabSize: config.vocabSize });
  }
  const dataset = await prepareTokens({ ...shared, tokenizer });
  checkDataset(dataset, config.seqLen);
  const bytes = dataset.trainBytes + dataset.validationBytes;
  say(
    `data: ${formatCount(bytes)} bytes, ${formatCount(dataset.train.length)} tokens to train on, ` +
      `${formatCount(dataset.validation.length)} held out, vocabulary ${tokenizer.vocabSize}` +
      (dataset.cached ? " (from the cache)" : ""),
  );
  return { tokenizer, dataset };
}

/** A live bar on a terminal, a line for each logged step elsewhere. */
function progressFor(steps: number, say: (line: string) => void): Progress {
  const writer = stderrWriter();
  const progress = createProgress({ totalSteps: steps, print: say, writer });
  if (writer.isTerminal) return progress;
  return {
    ...progress,
    update: ({ step, loss, tokensPerSecond }) =>
      say(`step ${step}/${steps}: loss ${loss?.toFixed(4)}, ${formatCount(tokensPerSecond ?? 0)} tokens/s`),
  };
}

async function sampleText(
  gpu: Awaited<ReturnType<typeof requestGpu>>,
  model: ReturnType<typeof modelFromConfig>,
  trainer: Awaited<ReturnType<typeof trainRun>>["trainer"],
  tokenizer: Tokenizer,
  values: Values,
): Promise<string> {
  const generator = await Generator.create(gpu, model, trainer.parameters);
  const prompt = tokenizer.encode(values.prompt);
  const ids = await generator.generate(prompt, { maxTokens: values.sampleTokens, seed: values.seed });
  generator.destroy();
  return tokenizer.decode([...prompt, ...ids], { skipSpecialTokens: true });
}

function epochSteps(epochs: number, tokens: number, { seqLen, batchSize, gradAccum }: RunConfig): number {
  return Math.max(1, Math.ceil(epochs * Math.floor((tokens - 1) / seqLen) / (batchSize * gradAccum)));
}

function defaultName({ model, optimizer }: Values): string {
  const date = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  const name = model.endsWith(".json") ? dirname(model).split("/").pop() || "model" : model;
  return `${name}-${optimizer}-${date}`;
}

/** Makes the run's folder before any work is done, and takes it back if nothing came of it. */
async function claimFolder(dir: string): Promise<{ release(): Promise<void> }> {
  const made = await missingFolders(dir).catch(() => []);
  const release = async () => {
    // Removes only what is empty: a folder with checkpoints stays, and so do those above it.
    for (const folder of made) await Deno.remove(folder).catch(() => {});
  };
  try {
    await Deno.mkdir(dir, { recursive: true });
    const probe = join(dir, ".tmp-probe");
    await Deno.writeTextFile(probe, "");
    await Deno.remove(probe);
  } catch (error) {
    await release();
    throw new Error(`--out must be a folder that can be written, got ${dir}; choose another one`, {
      cause: error,
    });
  }
  return { release };
}

/** The folders on a path that do not exist, innermost first. */
async function missingFolders(dir: string): Promise<string[]> {
  try {
    await Deno.lstat(dir);
    return [];
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const parent = dirname(dir);
    return parent === dir ? [dir] : [dir, ...await missingFolders(parent)];
  }
}

/** Lets `--resume` stand without a value. */
function withEmptyResume(args: readonly string[]): string[] {
  return args.map((arg, i) =>
    arg === "--resume" && (args[i + 1] === undefined || args[i + 1].startsWith("--")) ? "--resume=" : arg
  );
}

if (import.meta.main) {
  await runTask({
    name: "train-lm",
    summary:
      "Trains a GPT-2 on text with KOALA++ on WebGPU, saves Hugging Face checkpoints and prints a sample.",
    options,
    examples: [
      "deno task train-lm",
      "deno task train-lm --data books/ --model gpt2-mini --steps 2000 --out runs/books",
      "deno task train-lm --resume runs/books",
    ],
    main,
  }, withEmptyResume(Deno.args));
}
