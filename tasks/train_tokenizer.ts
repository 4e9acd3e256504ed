/**
 * `deno task train-tokenizer`: trains a byte-level BPE tokenizer on text.
 *
 * @module
 */
import { writeTextAtomically } from "../checkpoint/atomic_file.ts";
import { trainOrLoadTokenizer } from "../data/token_dataset.ts";
import { formatTokenizerJson } from "../data/tokenizer_json.ts";
import { jsonOption, type OptionValues, runTask, type TaskContext } from "./command_line.ts";
import { DATA_GROUP as group, dataChoice, openData, sourceOptions } from "./data_options.ts";

const options = {
  ...sourceOptions,
  "vocab-size": { type: "integer", min: 257, default: 2048, group, description: "number of token ids" },
  "min-frequency": {
    type: "integer",
    min: 0,
    default: 0,
    group,
    description: "the least count of a pair to be merged",
  },
  "out": {
    type: "string",
    default: "tokenizer.json",
    placeholder: "FILE",
    group,
    description: "file to write",
  },
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  const data = openData(dataChoice(values));
  const tokenizer = await trainOrLoadTokenizer({
    sources: data.corpus,
    vocabSize: values.vocabSize,
    minFrequency: values.minFrequency,
    onProgress: ({ stage, done, total }) => {
      if (done === total) output.say(`${stage}: ${done}`);
    },
  });
  data.sayReport(output.say);
  await writeTextAtomically(values.out, formatTokenizerJson(tokenizer.json));
  output.say(`${values.out}: ${tokenizer.vocabSize} token ids`);
  if (output.json) output.result({ out: values.out, vocab_size: tokenizer.vocabSize });
}

if (import.meta.main) {
  await runTask({
    name: "train-tokenizer",
    summary: "Trains a byte-level BPE tokenizer, the same as Hugging Face's trainer gives.",
    options,
    examples: ["deno task train-tokenizer --data books/ --vocab-size 8192 --out tokenizer.json"],
    main,
  });
}
