import { deepEqual, equal, rejects } from "node:assert/strict";
import type { Document } from "../document.ts";
import { spoolCorpus } from "./spool.ts";

const documents: Document[] = [
  { name: "a", text: "one \ufeff\u0000 ünï 😀\n", part: 0 },
  { name: "a", text: "two", part: 1 },
  { name: "b", text: "x".repeat(300_000), part: 0 },
  { name: "", text: "", part: 0 },
];

/** Documents that can be taken once. */
const once = (documents: Document[]) => {
  const iterator = documents.values();
  return { replayable: false, [Symbol.iterator]: () => iterator };
};

Deno.test("spoolCorpus() gives the documents again and again, and leaves no file", async () => {
  const folder = await Deno.makeTempDir();
  try {
    {
      await using corpus = await spoolCorpus(once(documents), `${folder}/new`);
      for (let i = 0; i < 2; i++) deepEqual(await Array.fromAsync(corpus), documents);
      // Two readings at once have a place each.
      const two = [corpus, corpus].map((corpus) =>
        (corpus as AsyncIterable<Document>)[Symbol.asyncIterator]()
      );
      for (const expected of documents) {
        for (const reading of two) deepEqual((await reading.next()).value, expected);
      }
    }
    deepEqual(await Array.fromAsync(Deno.readDir(`${folder}/new`)), []);
    const failing = async function* () {
      yield* documents;
      throw new SyntaxError("bad text");
    };
    const corpus = { replayable: false, [Symbol.asyncIterator]: failing };
    await rejects(spoolCorpus(corpus, `${folder}/new`), { message: "bad text" });
    deepEqual(await Array.fromAsync(Deno.readDir(`${folder}/new`)), []);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("spoolCorpus() copies nothing that can be read repeatedly", async () => {
  await using corpus = await spoolCorpus(documents, "/nowhere/at/all");
  const [first] = await Array.fromAsync(corpus);
  equal(first, documents[0]);
});
