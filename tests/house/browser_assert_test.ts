import node from "node:assert/strict";
import * as page from "../browser/assert.ts";

/** Whether a check holds. */
function holds(check: () => void): boolean {
  try {
    check();
    return true;
  } catch {
    return false;
  }
}

const values = [
  0,
  -0,
  NaN,
  "1",
  1,
  null,
  undefined,
  [],
  [1],
  [1, undefined],
  [NaN],
  {},
  { a: 1 },
  { a: undefined },
  { b: undefined },
  { a: [1, { b: 2 }] },
  { a: [1, { b: 3 }] },
  new Float32Array([1]),
  new Uint32Array([1]),
  new Float32Array([1, 2]),
  new Set([1]),
  new Set([2]),
  new Set(),
  new Map([["a", [1]]]),
  new Map([["a", [2]]]),
];

Deno.test("in pages ok(), equal() and deepEqual() hold what node:assert/strict holds", () => {
  for (const a of values) {
    node.equal(holds(() => page.ok(a)), holds(() => node.ok(a)), `ok(${Deno.inspect(a)})`);
    for (const b of values.map((value) => structuredClone(value))) {
      const label = `${Deno.inspect(a)}, ${Deno.inspect(b)}`;
      node.equal(holds(() => page.equal(a, b)), holds(() => node.equal(a, b)), `equal(${label})`);
      node.equal(holds(() => page.deepEqual(a, b)), holds(() => node.deepEqual(a, b)), `deepEqual(${label})`);
    }
  }
});

Deno.test("in pages match() and throws() hold what node:assert/strict holds", () => {
  const runs = [
    () => {},
    () => {
      throw new RangeError("x must be 1");
    },
    () => {
      throw new TypeError("x must be 1");
    },
  ];
  const expectations = [
    RangeError,
    /^RangeError: x must be 1$/,
    /must be 2/,
    { name: "RangeError", message: /must be 1/ },
    { name: "RangeError", message: "x must be 2" },
  ];
  for (const run of runs) {
    node.equal(holds(() => page.throws(run)), holds(() => node.throws(run)));
    for (const expected of expectations) {
      const [ours, theirs] = [page, node].map(({ throws }) => holds(() => throws(run, expected)));
      node.equal(ours, theirs, `${run} and ${Deno.inspect(expected)}`);
    }
  }
  for (const pattern of [/a/, /^b/]) {
    node.equal(holds(() => page.match("ab", pattern)), holds(() => node.match("ab", pattern)));
  }
});
