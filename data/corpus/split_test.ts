import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import type { Document } from "../document.ts";
import { readGutenberg } from "./gutenberg.ts";
import { textParts } from "../formats/text_parts.ts";
import { paragraphs } from "../../tests/random_text.ts";
import { blockHash, cutBlocks } from "./blocks.ts";
import { scanCorpus, splitRuns } from "./split.ts";

const document = (text: string, name = "d"): Document => ({ name, text, part: 0 });

Deno.test("scanCorpus() and splitRuns() set about the fraction aside, and divide all of the text", async () => {
  const texts = [paragraphs(4, 1500), paragraphs(5, 1500)];
  const corpus = texts.map((text) => document(text));
  const scan = await scanCorpus(corpus, 0.1);
  equal(scan.documents, 2);
  equal(scan.bytes, texts.join("").length);
  let validation = 0;
  const all: string[] = [];
  for await (const run of splitRuns(corpus, scan, { pieceLength: 3000 })) {
    all.push(run.text);
    if (run.validation) validation += run.text.length;
  }
  equal(all.join(""), texts.join(""));
  const share = validation / scan.bytes;
  ok(share > 0.05 && share < 0.16, `the share is ${share}`);
});

Deno.test("the split depends on content only: no overlap, and a growing corpus keeps its sides", async () => {
  const sides = async (documents: Document[]) => {
    const scan = await scanCorpus(documents, 0.2);
    const found = [new Set<string>(), new Set<string>()];
    for await (const run of splitRuns(documents, scan)) {
      for (const paragraph of run.text.split("\n\n")) {
        if (paragraph) found[run.validation ? 1 : 0].add(paragraph);
      }
    }
    return found;
  };
  const text = paragraphs(6, 300);
  const [train, validation] = await sides([
    document(text),
    document(text),
    document(paragraphs(7, 200) + text),
  ]);
  const both = [...validation].filter((p) => train.has(p));
  // Only where a boundary is found again after the other text may a paragraph be in two different blocks.
  ok(both.length <= 12, `${both.length} paragraphs on both sides`);

  const [, small] = await sides([document(text)]);
  const [, large] = await sides([document(paragraphs(8, 500)), document(text)]);
  ok([...small].every((p) => large.has(p)));
});

Deno.test("the same block twice is on one side", async () => {
  const text = paragraphs(9, 400);
  const corpus = [document(text), document(paragraphs(10, 100)), document(text)];
  const scan = await scanCorpus(corpus, 0.3);
  const blocks = [new Set<number>(), new Set<number>()];
  for await (const run of splitRuns(corpus, scan, { pieceLength: Infinity })) {
    for (const block of cutBlocks(run.text)) blocks[run.validation ? 1 : 0].add(blockHash(block));
  }
  ok(blocks[0].size > 10 && blocks[1].size > 10);
  deepEqual([...blocks[0]].filter((hash) => blocks[1].has(hash)), []);
});

Deno.test("scanCorpus() raises the threshold until one block of a small corpus is validation", async () => {
  const corpus = [document(paragraphs(11, 12))];
  const scan = await scanCorpus(corpus, 1e-9);
  const runs = await Array.fromAsync(splitRuns(corpus, scan));
  equal(runs.filter((run) => run.validation).length, 1);
  ok(runs.some((run) => !run.validation));
  equal((await scanCorpus(corpus, 0)).threshold, 0);
});

Deno.test("splitRuns() joins the parts of a document and no two documents", async () => {
  const corpus = [document("one "), { name: "d", text: "two", part: 1 }, document("three", "e")];
  deepEqual((await Array.fromAsync(splitRuns(corpus, { threshold: 0 }))).map((run) => run.text), [
    "one two",
    "three",
  ]);
  const pieces = await Array.fromAsync(
    splitRuns([document("aa bb cc dd")], { threshold: 0 }, { pieceLength: 4 }),
  );
  deepEqual(pieces.map((run) => [run.text, run.first]), [["aa bb cc", true], [" dd", false]]);
});

