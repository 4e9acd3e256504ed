import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { trainBpe } from "../tokenizer/bpe_trainer.ts";
import { readGutenberg } from "../corpus/gutenberg.ts";
import { splitRuns } from "../corpus/split.ts";
import { prepareTokens } from "./dataset.ts";
import { startTokenizers } from "./parallel.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import { WordCounts } from "../tokenizer/word_counts.ts";

const books = await Array.fromAsync(readGutenberg(["austen-emma", "melville-moby_dick"]));
const counts = new WordCounts();
counts.add(books[0].text.slice(0, 200_000));
const tokenizer = Tokenizer.fromJson(await trainBpe(counts, { vocabSize: 600 }));

/** Items of very different lengths. */
async function* items(): AsyncGenerator<{ text: string; validation: boolean }> {
  yield* splitRuns(books, { threshold: 0.2 * 2 ** 32 }, { pieceLength: 100_000 });
  yield* ["a", "", "bc"].map((text) => ({ text, validation: true }));
}

Deno.test("workers give the tokens of one thread, in the same order", async () => {
  const expected: unknown[] = [];
  for await (const { text } of items()) expected.push([text, tokenizer.encode(text)]);
  for (const workers of [0, 1, 3]) {
    using tokenizers = await startTokenizers(tokenizer, workers);
    equal(tokenizers.workers, workers);
    const found: unknown[] = [];
    for await (const { item, ids, bytes } of tokenizers.encode(items())) {
      equal(bytes, new TextEncoder().encode(item.text).length);
      ok(ids instanceof Uint16Array);
      found.push([item.text, [...ids]]);
    }
    deepEqual(found, expected);
  }
});

Deno.test("prepareTokens() gives the same with any number of workers", async () => {
  const [none, two] = await Promise.all(
    [0, 2].map((workers) => prepareTokens({ sources: books, tokenizer, workers })),
  );
  deepEqual(two.train, none.train);
  deepEqual(two.validation, none.validation);
});

Deno.test("what a worker throws is thrown where its tokens are awaited", async () => {
  const model = { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab: { a: 0 } };
  const letters = Tokenizer.fromJson({ added_tokens: [], model });
  async function* texts() {
    yield* [{ text: "a" }, { text: "b" }];
  }
  for (const workers of [0, 1]) {
    using tokenizers = await startTokenizers(letters, workers);
    await rejects(Array.fromAsync(tokenizers.encode(texts())), {
      name: "RangeError",
      message: /must have a token/,
    });
  }
});
