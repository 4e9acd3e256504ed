/**
 * `deno task train-lm`: trains a language model on text, from a corpus to a sample.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { latestCheckpoint, readRunFile } from "../checkpoint/run/run_folder.ts";
import { readCheckpoint } from "../checkpoint/run/training_state.ts";
import { DEFAULT_ENCODING } from "../data/bytes/decode.ts";
import { DEFAULT_TEXT_FIELD } from "../data/formats/rows.ts";
import type { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import { holdFolder } from "../files/lock_file.ts";
import { requestGpu } from "../gpu/device.ts";
import type { LanguageModel } from "../models/model.ts";
import { evaluationRecord } from "../training/evaluation.ts";
import { Generator } from "../training/generate/generation.ts";
import {
  createProgress,
  formatCount,
  formatDuration,
  type Progress,
  stderrWriter,
} from "../training/progress.ts";
import { declareParameters } from "../training/run/load_weights.ts";
import { describe, trainRun } from "../training/run/run.ts";
import { checkSameRun, RUN_VERSION, type RunConfig, type RunLora } from "../training/run/config.ts";
import { runModel } from "../training/run/model.ts";
import { runOptimizer } from "../training/run/optimizer.ts";
import { claimFolder } from "./command/claim_folder.ts";
import { runTask, type TaskContext, UsageError } from "./command/command_line.ts";
import { openEmbeddings } from "./train/embedding_options.ts";
import { openInitialWeights, readInitialModel } from "./train/init_from.ts";
import { watchInterrupts } from "./command/interrupts.ts";
import { askedAdapter } from "./train/lora_options.ts";
import { prepareData } from "./train/prepare_data.ts";
import { sayAdapter, withFastestKernels } from "./train/fastest_kernels.ts";
import {
  askedModel,
  configKeys,
  newConfig,
  trainLmOptions,
  type TrainLmValues,
  withEmptyResume,
} from "./train/train_lm_options.ts";

async function main(values: TrainLmValues, { given, output }: TaskContext): Promise<void> {
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
  if (given.has("initFrom") && given.has("model")) {
    throw new UsageError("--init-from and --model both say which model to train; give one of them");
  }
  if (given.has("initFrom") && given.has("embeddingsFrom")) {
    throw new UsageError(
      "--init-from and --embeddings-from both say where the embeddings come from; give one of them",
    );
  }
  if (given.has("validationData") && given.has("validationFraction")) {
    throw new UsageError("--validation-data and --validation-fraction both say what is held out; give one");
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

  const draft = recorded
    ? movedBase(
      { textField: DEFAULT_TEXT_FIELD, encoding: DEFAULT_ENCODING, ...(recorded.config as RunConfig) },
      values.base,
    )
    : await newConfig(values, await readInitialModel(values, given));
  if (recorded) {
    const asked = Object.entries({ ...values, freezeEmbeddings: values.freezeEmbeddings || undefined })
      .filter(([key]) => given.has(key) && configKeys.has(key));
    checkSameRun(draft as unknown as Record<string, unknown>, Object.fromEntries(asked));
    checkSameRun(draft.model, await askedModel(values, given, draft.model));
    checkSameRun({ ...draft.lora }, askedAdapter(values, given, draft.model));
  }
  runOptimizer(draft); // hyper-parameters out of range are found before any work
  const probe = resuming ? undefined : await claimFolder(runDir);
  try {
    using _lock = await holdFolder(runDir, "the run folder");
    const gpu = await requestGpu();
    try {
      sayAdapter(gpu, say);
      const prepared = await prepareData(draft, { ...values, runDir, checkpoint: existing?.path, say });
      const { tokenizer } = prepared;
      using dataset = prepared.dataset;
      const steps = given.has("steps")
        ? values.steps
        : values.epochs !== undefined
        ? epochSteps(values.epochs, dataset.train.length, draft)
        : draft.steps;
      const warmup = values.warmup ?? (recorded ? draft.warmup : Math.round(steps * 0.05));
      // The embedding of a model that was trained before may have more rows than there are tokens.
      const vocabSize = draft.initFrom === undefined ? tokenizer.vocabSize : draft.vocabSize;
      const model = runModel(draft, vocabSize);
      const keys = draft.initFrom === undefined ? { ...model.config } : { ...draft.model, ...model.config };
      // A resumed run needs as little memory as before unless it is told otherwise.
      const recompute = given.has("recompute") ? values.recompute : draft.recompute;
      const untuned: RunConfig = {
        ...draft,
        steps,
        warmup,
        recompute,
        model: keys,
      };
      const tune = values.autotune && !recorded;
      const config = tune ? await withFastestKernels(gpu, untuned, model, values.cache, say) : untuned;
      using checkpoint = existing ? await readCheckpoint(existing.path) : undefined;
      if (checkpoint) say(`resuming ${runDir} at step ${checkpoint.state.step}`);
      using weights = await openInitialWeights(draft, checkpoint !== undefined);
      const { initial, base } = weights;
      if (initial) say(`starting from the weights of ${draft.initFrom}`);
      using embeddings = checkpoint ? undefined : await openEmbeddings(draft, vocabSize);
      if (embeddings) say(`starting from the embeddings of ${draft.embeddingsFrom}`);
      if (draft.freezeEmbeddings) say(describeFrozen(model));
      if (draft.lora) say(describeLora(draft.lora));
      const source = [initial, base].find((f) => f && draft.tokenizer === join(f.path, "tokenizer.json"));
      const chatTemplate = (checkpoint?.model ?? source)?.chatTemplate ?? undefined;
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
          chatTemplate,
          dataset,
          checkpoint,
          initial,
          embeddings,
          base,
          progress,
          interrupted: () => interrupts.requested,
          intervals: {
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
        const { evaluation, step, interrupted, best, tokensPerSecond, dataWaitShare } = result;
        const seconds = (performance.now() - started) / 1000;
        say(
          `${interrupted ? "stopped" : "done"} at step ${step} after ${formatDuration(seconds)}: validation ${
            describe(evaluation)
          }`,
        );
        say(`checkpoint: ${result.checkpoint}`);
        say(`waiting for data: ${(100 * dataWaitShare).toFixed(2)}% of the time of training`);
        if (interrupted) {
          say(`go on with: deno task train-lm --resume ${runDir}`);
          Deno.exitCode = interrupts.exitCode;
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
            best: best ?? null,
            tokens_per_second: tokensPerSecond,
            data_wait_share: dataWaitShare,
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

/** The configuration with the model of its LoRA in another folder, if one is given. */
function movedBase(config: RunConfig, base: string | undefined): RunConfig {
  if (base === undefined) return config;
  if (config.lora) return { ...config, lora: { ...config.lora, base_model_name_or_path: base } };
  throw new UsageError(
    "--base says where the model of an adapter is, but this run trains none; leave it out",
  );
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
  model: LanguageModel,
  trainer: Awaited<ReturnType<typeof trainRun>>["trainer"],
  tokenizer: Tokenizer,
  values: TrainLmValues,
): Promise<string> {
  const generator = await Generator.create(gpu, model, trainer.parameters);
  const prompt = tokenizer.encode(values.prompt);
  const ids = await generator.generate(prompt, { maxTokens: values.sampleTokens, seed: values.seed });
  generator.destroy();
  return tokenizer.decode([...prompt, ...ids], { skipSpecialTokens: true });
}

