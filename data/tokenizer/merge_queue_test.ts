import { deepEqual, equal } from "node:assert/strict";
import { type Candidate, MergeQueue } from "./merge_queue.ts";
import { hashCombine } from "../../ops/random.ts";

Deno.test("MergeQueue gives the highest counts first and the smaller pair on ties", () => {
  const queue = new MergeQueue();
  const all: Candidate[] = Array.from({ length: 500 }, (_, i) => ({
    pair: hashCombine(1, i) % 1000,
    count: hashCombine(2, i) % 20,
    places: [],
  }));
  for (const candidate of all) queue.push(candidate);
  const order = Array.from({ length: 500 }, () => queue.pop()!).map(({ count, pair }) => [count, pair]);
  deepEqual(order, all.map(({ count, pair }) => [count, pair]).sort((a, b) => b[0] - a[0] || a[1] - b[1]));
  equal(queue.pop(), undefined);
});
