import { deepEqual, equal, notEqual, ok, rejects, throws } from "node:assert/strict";
import { join } from "node:path";
import { serveFiles } from "../../tests/file_server.ts";
import { trainBpe } from "../tokenizer/bpe_trainer.ts";
import type { Document } from "../document.ts";
import { readGutenberg } from "../corpus/gutenberg.ts";
import { scanCorpus, splitRuns } from "../corpus/split.ts";
import {
  checkDataset,
  combineDatasets,
  type DataProgress,
  prepareTokens,
  readCachedTokens,
  type TokenDataset,
  trainOrLoadTokenizer,
} from "./dataset.ts";
import { readTokens, type TokenIds } from "./token_ids.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { WordCounts } from "../tokenizer/word_counts.ts";

const books: Document[] = await Array.fromAsync(readGutenberg(["blake-poems", "burgess-busterbrown"]));

/** All ids as an array. */
function idsOf(ids: TokenIds): number[] {
  const all = new Uint32Array(ids.length);
  readTokens(ids, 0, all);
  return [...all];
}

/** What a dataset holds, with its ids as arrays. */
function contentOf({ train, validation, [Symbol.dispose]: dispose, ...rest }: TokenDataset) {
  const content = { ...rest, train: idsOf(train), validation: idsOf(validation) };
  dispose();
  return content;
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("prepareTokens() encodes every run as a whole, with end-of-text tokens between", async () => {
  const tokenizer = await trainOrLoadTokenizer({ sources: books, vocabSize: 400, validationFraction: 0.2 });
  const data = await prepareTokens({ sources: books, tokenizer, validationFraction: 0.2 });
  const scan = await scanCorpus(books, 0.2);
  const sides: number[][] = [[], []];
  const texts = ["", ""];
  for await (const { text, validation } of splitRuns(books, scan, { pieceLength: Infinity })) {
    const side = validation ? 1 : 0;
    if (sides[side].length > 0) sides[side].push(tokenizer.eosId!);
    sides[side].push(...tokenizer.encode(text));
    texts[side] += text;
  }
  deepEqual([idsOf(data.train), idsOf(data.validation)], sides);
  ok(data.train instanceof Uint16Array);
  equal(data.documents, 2);
  equal(data.trainBytes + data.validationBytes, scan.bytes);
  equal(tokenizer.decode(idsOf(data.validation), { skipSpecialTokens: true }), texts[1]);
  equal(idsOf(data.validation).reduce((sum, id) => sum + tokenizer.byteLengths[id], 0), data.validationBytes);
});

Deno.test("trainOrLoadTokenizer() trains on the training side only", async () => {
  const options = { sources: books, vocabSize: 500, validationFraction: 0.3 };
  const scan = await scanCorpus(books, 0.3);
  const counts = new WordCounts();
  for await (const { text, validation } of splitRuns(books, scan, { pieceLength: Infinity })) {
    if (!validation) counts.add(text);
  }
  deepEqual(
    (await trainOrLoadTokenizer(options)).json.model,
    (await trainBpe(counts, { vocabSize: 500 })).model,
  );
});

Deno.test("a tokenizer without an end of text joins texts directly, and a large one gives 32-bit ids", async () => {
  const json = structuredClone((await trainOrLoadTokenizer({ sources: books, vocabSize: 300 })).json);
  json.added_tokens = [];
  const tokenizer = Tokenizer.fromJson(json);
  const data = await prepareTokens({ sources: books, tokenizer, validationFraction: 0 });
  equal(tokenizer.decode(idsOf(data.train)), books.map((b) => b.text).join(""));
  equal(data.validation.length, 0);

  const vocab = json.model.vocab as Record<string, number>;
  for (let i = 300; i < 65537; i++) vocab[`unused${i}`] = i;
  const large = await prepareTokens({
    sources: books,
    tokenizer: Tokenizer.fromJson(json),
    validationFraction: 0,
  });
  ok(large.train instanceof Uint32Array);
  deepEqual(idsOf(large.train), idsOf(data.train));
});

Deno.test("the cache gives the same data, by content and settings, and damage is repaired", async () => {
  await withFolder(async (cacheDir) => {
    const stages = new Set<string>();
    const onProgress = (p: DataProgress) => {
      ok(p.done <= p.total);
      stages.add(p.stage);
    };
    const first = await trainOrLoadTokenizer({ sources: books, vocabSize: 300, cacheDir, onProgress });
    const again = await trainOrLoadTokenizer({ sources: books, vocabSize: 300, cacheDir });
    deepEqual(again.json, first.json);

    const prepare = async (validationFraction?: number) =>
      contentOf(
        await prepareTokens({ sources: books, tokenizer: first, cacheDir, validationFraction, onProgress }),
      );
    const made = await prepare();
    equal(made.cached, false);
    deepEqual(stages, new Set(["count", "merge", "tokenize"]));
    deepEqual(await prepare(), { ...made, cached: true });
    equal((await prepare(0.5)).cached, false);
    deepEqual(contentOf(await prepareTokens({ sources: books, tokenizer: first })), made);

    // Without the corpus, by its digest.
    const known = { tokenizer: first, cacheDir, corpusDigest: made.corpusDigest };
    deepEqual(contentOf((await readCachedTokens(known))!), { ...made, cached: true });
    equal(await readCachedTokens({ ...known, corpusDigest: "0" }), null);
    equal(await readCachedTokens({ ...known, validationFraction: 0.1 }), null);

    for (const file of ["train-00000.bin", "index.json"]) {
      for await (const { name } of Deno.readDir(cacheDir)) {
        if (!name.startsWith("tokens-")) continue;
        const path = join(cacheDir, name, file);
        const bytes = await Deno.readFile(path);
        bytes[0] ^= 1;
        await Deno.writeFile(path, bytes);
      }
      deepEqual(await prepare(), made);
      deepEqual(await prepare(), { ...made, cached: true });
    }
    const tokenizerFile = (await Array.fromAsync(Deno.readDir(cacheDir))).find((e) => e.isFile)!.name;
    await Deno.writeTextFile(join(cacheDir, tokenizerFile), "{");
    deepEqual((await trainOrLoadTokenizer({ sources: books, vocabSize: 300, cacheDir })).json, first.json);
  });
});

Deno.test("prepareTokens() with a scratch folder gives the same ids, from files that no folder shows", async () => {
  await withFolder(async (scratchDir) => {
    const json = structuredClone((await trainOrLoadTokenizer({ sources: books, vocabSize: 300 })).json);
    for (let i = 300; i < 65537; i++) (json.model.vocab as Record<string, number>)[`unused${i}`] = i;
    for (
      const tokenizer of [
        await trainOrLoadTokenizer({ sources: books, vocabSize: 300 }),
        Tokenizer.fromJson(json),
      ]
    ) {
      const options = { sources: books, tokenizer, validationFraction: 0.2 };
      const expected = contentOf(await prepareTokens(options));
      const data = await prepareTokens({ ...options, scratchDir });
      if (Deno.build.os !== "windows") deepEqual(await Array.fromAsync(Deno.readDir(scratchDir)), []);
      deepEqual(contentOf(data), expected);
      deepEqual(await Array.fromAsync(Deno.readDir(scratchDir)), []);
    }
    const failing = async function* () {
      yield* books;
      throw new SyntaxError("bad text");
    };
    const scan = await scanCorpus(books);
    const tokenizer = Tokenizer.fromJson(json);
    const sources = { [Symbol.asyncIterator]: failing };
    await rejects(prepareTokens({ sources, scan, tokenizer, scratchDir }), { message: "bad text" });
    deepEqual(await Array.fromAsync(Deno.readDir(scratchDir)), []);
  });
});

Deno.test("combineDatasets() trains on the first and holds out the second", async () => {
  const tokenizer = await trainOrLoadTokenizer({ sources: books, vocabSize: 300 });
  const whole = (book: Document) => prepareTokens({ sources: [book], tokenizer, validationFraction: 0 });
  const [first, second] = await Promise.all(books.map(whole));
  const both = combineDatasets(first, second);
  deepEqual([both.train, both.validation], [first.train, second.train]);
  deepEqual([both.trainBytes, both.validationBytes], [first.trainBytes, second.trainBytes]);
  notEqual(both.corpusDigest, combineDatasets(second, first).corpusDigest);
});

Deno.test("a tokenizer that takes no pieces is given documents whole", async () => {
  const json = structuredClone((await trainOrLoadTokenizer({ sources: books, vocabSize: 300 })).json);
  // Lower case is not plain byte-level BPE any more.
  const tokenizer = Tokenizer.fromJson({ ...json, normalizer: { type: "Lowercase" } });
  ok(!tokenizer.takesPieces);
  const data = await prepareTokens({ sources: books, tokenizer, validationFraction: 0 });
  const expected = books.flatMap((
    { text },
    i,
  ) => [...i > 0 ? [tokenizer.eosId!] : [], ...tokenizer.encode(text)]);
  deepEqual(idsOf(data.train), expected);
});

Deno.test("prepareTokens() reads files as sources", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "a.txt"), "some words\r\n");
    const tokenizer = await trainOrLoadTokenizer({ sources: [folder], vocabSize: 257 });
    const data = await prepareTokens({ sources: [folder], tokenizer });
    equal(tokenizer.decode(idsOf(data.train)), "some words\n");
  });
});

