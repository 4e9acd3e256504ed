import { deepEqual, rejects } from "node:assert/strict";
import { readGutenberg } from "../corpus/gutenberg.ts";
import type { Document } from "../document.ts";
import { prepareTokens, trainOrLoadTokenizer } from "./dataset.ts";
import { streamTokens } from "./stream.ts";

const books: Document[] = await Array.fromAsync(readGutenberg(["blake-poems", "burgess-busterbrown"]));

/** The same documents, that can be read once. */
async function* once(documents: readonly Document[]): AsyncGenerator<Document> {
  for (const document of documents) yield await Promise.resolve(document);
}

Deno.test("streamTokens() gives the tokens of prepareTokens() from one reading, whatever is known of the length", async () => {
  const tokenizer = await trainOrLoadTokenizer({ sources: books, vocabSize: 400 });
  const verses = books[0].text.split("\n\n").map((text, i) => ({ name: `verse ${i}`, text, part: 0 }));
  for (const documents of [books, verses]) {
    using whole = await prepareTokens({ sources: documents, tokenizer, validationFraction: 0 });
    for (const known of [{}, { bytes: 1000 }, { workers: 0 }]) {
      const pieces = await Array.fromAsync(streamTokens(once(documents), { tokenizer, ...known }));
      deepEqual(pieces.flatMap((ids) => [...ids]), [...whole.train as Uint16Array]);
    }
  }
});

Deno.test("streamTokens() refuses a corpus without text at its end", async () => {
  const tokenizer = await trainOrLoadTokenizer({ sources: books, vocabSize: 400 });
  const blank = [{ name: "blank", text: " \n", part: 0 }];
  const read = (documents: Document[]) =>
    Array.fromAsync(streamTokens(once(documents), { tokenizer, workers: 0 }));
  await rejects(read(blank), { name: "RangeError", message: /got nothing but white space/ });
  await rejects(read([]), { name: "RangeError", message: /got no document/ });
});
