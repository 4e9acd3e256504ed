import { equal, ok } from "node:assert/strict";
import { fillNormal, hash32, hashCombine, uniform } from "./random.ts";

Deno.test("hash32() has no collisions among neighbours", () => {
  equal(new Set(Array.from({ length: 100_000 }, (_, i) => hash32(i))).size, 100_000);
});

Deno.test("hashCombine() depends on the order of its counters", () => {
  ok(hashCombine(1, 2, 3) !== hashCombine(1, 3, 2));
});

Deno.test("uniform() is spread evenly over [0, 1)", () => {
  const bins = new Array(10).fill(0);
  for (let i = 0; i < 100_000; i++) bins[Math.floor(uniform(3, i) * 10)]++;
  // Four standard deviations of a bin of 10,000 are 380.
  for (const count of bins) ok(Math.abs(count - 10_000) < 400, `${bins}`);
});

Deno.test("fillNormal() has the mean and deviation asked for, for odd lengths too", () => {
  const values = new Float32Array(99_999);
  fillNormal(values, 5, 2);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  ok(Math.abs(mean) < 0.03 && Math.abs(deviation - 2) < 0.03, `mean ${mean}, deviation ${deviation}`);
});
