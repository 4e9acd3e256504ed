/**
 * `deno task train-lm`: trains a language model on text, from a corpus to a sample.
 *
 * @module
 */
import { holdFolder } from "../files/lock_file.ts";
import type { ParameterStore } from "../gpu/parameters.ts";
import { requirePrecision } from "../gpu/precision/precision.ts";
import { evaluationRecord } from "../training/evaluation.ts";
import { boundaryIds, sampleText } from "../training/generate/text_generation.ts";
import { formatDuration } from "../training/progress.ts";
import { describe, type RunOptions, startRun } from "../training/run/run.ts";
import { claimFolder, claimNewFolder } from "./command/claim_folder.ts";
import {
  explainError,
  runTask,
  type Task,
  type TaskContext,
  type TaskOutput,
} from "./command/command_line.ts";
import { asTyped } from "./command/commands.ts";
import { watchInterrupts } from "./command/interrupts.ts";
import { sayAdapter } from "./train/fastest_kernels.ts";
import { type Outcome, runDisplay } from "./train/follow_run.ts";
import { runOptions } from "./train/run_options.ts";
import { trainLmOptions, type TrainLmValues, withEmptyResume } from "./train/train_lm_options.ts";
import { type WhichRun, whichRun } from "./train/which_run.ts";
import { openGpu } from "./gpu/open_gpu.ts";

async function main(values: TrainLmValues, { given, output }: TaskContext): Promise<void> {
  const which = await whichRun(values, given);
  if (which.resuming) return await trainIn(which.runDir, which, values, { given, output });
  const claimed = await (which.isDefaultDir ? claimNewFolder : claimFolder)(which.runDir);
  try {
    await trainIn(claimed.dir, which, values, { given, output });
  } catch (error) {
    await claimed.release();
    throw error;
  }
}

async function trainIn(
  runDir: string,
  which: WhichRun,
  values: TrainLmValues,
  { given, output }: TaskContext,
): Promise<void> {
  const started = performance.now();
  const say = (line: string) => output.say(line);
  using resources = new DisposableStack();
  const lock = resources.use(await holdFolder(runDir, "the run folder"));
  const gpu = resources.adopt(await openGpu(values.gpu), (gpu) => gpu.destroy());
  requirePrecision(gpu.profile, which.draft.precision ?? "f32");
  sayAdapter(gpu, say);
  const options = await runOptions({ which, runDir, values, given, gpu, resources, say });
  using interrupts = watchInterrupts(() =>
    say("stopping after this step and saving; once more to stop at once")
  );
  const { follow, onEvaluation } = runDisplay(options.config.steps, values.logEvery, say);
  using run = await startRun({ ...options, lock, onEvaluation });
  const outcome = await follow(run.train(interrupts.signal));
  if (outcome.end.stopped) Deno.exitCode = interrupts.exitCode;
  const sample = outcome.end.stopped || values.sampleTokens === 0
    ? undefined
    : await sampleOf({ ...options, parameters: run.trainer.parameters }, values, interrupts.signal, say);
  const seconds = (performance.now() - started) / 1000;
  tell({ runDir, outcome, sample, seconds, prompt: values.prompt }, output);
}

/** Generates the sample; the run is done, whatever comes of it. */
async function sampleOf(
  { gpu, model, config, tokenizer, parameters }: RunOptions & { parameters: ParameterStore },
  { prompt, sampleTokens: maxTokens, seed }: TrainLmValues,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<string | undefined> {
  const ends = boundaryIds({ generationConfig: null, config: config.model }, tokenizer);
  try {
    const request = { prompt, maxTokens, seed, signal, ...ends };
    return await sampleText(gpu, model, parameters, tokenizer, request);
  } catch (error) {
    say(`no sample: ${explainError(error)}`);
    return undefined;
  }
}

/** Says how the run went, in lines and as JSON. */
function tell(
  { runDir, outcome: { end, evaluation }, sample, seconds, prompt }: {
    runDir: string;
    outcome: Outcome;
    sample: string | undefined;
    seconds: number;
    prompt: string;
  },
  output: TaskOutput,
): void {
  const { step, stopped, best, checkpoint, tokensPerSecond, dataWaitShare } = end;
  const found = evaluation ? `: validation ${describe(evaluation)}` : "";
  output.say(`${stopped ? "stopped" : "done"} at step ${step} after ${formatDuration(seconds)}${found}`);
  output.say(`checkpoint: ${checkpoint}`);
  output.say(`waiting for data: ${(100 * dataWaitShare).toFixed(2)}% of the time of training`);
  if (stopped) output.say(`go on with: ${asTyped("deno task train-lm")} --resume ${runDir}`);
  if (sample !== undefined) output.say(`\n${sample}\n`);
  if (!stopped) {
    output.say(`more: ${asTyped("deno task generate")} --checkpoint ${checkpoint} --prompt "${prompt}"`);
  }
  if (!output.json) return;
  output.result({
    run: runDir,
    checkpoint,
    step,
    interrupted: stopped,
    validation: evaluation ? evaluationRecord(evaluation) : null,
    best: best ?? null,
    tokens_per_second: tokensPerSecond,
    data_wait_share: dataWaitShare,
    seconds,
    sample: sample ?? null,
  });
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof trainLmOptions> = {
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
  rewrite: withEmptyResume,
  main,
};

if (import.meta.main) await runTask(task);
