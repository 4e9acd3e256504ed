/**
 * Apache Parquet: a table, one of whose columns is the text's. Row groups are read one at a time, and of each
 * only that column.
 *
 * @module
 */

import { brotliDecompressSync, zstdDecompressSync } from "node:zlib";
import type { ByteRanges } from "../bytes/byte_source.ts";
import { checkPages, checkStructure } from "./parquet_check.ts";
import { missingColumn, type Row } from "./rows.ts";

// Variables, so that importing this module does not load the reader: only reading does.
const HYPARQUET: string = "npm:hyparquet@1.31.5";
const COMPRESSORS: string = "npm:hyparquet-compressors@1.1.2";

type Hyparquet = typeof import("npm:hyparquet@1.31.5");
type Metadata = ReturnType<Hyparquet["parquetMetadata"]>;
type RowGroup = Metadata["row_groups"][number];
type Decompress = (input: Uint8Array, length: number) => Uint8Array;

/** How much text is decoded at a time where the file's index allows. */
const CHUNK_BYTES = 16 << 20;

/** How much text is decoded at a time at most, and how much of a file is read at a time. */
const MAX_CHUNK_BYTES = 512 << 20;

/** How many rows are decoded at a time at most: what is kept for each takes about 32 bytes. */
const MAX_CHUNK_ROWS = 32 << 20;

/** How much of a file's end is read first, in which its footer mostly is. */
const END_BYTES = 512 << 10;

/**
 * Reads the rows of a Parquet file. In memory is one row group's text, or a part of it where the file has a
 * page index; what headers say of sizes is compared with the footer before it is believed.
 *
 * @param file The file.
 * @param options The file's name, and the column that holds the text, which is one of strings at the top level.
 *
 * @throws {RangeError} When there is no such column, it holds something else, or a row group without a page
 * index has more than 512 MiB or 32 Mi rows of it.
 * @throws {SyntaxError} When the file is damaged or is no Parquet file, or a text is not UTF-8.
 */
export async function* readParquet(
  file: ByteRanges,
  { name, textField }: { name: string; textField: string },
): AsyncGenerator<Row> {
  const { parquetMetadata, parquetScan, parquetSchema } = (await import(HYPARQUET)) as Hyparquet;
  const { compressors } = (await import(COMPRESSORS)) as typeof import("npm:hyparquet-compressors@1.1.2");
  // What the file itself throws, such as a broken connection, is not about its format.
  let failure: { error: unknown } | undefined;
  // What is being read, whose pages are to be checked.
  let group: RowGroup | undefined;
  const guarded = {
    byteLength: file.byteLength,
    slice: async (start: number, end: number = file.byteLength) => {
      if (!(start >= 0 && start <= end && end <= file.byteLength && end - start <= MAX_CHUNK_BYTES)) {
        throw new Error(`it has no part from byte ${start} to ${end}, or a too large one`);
      }
      let bytes: ArrayBuffer;
      try {
        bytes = await file.slice(start, end);
      } catch (error) {
        failure = { error };
        throw error;
      }
      if (group !== undefined) checkPart(bytes, start, group, textField);
      return bytes;
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
  const metadata = await explain(
    readFooter(guarded).then((footer) => parquetMetadata(footer, { geoparquet: false })),
  );
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
  const options = {
    file: guarded,
    metadata,
    columns: [textField],
    compressors: { ...compressors, ...BOUNDED },
    parsers,
  };
  const scan = await explain(parquetScan(options));
  let start = 0;
  for (group of metadata.row_groups) {
    const end = start + Number(group.num_rows);
    for (const [rowStart, rowEnd] of chunks(group, start, end, textField, name)) {
      const values = await explain(
        scan.readColumn({ column: textField, rowStart, rowEnd }).then((values) => {
          if (values.length === rowEnd - rowStart) return values;
          throw new Error(
            `its pages have ${values.length} of the ${rowEnd - rowStart} rows that its footer says`,
          );
        }),
      );
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
  const chunk = chunkOf(group, textField);
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
  if (!hasIndex && end - start > MAX_CHUNK_ROWS) {
    throw new RangeError(
      `A row group must have at most ${MAX_CHUNK_ROWS} rows, or the file a page index: "${name}" has one of ${
        end - start
      }; write it again with smaller row groups`,
    );
  }
  const share = hasIndex ? Math.min(1, CHUNK_BYTES / bytes) : 1;
  const rows = Math.max(1, Math.floor((end - start) * share));
  for (let at = start; at < end; at += rows) yield [at, Math.min(at + rows, end)];
}

function chunkOf(group: RowGroup, textField: string): RowGroup["columns"][number] | undefined {
  return group.columns.find(({ meta_data }) => meta_data?.path_in_schema[0] === textField);
}

/** The end of a file from its footer on. */
async function readFooter(
  file: { byteLength: number; slice(start: number): Promise<ArrayBuffer> },
): Promise<ArrayBuffer> {
  const first = await file.slice(Math.max(0, file.byteLength - END_BYTES));
  // The length of the footer and the letters PAR1 come last.
  const length = new DataView(first).getUint32(first.byteLength - 8, true) + 8;
  if (length > file.byteLength) throw new Error(`a footer of ${length} bytes`);
  const end = length <= first.byteLength
    ? first.slice(first.byteLength - length)
    : await file.slice(file.byteLength - length);
  checkStructure(new DataView(end, 0, length - 8));
  return end;
}

/** Checks a part of a row group that is to be decoded: a list of where pages are, or pages. */
function checkPart(bytes: ArrayBuffer, start: number, group: RowGroup, textField: string): void {
  const chunk = chunkOf(group, textField);
  if (start === Number(chunk?.offset_index_offset ?? -1)) return checkStructure(new DataView(bytes));
  checkPages(bytes, {
    bytes: Math.min(Number(chunk?.meta_data?.total_uncompressed_size ?? 0), MAX_CHUNK_BYTES),
    rows: Math.min(Number(group.num_rows), MAX_CHUNK_ROWS),
  });
}

/** The compressions in which the package takes more memory than a page's header says. */
const BOUNDED: Readonly<Record<"ZSTD" | "BROTLI", Decompress>> = {
  ZSTD: (input, length) => bounded(zstdDecompressSync, input, length),
  BROTLI: (input, length) => bounded(brotliDecompressSync, input, length),
};

function bounded(
  decompress: (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array,
  input: Uint8Array,
  length: number,
): Uint8Array {
  try {
    return decompress(input, { maxOutputLength: Math.max(1, length) });
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_BUFFER_TOO_LARGE") throw error;
    throw new Error(`a page holds more than the ${length} bytes that its header says`);
  }
}
