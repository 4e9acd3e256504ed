/**
 * Formats in which every row holds a text: what they have in common.
 *
 * @module
 */

import type { Document, RejectedRow } from "../document.ts";
import { textParts } from "./text_parts.ts";

/** The field that holds the text unless told otherwise. */
export const DEFAULT_TEXT_FIELD = "text" as const;

/** The longest row that is read, in UTF-16 units or bytes: a row must fit into memory several times. */
export const MAX_ROW_LENGTH: number = 64 << 20;

/** A row as a reader gives it. */
export interface Row {
  /** Which one: the line of a .jsonl file, else the row, both from 1; the row of column names does not count. */
  readonly position: number;
  /** The value of the text field, which should be a string; `undefined` when there is no such field. */
  readonly value: unknown;
  /** Why there is no value, if not for want of the field. */
  readonly reason?: string;
}

/**
 * Makes a document of every row that has a text, and tells which have none.
 *
 * @param rows The rows.
 * @param options The file's name, the name of the field, and who is told of rejected rows.
 */
export async function* rowDocuments(
  rows: AsyncIterable<Row>,
  options: { name: string; textField: string; onRejected: (row: RejectedRow) => void },
): AsyncGenerator<Document> {
  const { name, textField, onRejected } = options;
  for await (const { position, value, reason } of rows) {
    if (typeof value === "string" && value !== "") {
      // An escape in JSON can make half of a surrogate pair, which no encoding has.
      yield* textParts(`${name}:${position}`, [value.toWellFormed()]);
      continue;
    }
    const kind = value === null
      ? "null"
      : typeof value === "object"
      ? "an object or array"
      : `a ${typeof value}`;
    const fault = value === undefined
      ? `no field "${textField}"`
      : value === ""
      ? "an empty text"
      : `${kind} in "${textField}"`;
    onRejected({ name, position, reason: reason ?? fault });
  }
}

/**
 * Says that a table has no column of the wanted name.
 *
 * @param name The file's name.
 * @param textField The wanted column.
 * @param columns The columns that there are.
 */
export function missingColumn(name: string, textField: string, columns: readonly string[]): RangeError {
  const list = columns.slice(0, 20).map((column) => JSON.stringify(column)).join(", ");
  return new RangeError(
    `The text must be in a column "${textField}": "${name}" has ${list || "no column"}${
      columns.length > 20 ? ", ..." : ""
    }; name the right one as text field`,
  );
}

/**
 * Says in one line how many rows were rejected, and why.
 *
 * @param report How many for each reason, and the first of them.
 */
export function describeRejected(
  { rejected, reasons }: {
    rejected: number;
    reasons: ReadonlyMap<string, { readonly count: number; readonly first: RejectedRow }>;
  },
): string {
  const list = [...reasons].map(([reason, { count, first }]) =>
    `${count} with ${reason} (first: ${first.name}:${first.position})`
  );
  return `${rejected} ${rejected === 1 ? "row" : "rows"}, ${list.join(", ")}`;
}
