import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { trainBpe } from "./bpe_trainer.ts";
import { countWords, WordCounts } from "./word_counts.ts";

const documents = (...texts: string[]) => texts.map((text, i) => ({ name: `${i}`, text, part: 0 }));

Deno.test("WordCounts drops the rarest words when there are too many, and then trains all the same", async () => {
  const counts = new WordCounts(100);
  for (let i = 0; i < 1000; i++) {
    counts.add(` the the cat`);
    counts.add(`x${i}`.replaceAll(/\d/g, (d) => "abcdefghij"[Number(d)]));
    ok(counts.size <= 100);
  }
  const frequent = new Map(counts);
  deepEqual([frequent.get(" the"), frequent.get(" cat")], [2000, 1000]);
  const kept = [...frequent.values()].reduce((a, b) => a + b, 0);
  equal(kept + counts.dropped, 4000);
  ok(counts.dropped > 800);
  const { model } = await trainBpe(counts, { vocabSize: 262 });
  ok("Ġthe" in model.vocab);
  for (const maxWords of [0, 1.5, 2e7]) throws(() => new WordCounts(maxWords), RangeError);
});

Deno.test("countWords() counts in one pass, and says that there is no text", async () => {
  const corpus = documents("a b", "b a").values();
  const { counts, documents: count, bytes } = await countWords(corpus);
  deepEqual([count, bytes, counts.size], [2, 6, 4]);
  await rejects(countWords([]), /got no document/);
  await rejects(countWords(documents(" \n ")), /nothing but white space/);
});

Deno.test("WordCounts counts text by text", () => {
  const counts = new WordCounts();
  for (const text of ["a b a", " b"]) counts.add(text);
  deepEqual([...counts], [["a", 1], [" b", 2], [" a", 1]]);
  deepEqual([counts.size, counts.dropped], [3, 0]);
});
