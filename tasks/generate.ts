/**
 * `deno task generate`: continues prompts with a trained model.
 *
 * @module
 */
import { Generator } from "../training/generate/generation.ts";
import { loadParameters } from "../training/run/load_weights.ts";
import {
  boundaryIds,
  type GeneratedText,
  generateTexts,
  promptIds,
  type TextRequest,
} from "../training/generate/text_generation.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
  UsageError,
} from "./command/command_line.ts";
import { baseOption } from "./model/open_checkpoint.ts";
import { checkpointOption, openTextModel } from "./model/text_model.ts";
import { gpuOption, openGpu } from "./gpu/open_gpu.ts";

/** Texts that are continued side by side at most. */
const SIDE_BY_SIDE = 16;

const options = {
  "checkpoint": checkpointOption,
  "base": baseOption,
  "prompt": {
    type: "string",
    multiple: true,
    allowEmpty: true,
    description:
      'the beginning of a text; may be given many times. The empty one begins a new text. Default: "It was"',
  },
  "prompts-file": {
    type: "string",
    placeholder: "FILE",
    description: "a text file with a prompt on each line",
  },
  "num-samples": {
    type: "integer",
    min: 1,
    default: 1,
    description: "texts for each prompt; the second is the one of --seed plus one, and so on",
  },
  "max-tokens": { type: "integer", min: 1, default: 100, description: "tokens to add at most" },
  "temperature": { type: "number", min: 0, default: 0.8, description: "0 always takes the likeliest token" },
  "top-k": { type: "integer", min: 0, default: 0, description: "only the k likeliest tokens; 0 for all" },
  "top-p": {
    type: "number",
    above: 0,
    max: 1,
    default: 1,
    description: "only the likeliest tokens up to this mass",
  },
  "min-p": {
    type: "number",
    min: 0,
    max: 1,
    default: 0,
    description: "only tokens at least this many times as likely as the likeliest",
  },
  "repetition-penalty": {
    type: "number",
    above: 0,
    default: 1,
    description: "above 1, tokens that occurred before become less likely",
  },
  "stop": {
    type: "string",
    multiple: true,
    description:
      "a string before which a text ends, besides the model's end token; may be given many times, and " +
      "\\n, \\t and \\\\ in it stand for a line break, a tab and a backslash",
  },
  "seed": { type: "integer", min: 0, default: 0, description: "seed of the draws" },
  "gpu": gpuOption,
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  using opened = await openTextModel(values.checkpoint, values.base);
  const { folder, model, tokenizer } = opened;
  const prompts = await readPrompts(values);
  const { startId, stopIds } = boundaryIds(folder, tokenizer);
  const lengths = prompts.map((prompt) => usable(() => promptIds(tokenizer, prompt, startId)).length);
  const stop = values.stop.map(unescaped);
  const requests: TextRequest[] = prompts.flatMap((prompt) =>
    Array.from({ length: values.numSamples }, (_, sample) => ({
      prompt,
      startId,
      stopIds,
      stop,
      maxTokens: values.maxTokens,
      temperature: values.temperature,
      topK: values.topK,
      topP: values.topP,
      minP: values.minP,
      repetitionPenalty: values.repetitionPenalty,
      seed: values.seed + sample,
    }))
  );
  const gpu = await openGpu(values.gpu);
  try {
    const parameters = await loadParameters(gpu, model, folder);
    const longest = lengths.reduce((most, length) => Math.max(most, length), 0) + values.maxTokens;
    const generator = await Generator.create(gpu, model, parameters, {
      batchSize: Math.min(requests.length, SIDE_BY_SIDE),
      contextLength: Math.min(longest, model.maxSeqLen),
    });
    const alone = requests.length === 1 && !output.json;
    if (alone) {
      show(requests[0].prompt);
      requests[0] = { ...requests[0], onText: show };
    }
    const texts = await generateTexts(generator, tokenizer, requests);
    generator.destroy();
    parameters.destroy();
    if (output.json) output.result(document(folder.path, requests, texts));
    else if (alone) show("\n");
    else {
      texts.forEach(({ text }, i) => {
        const sample = values.numSamples > 1 ? `, sample ${i % values.numSamples + 1}` : "";
        const heading = `== prompt ${Math.floor(i / values.numSamples) + 1}${sample} ==`;
        output.say(`${i > 0 ? "\n" : ""}${heading}\n${requests[i].prompt}${text}`);
      });
    }
  } finally {
    gpu.destroy();
  }
}

function show(text: string): void {
  let bytes = new TextEncoder().encode(text);
  while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
}

/** The prompts of the command line, then those of the file. */
async function readPrompts(
  { prompt, promptsFile }: OptionValues<typeof options>,
): Promise<readonly string[]> {
  if (promptsFile === undefined) return prompt.length > 0 ? prompt : ["It was"];
  let text: string;
  try {
    text = await Deno.readTextFile(promptsFile);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new UsageError(`--prompts-file must name a text file, but there is no file ${promptsFile}`, {
      cause,
    });
  }
  const lines = text.split(/\r?\n/).filter((line) => line !== "");
  if (lines.length > 0) return [...prompt, ...lines];
  throw new UsageError(`--prompts-file must hold a prompt on each line, but ${promptsFile} has no text`);
}

/** What is wrong with a prompt is wrong usage. */
function usable<T>(encode: () => T): T {
  try {
    return encode();
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message, { cause: error }) : error;
  }
}

function unescaped(text: string): string {
  return text.replaceAll(
    /\\([nt\\])/g,
    (_, letter: "n" | "t" | "\\") => ({ n: "\n", t: "\t", "\\": "\\" })[letter],
  );
}

/** One text as an object, several in `results`. */
function document(
  checkpoint: string,
  requests: readonly TextRequest[],
  texts: readonly GeneratedText[],
): unknown {
  const results = texts.map(({ text, ids, ended }, i) => {
    const { prompt, seed } = requests[i];
    return { prompt, text, ids, ended, seed };
  });
  return results.length === 1 ? { ...results[0], checkpoint } : { checkpoint, results };
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof options> = {
  name: "generate",
  summary:
    "Continues prompts with a trained model. A text that outgrows the model's context goes on from the last half of " +
    "what the model saw.",
  options,
  examples: [
    'deno task generate --checkpoint runs/books --prompt "Once upon a time" --temperature 0.7',
    "deno task generate --checkpoint runs/books --prompts-file prompts.txt --num-samples 4 --json",
    "deno task generate --checkpoint runs/books --temperature 0 --repetition-penalty 1.2 --stop '\\n\\n'",
  ],
  main,
};

if (import.meta.main) await runTask(task);
