import { deepEqual, equal, throws } from "node:assert/strict";
import { formatOf, isTextFile } from "./file_names.ts";

Deno.test("formatOf() tells format and compression by the extension", () => {
  const cases: Record<string, [string, string | null]> = {
    "a.txt": ["text", null],
    "a.MD.GZ": ["text", "gz"],
    "dir.csv/a": ["text", null],
    "a.log": ["text", null],
    ".gz": ["text", "gz"],
    "a.ndjson": ["jsonl", null],
    "x/a.b.jsonl.zst": ["jsonl", "zst"],
    "a.csv": ["csv", null],
    "a.tsv.gz": ["tsv", "gz"],
    "a.parquet": ["parquet", null],
    "-.jsonl": ["jsonl", null],
    "-": ["text", null],
  };
  for (const [path, [format, compression]] of Object.entries(cases)) {
    deepEqual(formatOf(path), { format, compression }, path);
  }
});

Deno.test("formatOf() says what to do about what is no text", () => {
  throws(() => formatOf("a/b.tar.gz"), /^RangeError: A source must be one of .*"a\/b\.tar\.gz"; unpack it/);
  throws(() => formatOf("b.JSON"), /name it \.jsonl if every line is an object/);
  throws(() => formatOf("b.txt.xz"), /compress it as \.gz or \.zst/);
});

Deno.test("isTextFile() takes known formats alone", () => {
  for (const name of ["a.txt", "a.md", "a.jsonl.gz", "a.parquet", "a.CSV"]) {
    equal(isTextFile(name), true, name);
  }
  for (const name of ["a.log", "txt", "a.gz", "a.json", "a.bin"]) equal(isTextFile(name), false, name);
});
