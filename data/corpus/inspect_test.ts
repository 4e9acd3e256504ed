import { deepEqual, equal, rejects } from "node:assert/strict";
import type { Document } from "../document.ts";
import { inspectCorpus } from "./inspect.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";

const golden = new URL("../../tests/golden/tokenizer/tokenizer.json", import.meta.url);
const tokenizer = Tokenizer.fromJson(JSON.parse(await Deno.readTextFile(golden)));

const documents = (...texts: string[]): Document[] =>
  texts.map((text, i) => ({ name: `${i}`, text, part: 0, source: i < 2 ? "a" : "b" }));

Deno.test("inspectCorpus() counts documents, bytes, tokens, duplicates and sources", async () => {
  const corpus = documents("one two", "é", "one two", "one two ", "é", "x".repeat(70_000));
  const found = await inspectCorpus(corpus, { tokenizer });
  const tokens = corpus.map(({ text }) => tokenizer.encode(text));
  equal(found.documents, 6);
  equal(found.bytes, 7 + 2 + 7 + 8 + 2 + 70_000);
  equal(found.tokens, tokens.flat().length);
  equal(found.usedIds, new Set(tokens.flat()).size);
  deepEqual(found.duplicates, { documents: 2, bytes: 9 });
  deepEqual(found.sources.map(({ name, documents, bytes }) => [name, documents, bytes]), [
    ["a", 2, 9],
    ["b", 4, 70_017],
  ]);
  deepEqual(found.sources.map(({ tokens }) => tokens), [
    tokens.slice(0, 2).flat().length,
    tokens.slice(2).flat().length,
  ]);
});

Deno.test("inspectCorpus() gives the first sequences, with the end of text between documents", async () => {
  const corpus = documents("The cat.", "sat on", "the mat.");
  const packed = corpus.flatMap((
    { text },
    i,
  ) => [...(i > 0 ? [tokenizer.eosId!] : []), ...tokenizer.encode(text)]);
  const { sequences } = await inspectCorpus(corpus, { tokenizer, sequences: 2, seqLen: 5 });
  deepEqual(sequences.map(({ ids }) => ids), [packed.slice(0, 5), packed.slice(5, 10)]);
  equal(sequences[0].text, tokenizer.decode(packed.slice(0, 5)));
  const all = await inspectCorpus(corpus, { tokenizer, sequences: 1000, seqLen: 1000 });
  deepEqual(all.sequences.map(({ text }) => text), ["The cat.<|endoftext|>sat on<|endoftext|>the mat."]);
});

Deno.test("inspectCorpus() counts lengths by powers of two, in bytes without a tokenizer", async () => {
  const corpus = documents("a", "ab", "é", "abc", "x".repeat(17));
  const { lengths, tokens, sequences, usedIds } = await inspectCorpus(corpus);
  deepEqual([tokens, usedIds, sequences], [null, null, []]);
  deepEqual(lengths, {
    unit: "bytes",
    min: 1,
    mean: 5,
    max: 17,
    histogram: [
      { from: 1, below: 2, documents: 1 },
      { from: 2, below: 4, documents: 3 },
      { from: 4, below: 8, documents: 0 },
      { from: 8, below: 16, documents: 0 },
      { from: 16, below: 32, documents: 1 },
    ],
  });
});

Deno.test("inspectCorpus() says that there is no text", async () => {
  await rejects(inspectCorpus([]), { name: "RangeError", message: /must hold text: got no document/ });
});
