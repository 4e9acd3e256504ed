/**
 * The options that say what text to read, and the corpus that they ask for.
 *
 * @module
 */
import {
  type CorpusReport,
  DEFAULT_SOURCE,
  describeRejected,
  openCorpus,
  type SourceCorpus,
} from "../../data/corpus/corpus.ts";
import type { SourceOptions } from "../../data/corpus/sources.ts";
import { checkEncoding, DEFAULT_ENCODING } from "../../data/bytes/decode.ts";
import { DEFAULT_TEXT_FIELD } from "../../data/formats/rows.ts";
import { UsageError } from "../command/command_line.ts";

/** The heading of these options in the help. */
export const DATA_GROUP = "Data and tokenizer";

/** What text to read, and how. */
export const sourceOptions = {
  "data": {
    type: "string",
    multiple: true,
    placeholder: "PATH",
    group: DATA_GROUP,
    description:
      "files, folders or globs of .txt, .md, .jsonl, .csv, .tsv or .parquet, each also .gz or .zst; " +
      "- for standard input (-.jsonl if it is not text); http(s) addresses; hf://datasets/OWNER/NAME/PATH. " +
      "PATH:WEIGHT on all mixes them in these shares of the text's bytes, until one is used up " +
      `(default: ${DEFAULT_SOURCE}, 18 books)`,
  },
  "text-field": {
    type: "string",
    default: DEFAULT_TEXT_FIELD,
    placeholder: "NAME",
    group: DATA_GROUP,
    description: "the field or column that holds the text in .jsonl, .csv, .tsv and .parquet",
  },
  "encoding": {
    type: "string",
    default: DEFAULT_ENCODING,
    placeholder: "NAME",
    group: DATA_GROUP,
    description: "the text's encoding, as the web names it: latin1, utf-16le, shift_jis ...",
  },
} as const;

/** What decides which documents a corpus has, as run.json records it. */
export interface DataChoice {
  /** The sources. */
  readonly data: readonly string[];
  /** The field that holds the text. Absent: the default. */
  readonly textField?: string;
  /** The encoding. Absent: the default. */
  readonly encoding?: string;
}

/**
 * What the options choose.
 *
 * @throws {UsageError} If the encoding is unknown.
 */
export function dataChoice({ data, textField, encoding }: Required<DataChoice>): Required<DataChoice> {
  try {
    checkEncoding(encoding);
  } catch (error) {
    throw new UsageError(`--encoding: ${(error as Error).message}`);
  }
  return { data: data.length > 0 ? data : [DEFAULT_SOURCE], textField, encoding };
}

/** A corpus, and what there is to say of it once it was read. */
export interface OpenedData {
  readonly corpus: SourceCorpus;
  /** What the last whole pass came upon; undefined before there was one. */
  report(): CorpusReport | undefined;
  /** Says what was rejected and how sources were mixed, of the last pass. */
  sayReport(say: (line: string) => void): void;
}

/** Whether a source holds token ids instead of text. */
export function isTokenFile(source: string): boolean {
  return source.endsWith(".bin");
}

/**
 * Opens what was chosen, which must be text.
 *
 * @param choice What was chosen.
 * @param options Where downloads are kept, and who is told of them.
 * @throws {UsageError} If a source holds token ids.
 */
export function openData(
  { data, textField, encoding }: DataChoice,
  options: SourceOptions = {},
): OpenedData {
  const tokenFile = data.find(isTokenFile);
  if (tokenFile !== undefined) {
    throw new UsageError(
      `--data must be text here, got token ids in ${tokenFile}, which only train-lm takes`,
    );
  }
  let report: CorpusReport | undefined;
  const corpus = openCorpus(data, { ...options, textField, encoding, onPass: (last) => report = last });
  const sayReport = (say: (line: string) => void) => {
    if (report === undefined) return;
    if (report.rejected > 0) say(`left out: ${describeRejected(report)}`);
    for (const { name, share, documents, bytes, exhausted } of report.shares) {
      const rest = exhausted ? "all of it" : "the rest is not used";
      say(`mixed: ${name}, share ${share.toFixed(3)}: ${bytes} bytes in ${documents} documents (${rest})`);
    }
  };
  return { corpus, report: () => report, sayReport };
}
