/**
 * Comma- and tab-separated values (RFC 4180) with a first row of column names, one of which is the text's.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import { throughNode } from "../bytes/node_stream.ts";
import { MAX_ROW_LENGTH, missingColumn, type Row } from "./rows.ts";

// A variable, so that importing this module does not load the parser: only reading does.
const CSV_PARSE: string = "npm:csv-parse@7.0.3";

/** What is used of it. Its own types need Node's, which are not here. */
interface CsvParse {
  parse(options: Readonly<Record<string, unknown>>): Duplex;
}

/**
 * Reads the rows of a table. Empty lines are no rows; a row that has not as many fields as there are columns
 * is rejected.
 *
 * @param pieces The text, in pieces of any lengths.
 * @param options The file's name, the column that holds the text, and the character between fields.
 *
 * @throws {RangeError} When there is no such column, or a row has more than 64 MiB.
 * @throws {SyntaxError} When a quote stands where none may stand, or is not closed.
 */
export async function* readCsv(
  pieces: AsyncIterable<string>,
  { name, textField, delimiter }: { name: string; textField: string; delimiter: string },
): AsyncGenerator<Row> {
  const { parse } = (await import(CSV_PARSE)) as CsvParse;
  const parser = parse({
    delimiter,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: MAX_ROW_LENGTH,
  });
  let columns: string[] | undefined;
  let column = -1;
  let position = 0;
  try {
    for await (const row of throughNode(pieces, parser) as AsyncGenerator<string[]>) {
      if (columns === undefined) {
        columns = row;
        column = columns.indexOf(textField);
        if (column < 0) throw missingColumn(name, textField, columns);
        continue;
      }
      position++;
      yield row.length === columns.length
        ? { position, value: row[column] }
        : { position, value: undefined, reason: "another number of fields than there are columns" };
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === "CSV_MAX_RECORD_SIZE") {
      throw new RangeError(
        `A row of a table must have at most ${
          MAX_ROW_LENGTH >> 20
        } MiB: "${name}" has a longer one after row ${position}; is a quote not closed?`,
      );
    }
    if (code === undefined || !/^(?:CSV_|INVALID_)/.test(code)) throw error;
    throw new SyntaxError(`A table must be well-formed CSV: "${name}" is not (${message})`);
  }
}
