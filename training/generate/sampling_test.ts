import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { sampleToken, type SamplingOptions, tokenDistribution } from "./sampling.ts";

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

/** By putting the whole vocabulary in order and filtering it step by step. */
function filteredInOrder(logits: readonly number[], options: SamplingOptions): Map<number, number> {
  const { temperature = 1, topK = 0, topP = 1, minP = 0 } = options;
  let kept = logits.map((z, id) => ({ id, weight: Math.exp(z / temperature) }))
    .sort((a, b) => b.weight - a.weight || a.id - b.id);
  if (topK > 0) kept = kept.filter(({ weight }) => weight >= kept[Math.min(topK, kept.length) - 1].weight);
  const total = kept.reduce((sum, { weight }) => sum + weight, 0);
  let before = 0;
  kept = kept.filter(({ weight }) => (before += weight) - weight < topP * total);
  kept = kept.filter(({ weight }) => weight >= minP * kept[0].weight);
  const left = kept.reduce((sum, { weight }) => sum + weight, 0);
  return new Map(kept.map(({ id, weight }) => [id, weight / left]));
}

Deno.test("top-k, top-p and min-p leave what filtering in the order of probability leaves", () => {
  for (const size of [1, 5, 700]) {
    // Coarse values: many are equal.
    const logits = Array.from({ length: size }, (_, i) => Math.round(8 * Math.sin(i * i)) / 4);
    for (const topK of [0, 1, 3, 40, 1000]) {
      for (const topP of [1, 0.99, 0.6, 0.01]) {
        for (const minP of [0, 0.3, 1]) {
          const options = { temperature: 0.7, topK, topP, minP };
          const { ids, probabilities } = tokenDistribution(logits, options);
          const expected = filteredInOrder(logits, options);
          const label = JSON.stringify({ size, ...options });
          deepEqual([...ids], [...expected.keys()].sort((a, b) => a - b), label);
          ids.forEach((id, i) => ok(Math.abs(probabilities[i] - expected.get(id)!) < 1e-12, label));
        }
      }
    }
  }
});

Deno.test("the repetition penalty counts each token once and pushes either sign down", () => {
  const penalty = { temperature: 1, repetitionPenalty: 2 };
  const { probabilities } = tokenDistribution([2, -1, 2, 0], penalty, [0, 1, 0, 3, 99]);
  const weights = [Math.exp(1), Math.exp(-2), Math.exp(2), 1];
  const total = weights.reduce((a, b) => a + b);
  weights.forEach((w, id) => ok(Math.abs(probabilities[id] - w / total) < 1e-7, `${id}`));
  equal(sampleToken([3, 2.9], { temperature: 0, repetitionPenalty: 1.1 }, 0, 0, [0]), 1);
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
  throws(() => sampleToken(logits, { temperature: -1 }, 0, 0), /temperature must be .* at least 0, got -1/);
  throws(() => sampleToken(logits, { topK: 1.5 }, 0, 0), RangeError);
  throws(() => sampleToken(logits, { topP: 0 }, 0, 0), RangeError);
  throws(() => sampleToken(logits, { minP: 1.1 }, 0, 0), /min-p must be in \[0, 1\], got 1.1/);
  throws(
    () => sampleToken(logits, { repetitionPenalty: 0 }, 0, 0),
    /penalty must be a number above 0, got 0/,
  );
  throws(() => sampleToken([1, NaN], {}, 0, 0), /got NaN/);
  throws(() => sampleToken([1, Infinity], {}, 0, 0), /must be finite, got Infinity/);
});
