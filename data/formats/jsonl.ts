/**
 * JSON Lines: an object in every line, one of whose members is the text.
 *
 * @module
 */

import { MAX_ROW_LENGTH, type Row } from "./rows.ts";

/** After how many rows without the field a file is taken for one that has it nowhere. */
const HOPELESS_ROWS = 1000;

/**
 * Reads the rows of a JSON Lines text. Blank lines are no rows.
 *
 * @param pieces The text, in pieces of any lengths.
 * @param options The file's name, and the name of the member that holds the text.
 *
 * @throws {SyntaxError} When a line is not JSON.
 * @throws {RangeError} When the first 1,000 rows, or all where there are fewer, lack the field; or when a line
 * is longer than 64 Mi characters.
 */
export async function* readJsonl(
  pieces: AsyncIterable<string>,
  { name, textField }: { name: string; textField: string },
): AsyncGenerator<Row> {
  let position = 0;
  let rows = 0;
  let hopeful = false;
  let fields: string[] = [];
  const hopeless = () =>
    new RangeError(
      `A row must have the text in a field "${textField}": none of the first ${rows} of "${name}" has it; ` +
        `the first has ${fields.map((field) => JSON.stringify(field)).join(", ") || "no field"}: ` +
        "name the right one as text field",
    );
  for await (const line of splitLines(pieces, name)) {
    position++;
    if (/^\s*$/.test(line)) continue;
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new SyntaxError(
        `Every line of a .jsonl file must be JSON: "${name}" line ${position} is not (${
          (cause as Error).message.slice(0, 200)
        })`,
      );
    }
    rows++;
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    const row = isObject ? value as Record<string, unknown> : {};
    const has = Object.hasOwn(row, textField);
    if (rows === 1) fields = Object.keys(row).slice(0, 20);
    hopeful ||= has;
    yield isObject
      ? { position, value: has ? row[textField] : undefined }
      : { position, value: undefined, reason: "something else than an object" };
    if (!hopeful && rows === HOPELESS_ROWS) throw hopeless();
  }
  if (!hopeful && rows > 0) throw hopeless();
}

/** Lines without their ends, which are LF or CRLF. */
async function* splitLines(pieces: AsyncIterable<string>, name: string): AsyncGenerator<string> {
  let begun: string[] = [];
  let length = 0;
  let line = 1;
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf("\n"); end >= 0; end = piece.indexOf("\n", start)) {
      begun.push(piece.slice(start, end));
      yield begun.length === 1 ? begun[0] : begun.join("");
      [begun, length, start] = [[], 0, end + 1];
      line++;
    }
    begun.push(piece.slice(start));
    length += piece.length - start;
    if (length > MAX_ROW_LENGTH) {
      throw new RangeError(
        `A line of a .jsonl file must have at most ${
          MAX_ROW_LENGTH >> 20
        } Mi characters: "${name}" line ${line} has more`,
      );
    }
  }
  if (length > 0) yield begun.join("");
}