Deno.test("splitRuns() cuts pieces where it is told to", async () => {
  const options = { pieceLength: 4, cut: (text: string) => text.length - 1 };
  const pieces = await Array.fromAsync(splitRuns([document("abcdef")], { threshold: 0 }, options));
  deepEqual(pieces.map((run) => [run.text, run.first]), [["abcde", true], ["f", false]]);
});

Deno.test("splitRuns() cuts what has no white space at 8 Mi, however it is read, and no character in two", async () => {
  const text = `a${"😀".repeat(5 << 20)}`;
  const lengths = async (pieceOfReading: number) => {
    const pieces = Array.from(
      { length: Math.ceil(text.length / pieceOfReading) },
      (_, i) => text.slice(i * pieceOfReading, (i + 1) * pieceOfReading),
    );
    const runs = splitRuns(textParts("x", pieces), { threshold: 0 });
    const found: number[] = [];
    let joined = "";
    for await (const run of runs) {
      ok(run.text.isWellFormed());
      equal(run.first, joined === "");
      found.push(run.text.length);
      joined += run.text;
    }
    ok(joined === text);
    return found;
  };
  const most = (8 << 20) - 1;
  deepEqual(await lengths(1 << 16), [most, text.length - most]);
  deepEqual(await lengths(1_234_567), await lengths(1 << 16));
});

Deno.test("a document of up to 64 KiB stays whole, and keeps its side when the corpus grows", async () => {
  const text = (seed: number, length: number) => paragraphs(seed, 200).padEnd(length, "x").slice(0, length);
  const lengths = [30, 300, 5000, 40000, 65536];
  const short = Array.from({ length: 60 }, (_, i) => document(text(20 + i, lengths[i % 5]), `short ${i}`));
  const sides = async (documents: Document[]) => {
    const scan = await scanCorpus(documents, 0.3);
    const runs = await Array.fromAsync(splitRuns(documents, scan, { pieceLength: Infinity }));
    return new Map(runs.map((run) => [run.text, run.validation]));
  };
  const found = await sides(short);
  deepEqual([...found.keys()].sort(), short.map((d) => d.text).sort());
  ok(new Set(found.values()).size === 2);
  // Longer ones, parts of one, and more short ones come before, between and after.
  const long = document(text(90, 65537), "long");
  const parts = [document(text(91, 9000), "parts"), { name: "parts", text: text(92, 9000), part: 1 }];
  const grown = await sides([long, ...short.slice(0, 30), ...parts, document("new"), ...short.slice(30)]);
  for (const [text, side] of found) equal(grown.get(text), side);
  ok(!grown.has(long.text) && !grown.has(parts[0].text + parts[1].text), "long ones are cut");
});

/** The share of a corpus that is set aside, and its runs. */
async function held(corpus: Document[], fraction: number) {
  const scan = await scanCorpus(corpus, fraction);
  const runs = await Array.fromAsync(splitRuns(corpus, scan, { pieceLength: Infinity }));
  const [train, validation] = [false, true].map((side) => runs.filter((run) => run.validation === side));
  const length = (runs: { text: string }[]) => runs.reduce((sum, { text }) => sum + text.length, 0);
  ok(train.length > 0 && validation.length > 0);
  equal(length(runs), length(corpus));
  return { scan, validation: validation.map(({ text }) => text), share: length(validation) / length(runs) };
}

