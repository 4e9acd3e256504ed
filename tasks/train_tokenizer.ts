/**
 * `deno task train-tokenizer`: trains a byte-level BPE tokenizer on text.
 *
 * @module
 */
import { writeTextAtomically } from "../files/atomic_file.ts";
import { END_OF_TEXT, TOKENIZER_FILE } from "../files/hugging_face_names.ts";
import { checkSpecialTokens, checkVocabSize, trainBpe } from "../data/tokenizer/bpe_trainer.ts";
import { formatTokenizerJson } from "../data/tokenizer/tokenizer_json.ts";
import { countWords, DEFAULT_MAX_WORDS } from "../data/tokenizer/word_counts.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
  usage,
} from "./command/command_line.ts";
import { DATA_GROUP as group, dataChoice, openData, sourceOptions } from "./data/data_options.ts";
import { dataProgress } from "./data/data_progress.ts";

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
  "special-tokens": {
    type: "string",
    multiple: true,
    placeholder: "TOKEN",
    group,
    description: `tokens that are never split, such as "<|user|>"; ${END_OF_TEXT}, which ends a text, ` +
      "comes before them unless it is among them",
  },
  "max-words": {
    type: "integer",
    min: 1,
    max: 16_000_000,
    default: DEFAULT_MAX_WORDS,
    group,
    description: "different words to count at most, for about 800 bytes of memory each; of more, the " +
      "rarest are dropped, and that is said",
  },
  "out": {
    type: "string",
    default: TOKENIZER_FILE,
    placeholder: "FILE",
    group,
    description: "file to write",
  },
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  const { vocabSize, minFrequency, specialTokens: asked, maxWords, out } = values;
  const specialTokens = asked.includes(END_OF_TEXT) ? asked : [END_OF_TEXT, ...asked];
  const data = openData(dataChoice(values));
  usage("--special-tokens", () => checkSpecialTokens(specialTokens));
  usage("--vocab-size", () => checkVocabSize(vocabSize, specialTokens));
  const progress = dataProgress(output);
  const { counts, documents, bytes } = await countWords(data.corpus, {
    maxWords,
    onProgress: progress.reading,
  });
  progress.clear();
  data.sayReport(output.say);
  output.say(`read: ${bytes} bytes in ${documents} documents, ${counts.size} different words`);
  if (counts.dropped > 0) {
    output.say(
      `dropped: ${counts.dropped} occurrences of the rarest words, as there are more than --max-words ${maxWords}`,
    );
  }
  const json = await trainBpe(counts, {
    vocabSize,
    minFrequency,
    specialTokens,
    onProgress: progress.merging,
  });
  progress.clear();
  const size = Object.keys(json.model.vocab).length;
  await writeTextAtomically(out, formatTokenizerJson(json));
  output.say(`${out}: ${size} token ids${size < vocabSize ? "; there is nothing more to merge" : ""}`);
  output.result({ out, vocab_size: size, documents, bytes, words: counts.size, dropped: counts.dropped });
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof options> = {
  name: "train-tokenizer",
  summary: "Trains a byte-level BPE tokenizer on all of the text, in one pass; the same as Hugging Face's " +
    "trainer gives.",
  options,
  examples: [
    "deno task train-tokenizer --data books/ --vocab-size 8192 --out tokenizer.json",
    "deno task train-tokenizer --data -.jsonl --special-tokens '<|user|>' '<|bot|>' < dump.jsonl.gz",
  ],
  main,
};

if (import.meta.main) await runTask(task);