Deno.test("trainOrLoadTokenizer() and prepareTokens() fetch an address once where there is a cache", async () => {
  const content = new TextEncoder().encode("some words and some more\n".repeat(200));
  await using server = await serveFiles({ "/a.txt": { content } });
  await withFolder(async (cacheDir) => {
    const options = { sources: [`${server.url}/a.txt`], cacheDir };
    const tokenizer = await trainOrLoadTokenizer({ ...options, vocabSize: 260 });
    (await prepareTokens({ ...options, tokenizer }))[Symbol.dispose]();
    equal(server.sent, content.length);
  });
});

Deno.test("a corpus without text, and one-shot documents, are rejected", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "a.txt"), "");
    const sources = [folder];
    await rejects(trainOrLoadTokenizer({ sources, vocabSize: 300 }), {
      name: "RangeError",
      message: /must hold text/,
    });
  });
  await rejects(trainOrLoadTokenizer({ sources: [], vocabSize: 300 }), RangeError);
  const once = books.values();
  await rejects(trainOrLoadTokenizer({ sources: once, vocabSize: 300 }), {
    name: "TypeError",
    message: /more than once/,
  });
  await rejects(trainOrLoadTokenizer({ sources: 5 as unknown as string[], vocabSize: 300 }), TypeError);
});

Deno.test("checkDataset() asks for one sequence and one token on both sides", () => {
  const ids = (length: number) => new Uint16Array(length);
  checkDataset({ train: ids(9), validation: ids(9) }, 8);
  throws(() => checkDataset({ train: ids(8), validation: ids(9) }, 8), {
    name: "RangeError",
    message: /training text.*got 8/,
  });
  throws(() => checkDataset({ train: ids(9), validation: ids(0) }, 8), {
    name: "RangeError",
    message: /validation text.*larger/,
  });
});