Deno.test("few documents set aside about the share that was asked for, whatever their order and lengths", async () => {
  const files = (seed: number, lengths: number[]) =>
    lengths.map((length, i) => document(paragraphs(seed + i, 300).slice(0, length), `${i}`));
  const corpora: [Document[], number][] = [];
  for (const fraction of [0.02, 0.05, 0.5, 0.9]) {
    for (let seed = 100; seed < 200; seed += 20) {
      corpora.push([files(seed, [46000, 46000, 46000]), fraction]);
      corpora.push([files(seed, [60000, 500, 500, 500, 30000]), fraction]);
      corpora.push([files(seed, Array(19).fill(9000)), fraction]);
      corpora.push([[document(paragraphs(seed, 150))], fraction]);
    }
  }
  // Lines without a blank one between them, and nothing to cut at at all.
  corpora.push([[1, 2, 3].map((i) => document(`line ${i} of verse\n`.repeat(2700))), 0.34]);
  corpora.push([files(300, [46000, 46000]).map(({ text }) => document(text.replaceAll(/\s/g, ""))), 0.05]);
  for (const [corpus, fraction] of corpora) {
    const { scan, share, validation } = await held(corpus, fraction);
    const off = Math.abs(share - fraction) / Math.min(fraction, 1 - fraction);
    ok(off <= 0.5, `${corpus.length} documents: ${share} in place of ${fraction}`);
    const reverse = await held(corpus.toReversed(), fraction);
    deepEqual([reverse.share, reverse.validation.sort()], [share, validation.sort()]);
    const { threshold, blockLength } = reverse.scan;
    deepEqual([threshold, blockLength], [scan.threshold, scan.blockLength]);
  }
});

Deno.test("a split that is not the usual one changes the digest, and no other does", async () => {
  const content = async (corpus: Document[]) => (await scanCorpus(corpus, 0)).digest;
  const few = [1, 2, 3].map((i) => document(paragraphs(i, 90)));
  const { digest, blockLength } = await scanCorpus(few);
  equal(blockLength, 2048);
  ok(digest !== await content(few) && digest !== (await scanCorpus(few, 0.06)).digest);

  const many = Array.from({ length: 1100 }, (_, i) => document(paragraphs(1000 + i, 1)));
  const one = [document(paragraphs(6, 300))];
  for (const [corpus, fraction] of [[many, 0.05], [many, 0.001], [many, 0.6], [one, 0.2]] as const) {
    const { threshold, digest, blockLength } = await scanCorpus(corpus, fraction);
    deepEqual([threshold, digest, blockLength], [fraction * 2 ** 32, await content(corpus), undefined]);
  }
});

Deno.test("the default corpus has the digest and the split that it always had", async () => {
  const corpus = await Array.fromAsync(readGutenberg());
  for (const fraction of [0.05, 0.001]) {
    const { digest, threshold, blockLength } = await scanCorpus(corpus, fraction);
    equal(digest, "51e955464f2206bede8302d3b350a809f86e744d6636be5be174b109fa267262");
    deepEqual([threshold, blockLength], [fraction * 2 ** 32, undefined]);
  }
});

Deno.test("a book and a corpus of one document are read in blocks, however short", async () => {
  const text = paragraphs(93, 60);
  ok(text.length < 65536);
  const alone = await scanCorpus([document(text)], 0.3);
  const sides = async (documents: Document[]) => {
    const runs = await Array.fromAsync(splitRuns(documents, alone));
    return new Set(runs.map((run) => run.validation)).size;
  };
  equal(await sides([document(text)]), 2);
  const book = { ...document(text), isBook: true };
  equal(await sides([book, document("another", "e")]), 2);
});

Deno.test("scanCorpus() rejects a corpus without text and fractions out of range", async () => {
  await rejects(scanCorpus([]), { name: "RangeError", message: /got no document/ });
  await rejects(scanCorpus([document(" \n")]), { name: "RangeError", message: /white space/ });
  await rejects(scanCorpus([document("a")], 1), RangeError);
  await rejects(scanCorpus([document("a")], NaN), RangeError);
});

Deno.test("scanCorpus() tells corpora apart by content and by their documents' ends", async () => {
  const digest = async (...texts: string[]) => (await scanCorpus(texts.map((text) => document(text)))).digest;
  equal(await digest("a", "b"), await digest("a", "b"));
  const different = [
    await digest("a", "b"),
    await digest("b", "a"),
    await digest("ab"),
    await digest("a"),
    await digest("a", "c"),
  ];
  equal(new Set(different).size, different.length);
});
