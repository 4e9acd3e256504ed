import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { trainBpe } from "./bpe_trainer.ts";
import { readGutenberg } from "../corpus/gutenberg.ts";
import { formatTokenizerJson } from "./tokenizer_json.ts";
import { WordCounts } from "./word_counts.ts";

const golden = new URL("../../tests/golden/tokenizer/", import.meta.url);

function countWords(...texts: string[]): WordCounts {
  const counts = new WordCounts();
  for (const text of texts) counts.add(text);
  return counts;
}

Deno.test("trainBpe() writes the tokenizer.json of Hugging Face's trainer, to the byte", async () => {
  const expected = await Deno.readTextFile(new URL("tokenizer.json", golden));
  const counts = new WordCounts();
  for await (const { text } of readGutenberg(["carroll-alice"])) counts.add(text);
  const vocabSize = Object.keys(JSON.parse(expected).model.vocab).length;
  equal(formatTokenizerJson(await trainBpe(counts, { vocabSize })), expected);
});

Deno.test("trainBpe() gives Hugging Face's merges on ties, repeats and tokens spelt in two ways", async () => {
  const cases = JSON.parse(await Deno.readTextFile(new URL("bpe_cases.json", golden)));
  ok(cases.length >= 40);
  for (const { text, vocab_size, min_frequency, merges, size } of cases) {
    const counts = countWords(text);
    const { model } = await trainBpe(counts, { vocabSize: vocab_size, minFrequency: min_frequency });
    deepEqual((model.merges as [string, string][]).map((m) => m.join(" ")), merges);
    equal(Object.keys(model.vocab).length, size);
  }
});

Deno.test("trainBpe() stops when nothing is left to merge, or nothing is frequent enough", async () => {
  const size = async (text: string, minFrequency: number) => {
    const { model } = await trainBpe(countWords(text), { vocabSize: 1000, minFrequency });
    return Object.keys(model.vocab).length;
  };
  equal(await size("abc", 0), 257 + 2);
  equal(await size("abc", 2), 257);
  equal(await size("", 0), 257);
});

Deno.test("trainBpe() takes a token called __proto__ for a token", async () => {
  const { model } = await trainBpe([["__proto__", 9]], { vocabSize: 300 });
  ok(Object.hasOwn(model.vocab, "__proto__"));
});

Deno.test("trainBpe() tells its progress and ends it", async () => {
  const seen: [number, number][] = [];
  await trainBpe(countWords("the other there"), { vocabSize: 262, onProgress: (...p) => seen.push(p) });
  deepEqual(seen.at(-1), [262, 262]);
});

Deno.test("trainBpe() rejects sizes and frequencies out of range", async () => {
  for (const vocabSize of [256, 300.5, NaN, 2 ** 27]) {
    await rejects(trainBpe([], { vocabSize }), { name: "RangeError", message: /at least 257/ });
  }
  await rejects(trainBpe([], { vocabSize: 300, minFrequency: -1 }), RangeError);
  await rejects(trainBpe([], { vocabSize: 258, specialTokens: ["<a>", "<b>", "<c>"] }), /at least 259/);
  for (const specialTokens of [[""], ["<a>", "<a>"], ["a"], ["Ġ"]]) {
    await rejects(trainBpe([], { vocabSize: 300, specialTokens }), /different from each other/);
  }
});
