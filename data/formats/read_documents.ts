/**
 * Documents of one content in any format.
 *
 * @module
 */

import { bufferRanges, type Bytes, type ByteSource } from "../bytes/byte_source.ts";
import type { Document, RejectedRow } from "../document.ts";
import { readCsv } from "./csv.ts";
import { decodeText } from "../bytes/decode.ts";
import { decompress, sniffCompression } from "../bytes/decompress.ts";
import { formatOf } from "../bytes/file_names.ts";
import { readJsonl } from "./jsonl.ts";
import { readParquet } from "./parquet.ts";
import { rowDocuments } from "./rows.ts";
import { textParts } from "./text_parts.ts";

/** How a content is read. */
export interface ReadOptions {
  /** The field or column that holds the text, in formats with such. */
  readonly textField: string;
  /** The encoding of what is not Parquet. */
  readonly encoding: string;
  /** Told of every row of which no document is made. */
  onRejected(row: RejectedRow): void;
}

/**
 * Reads the documents of a content. Its name tells the format.
 *
 * @param source Where the bytes come from.
 * @param options The text's field and encoding, and who is told of rejected rows.
 *
 * @throws {RangeError} When the format is not one that is read, or no row has the field.
 * @throws {SyntaxError} When the content is damaged or malformed.
 */
export async function* readDocuments(source: ByteSource, options: ReadOptions): AsyncGenerator<Document> {
  const { format, compression } = formatOf(source.path);
  const { name } = source;
  const { textField, encoding } = options;
  const documents = { name, textField, onRejected: options.onRejected };
  if (format === "parquet") {
    using file = compression === null
      ? await source.openRanges()
      : await bufferRanges(plainBytes(source), name);
    yield* rowDocuments(readParquet(file, { name, textField }), documents);
    return;
  }
  const text = decodeText(plainBytes(source), { name, encoding });
  if (format === "text") yield* textParts(name, text);
  else if (format === "jsonl") yield* rowDocuments(readJsonl(text, { name, textField }), documents);
  else {
    const delimiter = format === "csv" ? "," : "\t";
    yield* rowDocuments(readCsv(text, { name, textField, delimiter }), documents);
  }
}

/** A content without its compression. */
async function* plainBytes(source: ByteSource): AsyncGenerator<Bytes> {
  const { name } = source;
  const { compression, bytes } = source.sniff
    ? await sniffCompression(source.stream())
    : { compression: formatOf(source.path).compression, bytes: source.stream() };
  yield* compression === null ? bytes as AsyncGenerator<Bytes> : decompress(bytes, compression, name);
}
