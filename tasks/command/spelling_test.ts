import { equal } from "node:assert/strict";
import { closest, editDistance } from "./spelling.ts";

Deno.test("editDistance() counts insertions, deletions, replacements and swaps of neighbours", () => {
  const cases: [string, string, number][] = [
    ["", "", 0],
    ["", "abc", 3],
    ["abc", "", 3],
    ["abc", "abc", 0],
    ["abc", "axc", 1],
    ["abc", "bac", 1],
    ["kitten", "sitting", 3],
    ["bacth-size", "batch-size", 1],
  ];
  for (const [a, b, edits] of cases) equal(editDistance(a, b), edits, `${a} to ${b}`);
});

Deno.test("closest() finds the name that was meant, and none when nothing is near", () => {
  const names = ["batch-size", "steps", "seq-len", "eval-every", "lr"];
  equal(closest("bacth-size", names), "batch-size");
  equal(closest("batchSize", names), "batch-size");
  equal(closest("seq_length", names), "seq-len");
  equal(closest("eval", names), "eval-every");
  equal(closest("step", names), "steps");
  equal(closest("colour", names), undefined);
  equal(closest("x", names), undefined);
  equal(closest("steps", []), undefined);
});
