import { deepEqual, equal } from "node:assert/strict";
import { quantile, spreadOf } from "./statistics.ts";

Deno.test("quantile() takes the middle, and shares between two values, in any order", () => {
  deepEqual([quantile([3, 1, 2]), quantile([4, 1, 2, 3]), quantile([7])], [2, 2.5, 7]);
  deepEqual([0, 0.25, 0.75, 1].map((share) => quantile([50, 10, 30, 20, 40], share)), [10, 20, 40, 50]);
  equal(quantile([0, 10], 0.3), 3);
});

Deno.test("spreadOf() divides by n - 1, and a single value has no spread", () => {
  deepEqual(spreadOf([2, 4, 4, 4, 5, 5, 7, 9]), { mean: 5, deviation: Math.sqrt(32 / 7), min: 2, max: 9 });
  deepEqual(spreadOf([3]), { mean: 3, deviation: 0, min: 3, max: 3 });
});
