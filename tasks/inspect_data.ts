/**
 * `deno task inspect-data`: what is in a corpus, before training on it.
 *
 * @module
 */
import { trainBpe } from "../data/tokenizer/bpe_trainer.ts";
import { type CorpusReport, describeRejected } from "../data/corpus/corpus.ts";
import { type CorpusInspection, inspectCorpus } from "../data/corpus/inspect.ts";
import { loadTokenizer } from "../data/tokenizer/load_tokenizer.ts";
import { Tokenizer } from "../data/tokenizer/tokenizer.ts";
import { countWords } from "../data/tokenizer/word_counts.ts";
import { barOf } from "../training/progress.ts";
import { align } from "./command/align.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
  UsageError,
} from "./command/command_line.ts";
import {
  DATA_GROUP as group,
  dataChoice,
  openData,
  type OpenedData,
  sourceOptions,
} from "./data/data_options.ts";
import { dataProgress, type ProgressLine } from "./data/data_progress.ts";

const options = {
  ...sourceOptions,
  "tokenizer": {
    type: "string",
    placeholder: "FILE",
    group,
    description:
      "a tokenizer.json; without it and --vocab-size, lengths are in bytes and no sequence is shown",
  },
  "vocab-size": {
    type: "integer",
    min: 257,
    group,
    description:
      "train a tokenizer of so many ids on the data first; not with standard input, read once only",
  },
  "sequences": {
    type: "integer",
    min: 0,
    default: 3,
    group,
    description: "how many sequences to show, decoded: the first, packed as for training, but not shuffled",
  },
  "seq-len": { type: "integer", min: 1, default: 128, group, description: "tokens in a sequence" },
  "json": jsonOption,
} as const;

type Values = OptionValues<typeof options>;

async function main(values: Values, { output }: TaskContext): Promise<void> {
  if (values.tokenizer !== undefined && values.vocabSize !== undefined) {
    throw new UsageError("--tokenizer and --vocab-size both say how to tokenise; give one of them");
  }
  const data = openData(dataChoice(values));
  if (values.vocabSize !== undefined && !data.corpus.replayable) {
    throw new UsageError(
      "--vocab-size must read the data twice, and standard input can be read once: " +
        "give a --tokenizer, which train-tokenizer makes, or files",
    );
  }
  const progress = dataProgress(output);
  const tokenizer = await chooseTokenizer(values, data, progress);
  const { sequences, seqLen } = values;
  const found = await inspectCorpus(data.corpus, {
    tokenizer,
    sequences,
    seqLen,
    onProgress: progress.reading,
  });
  progress.clear();
  output.result(document(found, data.report(), tokenizer), table(found, data, tokenizer).join("\n"));
}

async function chooseTokenizer(
  { tokenizer, vocabSize }: Values,
  { corpus }: OpenedData,
  progress: ProgressLine,
): Promise<Tokenizer | undefined> {
  if (tokenizer !== undefined) return await loadTokenizer(tokenizer);
  if (vocabSize === undefined) return undefined;
  const { counts } = await countWords(corpus, { onProgress: progress.reading });
  return Tokenizer.fromJson(await trainBpe(counts, { vocabSize, onProgress: progress.merging }));
}

/** The result for programs. */
function document(found: CorpusInspection, report: CorpusReport | undefined, tokenizer?: Tokenizer) {
  const { documents, bytes, tokens, duplicates } = found;
  return {
    documents,
    bytes,
    vocab_size: tokenizer?.vocabSize ?? null,
    used_ids: found.usedIds,
    tokens,
    bytes_per_token: tokens === null ? null : bytes / tokens,
    duplicates: {
      ...duplicates,
      documents_share: duplicates.documents / documents,
      bytes_share: duplicates.bytes / bytes,
    },
    lengths: found.lengths,
    sources: found.sources,
    rejected: {
      rows: report?.rejected ?? 0,
      reasons: [...report?.reasons ?? []].map(([reason, rest]) => ({ reason, ...rest })),
    },
    sequences: found.sequences,
  };
}

/** The result for people. */
function table(found: CorpusInspection, { report, sayReport }: OpenedData, tokenizer?: Tokenizer): string[] {
  const { documents, bytes, tokens, duplicates, lengths } = found;
  const size = (name: string, s: Omit<CorpusInspection["sources"][number], "name">) => [
    name,
    String(s.documents),
    String(s.bytes),
    ...(s.tokens === null ? [] : [String(s.tokens), ratio(s.bytes, s.tokens)]),
  ];
  const head = ["source", "documents", "bytes", ...(tokens === null ? [] : ["tokens", "bytes/token"])];
  const sums = found.sources.length > 1 ? [size("all", { documents, bytes, tokens })] : [];
  const mixture: string[] = [];
  sayReport((line) => line.startsWith("left out") || mixture.push(line));
  const rejected = report();
  return [
    ...align([head, ...found.sources.map((source) => size(source.name, source)), ...sums], 1),
    ...mixture,
    `duplicates: ${duplicates.documents} of ${documents} documents (${
      percent(duplicates.documents, documents)
    }) ` +
    `and ${duplicates.bytes} bytes (${percent(duplicates.bytes, bytes)}) repeat an earlier document`,
    `rejected: ${rejected && rejected.rejected > 0 ? describeRejected(rejected) : "nothing"}`,
    ...(tokenizer ? [`vocabulary: ${found.usedIds} of ${tokenizer.vocabSize} ids occur`] : []),
    "",
    `lengths in ${lengths.unit}: from ${lengths.min} to ${lengths.max}, ${
      lengths.mean.toFixed(1)
    } on average`,
    ...bars(found),
    ...found.sequences.flatMap(({ ids, text }, i) => [
      "",
      `sequence ${i + 1}, ${ids.length} tokens:`,
      text,
    ]),
  ];
}

function bars({ lengths: { histogram }, documents: all }: CorpusInspection): string[] {
  const most = Math.max(...histogram.map(({ documents }) => documents));
  return align(
    histogram.map(({ from, below, documents }) => [
      `${from} to ${Math.max(from, below - 1)}`,
      String(documents),
      percent(documents, all),
      barOf(documents / most, 30).replace(/░+$/, ""),
    ]),
    0,
    3,
  );
}

function percent(part: number, whole: number): string {
  return `${(100 * part / whole).toFixed(1)}%`;
}

function ratio(bytes: number, tokens: number): string {
  return tokens === 0 ? "-" : (bytes / tokens).toFixed(3);
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof options> = {
  name: "inspect-data",
  summary: "Shows what is in a corpus: documents, bytes, tokens, lengths, duplicates, what is rejected and " +
    "why, and the first sequences. Reads it once, in little memory.",
  options,
  examples: [
    "deno task inspect-data",
    "deno task inspect-data --data texts/ --tokenizer tokenizer.json",
    "deno task inspect-data --data -.jsonl --json < dump.jsonl.gz",
  ],
  main,
};

if (import.meta.main) await runTask(task);