function describeLora({ r, lora_alpha, target_modules, base_model_name_or_path: base }: RunLora): string {
  return `training a LoRA of rank ${r} and alpha ${lora_alpha} on ${
    target_modules.join(", ")
  } of ${base}, which stays ` +
    "as it is";
}

function describeFrozen(model: LanguageModel): string {
  const { count, trainableCount } = declareParameters(model);
  return `embeddings stay as they are: ${formatCount(trainableCount)} of ${
    formatCount(count)
  } parameters are trained`;
}

function epochSteps(epochs: number, tokens: number, { seqLen, batchSize, gradAccum }: RunConfig): number {
  return Math.max(1, Math.ceil(epochs * Math.floor((tokens - 1) / seqLen) / (batchSize * gradAccum)));
}

function defaultName({ model, optimizer, initFrom }: TrainLmValues): string {
  const date = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  const name = initFrom !== undefined
    ? basename(initFrom) || "model"
    : model.endsWith(".json")
    ? dirname(model).split("/").pop() || "model"
    : model;
  return `${name}-${optimizer ?? (initFrom === undefined ? "koala++" : "tuned")}-${date}`;
}

if (import.meta.main) {
  await runTask({
    name: "train-lm",
    summary:
      "Trains a GPT, GPT-2 or Llama on text with KOALA++ on WebGPU, saves Hugging Face checkpoints and prints a sample.",
    options: trainLmOptions,
    examples: [
      "deno task train-lm",
      "deno task train-lm --data books/ --model gpt2-mini --steps 2000 --out runs/books",
      "deno task train-lm --init-from models/gpt2 --data books/ --out runs/tuned",
      "deno task train-lm --init-from models/gpt2 --lora-rank 8 --data books/ --out runs/adapter",
      "deno task train-lm --resume runs/books",
    ],
    main,
  }, withEmptyResume(Deno.args));
}
