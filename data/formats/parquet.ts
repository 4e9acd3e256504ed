/**
 * Apache Parquet: a table, one of whose columns is the text's. Row groups are read one at a time, and of each
 * only that column.
 *
 * @module
 */

import type { ByteRanges } from "../bytes/byte_source.ts";
import { missingColumn, type Row } from "./rows.ts";

// Variables, so that importing this module does not load the reader: only reading does.
const HYPARQUET: string = "npm:hyparquet@1.31.5";
const COMPRESSORS: string = "npm:hyparquet-compressors@1.1.2";

type Hyparquet = typeof import("npm:hyparquet@1.31.5");
type RowGroup = Awaited<ReturnType<Hyparquet["parquetMetadataAsync"]>>["row_groups"][number];

/** How much text is decoded at a time where the file's index allows. */
const CHUNK_BYTES = 16 << 20;

/** How much text is decoded at a time at most. */
const MAX_CHUNK_BYTES = 512 << 20;

/**
 * Reads the rows of a Parquet file. In memory is one row group's text, or a part of it where the file has a
 * page index.
 *
 * @param file The file.
 * @param options The file's name, and the column that holds the text, which is one of strings at the top level.
 *
 * @throws {RangeError} When there is no such column, it holds something else, or a row group without a page
 * index has more than 512 MiB of it.
 * @throws {SyntaxError} When the file is damaged or is no Parquet file, or a text is not UTF-8.
 */
export async function* readParquet(
  file: ByteRanges,
  { name, textField }: { name: string; textField: string },
): AsyncGenerator<Row> {
  const { parquetMetadataAsync, parquetScan, parquetSchema } = (await import(HYPARQUET)) as Hyparquet;
  const { compressors } = (await import(COMPRESSORS)) as typeof import("npm:hyparquet-compressors@1.1.2");
  // What the file itself throws, such as a broken connection, is not about its format.
  let failure: { error: unknown } | undefined;
  const guarded = {
    byteLength: file.byteLength,
    slice: async (start: number, end?: number) => {
      try {
        return await file.slice(start, end);
      } catch (error) {
        failure = { error };
        throw error;
      }
    },
  };
  const explain = async <T>(reading: Promise<T>): Promise<T> => {
    try {
      return await reading;
    } catch (error) {
      if (failure) throw failure.error;
      throw new SyntaxError(
        `A .parquet file must be well-formed: "${name}" cannot be read (${
          (error as Error).message
        }); fetch it again`,
      );
    }
  };
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const parsers = { stringFromBytes: (bytes: Uint8Array) => bytes && strict.decode(bytes) };
  if (file.byteLength < 12) {
    throw new SyntaxError(`A .parquet file must be well-formed: "${name}" has only ${file.byteLength} bytes`);
  }
  // The statistics in the metadata may end within a character, so they are decoded leniently.
  const metadata = await explain(parquetMetadataAsync(guarded, { geoparquet: false }));
  const columns = parquetSchema(metadata).children.map(({ element }) => element);
  const column = columns.find((element) => element.name === textField);
  if (column === undefined) throw missingColumn(name, textField, columns.map((element) => element.name));
  if (column.type !== "BYTE_ARRAY" || column.repetition_type === "REPEATED") {
    throw new RangeError(
      `The text must be in a column of strings: "${textField}" of "${name}" is ${
        column.type ?? "nested"
      }; name another one as text field`,
    );
  }
  const options = { file: guarded, metadata, columns: [textField], compressors, parsers };
  const scan = await explain(parquetScan(options));
  let start = 0;
  for (const group of metadata.row_groups) {
    const end = start + Number(group.num_rows);
    for (const [rowStart, rowEnd] of chunks(group, start, end, textField, name)) {
      const values = await explain(scan.readColumn({ column: textField, rowStart, rowEnd }));
      for (let i = 0; i < values.length; i++) yield { position: rowStart + i + 1, value: values[i] ?? null };
    }
    start = end;
  }
}

/** The ranges of rows, each with its first and the one after its last, in which a row group is read. */
function* chunks(
  group: RowGroup,
  start: number,
  end: number,
  textField: string,
  name: string,
): Generator<[number, number]> {
  const chunk = group.columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === textField);
  const bytes = Number(chunk?.meta_data?.total_uncompressed_size ?? 0n);
  const hasIndex = chunk?.offset_index_offset !== undefined;
  if (!hasIndex && bytes > MAX_CHUNK_BYTES) {
    throw new RangeError(
      `A row group must have at most ${
        MAX_CHUNK_BYTES >> 20
      } MiB of text, or the file a page index: "${name}" has one of ${
        Math.round(bytes / 2 ** 20)
      } MiB; write it again with smaller row groups`,
    );
  }
  const share = hasIndex ? Math.min(1, CHUNK_BYTES / bytes) : 1;
  const rows = Math.max(1, Math.floor((end - start) * share));
  for (let at = start; at < end; at += rows) yield [at, Math.min(at + rows, end)];
}
