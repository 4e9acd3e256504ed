/**
 * What all of `data/` speaks of: documents, corpora of them, and rows of which no document was made.
 *
 * @module
 */

/** A text, or a part of one that is too long for one string. */
export interface Document {
  /** What to call it in messages: a file's name, with `:` and the row where a row is a document, or a work's. */
  readonly name: string;
  /** The text, with LF line ends and no byte order mark; never empty. */
  readonly text: string;
  /** 0 for a document's beginning; n > 0 when it continues the part n - 1 that came just before it. */
  readonly part: number;
  /** The source that it is from, as it was given, without the weight; `openCorpus` says it. */
  readonly source?: string;
}

/**
 * Documents that can be read more than once, always the same ones in the same order: reading measures the
 * corpus first and tokenises it afterwards.
 */
export type Corpus = AsyncIterable<Document> | Iterable<Document>;

/** A row of which no document was made. */
export interface RejectedRow {
  /** The file's name. */
  readonly name: string;
  /** The line of a .jsonl file, else the row, both from 1; the row of column names does not count. */
  readonly position: number;
  /** Why, in words that are the same for all rows with the same fault. */
  readonly reason: string;
}
