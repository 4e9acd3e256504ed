import { equal, ok, throws } from "node:assert/strict";
import { sampleToken } from "./sampling.ts";

const logits = [0, 2, 1, -1];

Deno.test("temperature 0 takes the likeliest token, the first of equals", () => {
  equal(sampleToken(logits, { temperature: 0 }, 1, 0), 1);
  equal(sampleToken([3, 3], { temperature: 0 }, 1, 0), 0);
});

Deno.test("tokens are drawn with their softmax probabilities", () => {
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 20_000; i++) counts[sampleToken(logits, { temperature: 1 }, 7, i)]++;
  const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
  // Three standard deviations of a share of 20,000 draws are about 0.01.
  logits.forEach((z, id) =>
    ok(Math.abs(counts[id] / 20_000 - Math.exp(z) / total) < 0.011, `${id}: ${counts[id]}`)
  );
});

Deno.test("top-k and top-p leave out the unlikely tokens", () => {
  for (let i = 0; i < 500; i++) {
    ok([1, 2].includes(sampleToken(logits, { temperature: 1, topK: 2 }, 3, i)));
    equal(sampleToken(logits, { temperature: 1, topP: 0.5 }, 3, i), 1);
  }
});

Deno.test("the same seed and index give the same token", () => {
  for (let i = 0; i < 50; i++) equal(sampleToken(logits, {}, 5, i), sampleToken(logits, {}, 5, i));
});

Deno.test("options out of range and broken logits are refused", () => {
  throws(() => sampleToken(logits, { temperature: -1 }, 0, 0), /temperature must be at least 0, got -1/);
  throws(() => sampleToken(logits, { topK: 1.5 }, 0, 0), RangeError);
  throws(() => sampleToken(logits, { topP: 0 }, 0, 0), RangeError);
  throws(() => sampleToken([1, NaN], {}, 0, 0), /got NaN/);
});
