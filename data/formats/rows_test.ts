import { deepEqual, rejects } from "node:assert/strict";
import { later } from "../../tests/random_text.ts";
import { readCsv } from "./csv.ts";
import { readJsonl } from "./jsonl.ts";
import type { RejectedRow } from "../document.ts";
import { type Row, rowDocuments } from "./rows.ts";

const place = { name: "x", textField: "text" };

/** The texts by their names, and what was rejected. */
async function documents(rows: AsyncIterable<Row>): Promise<[Record<string, string>, RejectedRow[]]> {
  const rejected: RejectedRow[] = [];
  const options = { ...place, onRejected: (row: RejectedRow) => rejected.push(row) };
  const found = await Array.fromAsync(rowDocuments(rows, options));
  return [Object.fromEntries(found.map(({ name, text }) => [name, text])), rejected];
}

const jsonl = (...pieces: string[]) => documents(readJsonl(later(pieces), place));
const csv = (text: string, delimiter = ",") => documents(readCsv(later([text]), { ...place, delimiter }));
const rejectedRow = (position: number, reason: string) => ({ name: "x", position, reason });

Deno.test("readJsonl() takes a document from each line and says which lines have none", async () => {
  const text = [
    '{"text": "one\\r\\n\\ud800"}',
    "",
    ' { "id": 2, "text": "two" } \r',
    '{"id": 3}',
    '{"text": ""}',
    '{"text": null}',
    '{"text": ["a"]}',
    '{"text": 5}',
    '["text"]',
    '{"text": "end"}',
  ].join("\n");
  deepEqual(await jsonl(text.slice(0, 9), text.slice(9)), [
    { "x:1": "one\n\ufffd", "x:3": "two", "x:10": "end" },
    [
      rejectedRow(4, 'no field "text"'),
      rejectedRow(5, "an empty text"),
      rejectedRow(6, 'null in "text"'),
      rejectedRow(7, 'an object or array in "text"'),
      rejectedRow(8, 'a number in "text"'),
      rejectedRow(9, "something else than an object"),
    ],
  ]);
  deepEqual(await jsonl(""), [{}, []]);
});

Deno.test("readJsonl() refuses lines that are not JSON, and files without the field", async () => {
  await rejects(jsonl('{"text": "a"}\n{"text": "b"\n'), {
    name: "SyntaxError",
    message: /^Every line of a \.jsonl file must be JSON: "x" line 2 is not \(/,
  });
  await rejects(jsonl('{"body": "a", "id": 1}\n{}\n'), {
    name: "RangeError",
    message: /a field "text": none of the first 2 of "x" has it; the first has "body", "id"/,
  });
  await rejects(jsonl("1\n".repeat(1500)), /none of the first 1000 of "x" has it; the first has no field/);
  // A row with the field among the first is enough.
  deepEqual((await jsonl("{}\n".repeat(999), '{"text": "a"}\n', "{}\n".repeat(3)))[1].length, 1002);
});

Deno.test("readCsv() takes a document from each row, quoted or not", async () => {
  const table = 'id,text\r\n1,"a ""b"",\r\nc"\r\n2,d\r\n\r\n3\r\n4,\r\n5,é 😀\r\n6,a,b\r\n';
  const fields = "another number of fields than there are columns";
  const expected = [
    { "x:1": 'a "b",\nc', "x:2": "d", "x:5": "é 😀" },
    [rejectedRow(3, fields), rejectedRow(4, "an empty text"), rejectedRow(6, fields)],
  ];
  deepEqual(await csv(table), expected);
  deepEqual(await csv("text\tid\na,b\t1\n", "\t"), [{ "x:1": "a,b" }, []]);
  deepEqual(await csv(""), [{}, []]);
});

Deno.test("readCsv() refuses tables without the column and broken quotes", async () => {
  await rejects(csv("id,body\n1,a\n"), {
    name: "RangeError",
    message: 'The text must be in a column "text": "x" has "id", "body"; name the right one as text field',
  });
  await rejects(csv('text\n"a" b\n'), {
    name: "SyntaxError",
    message: /must be well-formed CSV: "x" is not \(.*line 2/,
  });
  await rejects(csv('text\n"a\n'), { name: "SyntaxError", message: /Quote Not Closed/ });
});
