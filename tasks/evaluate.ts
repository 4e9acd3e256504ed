/**
 * `deno task evaluate`: loss, perplexity and bits per byte of a model on text.
 *
 * @module
 */
import { readRunOf } from "../checkpoint/run/run_folder.ts";
import { scanCorpus } from "../data/corpus/split.ts";
import { streamTokens } from "../data/tokens/stream.ts";
import { evaluateTokens, type EvaluationProgress, evaluationRecord } from "../training/evaluation.ts";
import { loadParameters } from "../training/run/load_weights.ts";
import { createProgress, formatCount } from "../training/progress.ts";
import { describe } from "../training/run/run.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
  UsageError,
} from "./command/command_line.ts";
import { dataChoice, openData, sourceOptions } from "./data/data_options.ts";
import { baseOption } from "./model/open_checkpoint.ts";
import { checkpointOption, openTextModel, type TextModel } from "./model/text_model.ts";
import { gpuOption, openGpu } from "./gpu/open_gpu.ts";

/** The longest sequences by default, since many a Llama names a length that would take minutes and much memory. */
const DEFAULT_LONGEST = 1024;

const options = {
  "checkpoint": checkpointOption,
  "base": baseOption,
  ...sourceOptions,
  "data": {
    ...sourceOptions.data,
    required: true,
    description: "files, folders or globs as train-lm takes them; all of the text is evaluated, not only a " +
      "held-out part, with an end-of-text token between documents as in training",
  },
  "seq-len": {
    type: "integer",
    min: 1,
    description:
      "tokens per sequence (default: as the checkpoint's run was trained, else the model's longest, " +
      `at most ${DEFAULT_LONGEST})`,
  },
  "stride": {
    type: "integer",
    min: 1,
    description:
      "tokens from one sequence's beginning to the next (default: --seq-len, so that none overlap); " +
      "a smaller one predicts each token once still, but from at least seq-len - stride tokens, and takes " +
      "seq-len / stride times as long",
  },
  "batch-size": { type: "integer", min: 1, default: 8, description: "sequences at a time" },
  "gpu": gpuOption,
  "json": jsonOption,
} as const;

type Values = OptionValues<typeof options>;

async function main(values: Values, { output }: TaskContext): Promise<void> {
  using opened = await openTextModel(values.checkpoint, values.base);
  const { folder, model, tokenizer } = opened;
  const { seqLen, stride } = await sequences(values, opened);
  const gpu = await openGpu(values.gpu);
  try {
    const data = openData(dataChoice(values));
    // What can be read twice is: damage is found before the work, and it is known how much work there is.
    const known = data.corpus.replayable ? await scanCorpus(data.corpus, 0) : undefined;
    if (known) data.sayReport(output.say);
    const size = known ? `${formatCount(known.bytes)} bytes: ` : "";
    output.say(`${size}sequences of ${seqLen} tokens, stride ${stride}`);
    const parameters = await loadParameters(gpu, model, folder);
    const watch = progressBar(known?.bytes);
    const ids = streamTokens(data.corpus, { tokenizer, bytes: known?.bytes });
    const evaluation = await evaluateTokens(gpu, model, parameters, ids, {
      seqLen,
      stride,
      batchSize: values.batchSize,
      byteLengths: tokenizer.byteLengths,
      onProgress: watch.update,
    }).finally(watch.clear);
    parameters.destroy();
    if (!known) data.sayReport(output.say);
    if (!Number.isFinite(evaluation.loss)) {
      throw new RangeError(
        `The loss must be a number, got ${evaluation.loss}: the weights of ${folder.path} are broken, or too large for f32`,
      );
    }
    const document = { ...evaluationRecord(evaluation), seq_len: seqLen, stride, checkpoint: folder.path };
    output.result(document, `${describe(evaluation)} over ${evaluation.tokens} predicted tokens`);
  } finally {
    gpu.destroy();
  }
}

/** Length and stride of the sequences. */
async function sequences(
  values: Values,
  { folder, model: { maxSeqLen } }: TextModel,
): Promise<{ seqLen: number; stride: number }> {
  const config = (await readRunOf(folder.path))?.run.config as { seqLen?: unknown } | undefined;
  const trained = Number.isSafeInteger(config?.seqLen) ? config!.seqLen as number : DEFAULT_LONGEST;
  const { seqLen = Math.min(maxSeqLen, trained) } = values;
  if (seqLen > maxSeqLen) {
    throw new UsageError(
      `--seq-len must be at most ${maxSeqLen}, the model's longest sequence, got ${seqLen}`,
    );
  }
  const { stride = seqLen } = values;
  if (stride > seqLen) {
    throw new UsageError(
      `--stride must be at most the sequence length ${seqLen}, or tokens between sequences would be left out, got ${stride}`,
    );
  }
  return { seqLen, stride };
}

/** A bar on a terminal, of bytes where it is known how many there are and else of tokens; nothing elsewhere. */
function progressBar(totalBytes: number | undefined) {
  let bar: ReturnType<typeof createProgress> | undefined;
  const started = performance.now();
  return {
    update({ bytes, tokens, loss }: EvaluationProgress) {
      bar ??= createProgress({ totalSteps: totalBytes });
      const tokensPerSecond = tokens / (performance.now() - started) * 1000;
      bar.update({ step: totalBytes === undefined ? tokens : bytes, loss, tokensPerSecond });
    },
    clear: () => bar?.clear(),
  };
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof options> = {
  name: "evaluate",
  summary:
    "Measures how well a model predicts text: loss in nats per token, perplexity, and bits per byte of text.",
  options,
  examples: [
    "deno task evaluate --checkpoint runs/books --data held-out.txt",
    "deno task evaluate --checkpoint models/gpt2 --data wiki/ --stride 512 --json",
    "zcat dump.jsonl.gz | deno task evaluate --checkpoint runs/books --data -.jsonl",
  ],
  main,
};

if (import.meta.main) await runTask(task);
