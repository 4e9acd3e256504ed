import assert from "node:assert/strict";
import { MAX_JSON_DEPTH, parseStrictJson } from "./strict_json.ts";

Deno.test("parseStrictJson() reads every kind of value and tells integers from other numbers", () => {
  const text =
    ' {"a": [null, true, false, "x\\n\\u00e9\\ud83d\\ude00", 0, -7, 1.0, -0, 2e3], "b": {}, "c": []}\r\n\t';
  const items = [null, true, false, "x\né😀", 0n, -7n, 1, -0, 2000];
  const expected = new Map<string, unknown>([["a", items], ["b", new Map()], ["c", []]]);
  assert.deepEqual(parseStrictJson(text), expected);
});

Deno.test("parseStrictJson() keeps 64-bit integers exactly and reads larger ones as floating point", () => {
  assert.deepEqual(parseStrictJson("[9007199254740993, 18446744073709551615]"), [
    9007199254740993n,
    18446744073709551615n,
  ]);
  assert.deepEqual(parseStrictJson("[18446744073709551616, -9223372036854775809]"), [2 ** 64, -(2 ** 63)]);
});

Deno.test("parseStrictJson() takes __proto__ for a key like any other", () => {
  const value = parseStrictJson('{"__proto__": {"x": 1}, "constructor": 2}');
  assert.deepEqual([...(value as Map<string, unknown>).keys()], ["__proto__", "constructor"]);
});

Deno.test("parseStrictJson() rejects repeated keys, however they are spelled", () => {
  for (
    const text of [
      '{"a":1,"a":2}',
      '{"a":1,"\\u0061":2}',
      '{"x":[{"":0,"":0}]}',
      '{"__proto__":1,"__proto__":1}',
    ]
  ) {
    assert.throws(() => parseStrictJson(text), /SyntaxError: .*must not be repeated/, text);
  }
});

Deno.test("parseStrictJson() accepts 127 levels and rejects more without overflowing the stack", () => {
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
    const nested = (depth: number) => open.repeat(depth) + "1" + close.repeat(depth);
    parseStrictJson(nested(MAX_JSON_DEPTH));
    for (const depth of [MAX_JSON_DEPTH + 1, 200_000]) {
      assert.throws(
        () => parseStrictJson(nested(depth)),
        /SyntaxError: .*nesting must not exceed 127 levels/,
      );
    }
  }
});

Deno.test("parseStrictJson() rejects what JSON does not allow", () => {
  const bad = [
    "",
    " ",
    "01",
    "+1",
    "1.",
    ".5",
    "1e",
    "-",
    "NaN",
    "Infinity",
    "1e400",
    "9".repeat(400),
    "nul",
    "True",
  ];
  bad.push(
    "[1,]",
    "[1 2]",
    "[",
    "{",
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    "{a:1}",
    "{'a':1}",
    "[1]]",
    "1 1",
    "[1}",
    "/**/1",
  );
  bad.push(
    '"',
    '"a',
    '"\\"',
    '"\\x"',
    '"\\u12"',
    '"\n"',
    '"\0"',
    '"\\ud800"',
    '"\\udc00"',
    '"\\ud800x"',
    "\ufeff1",
    "\f1",
  );
  for (const text of bad) assert.throws(() => parseStrictJson(text), SyntaxError, JSON.stringify(text));
});

Deno.test("parseStrictJson() agrees with JSON.parse on documents without repeated keys", () => {
  const plain = (value: unknown): unknown =>
    value instanceof Map
      ? Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]))
      : Array.isArray(value)
      ? value.map(plain)
      : typeof value === "bigint"
      ? Number(value)
      : value;
  for (
    const text of [
      '{"\\\\":"\\\\\\"","b":"\\\\\\\\"}',
      '["\\/\\b\\f\\t\u2028\x7f",[[]],{"a":{"b":[-1.5E-3]}}]',
    ]
  ) {
    assert.deepEqual(plain(parseStrictJson(text)), JSON.parse(text));
  }
});
