import { deepEqual, ok } from "node:assert/strict";
import { Random } from "../../tests/random_text.ts";
import { documentPieces } from "./pieces.ts";
import { Tokenizer } from "./tokenizer.ts";
import { countWords, WordCounts } from "./word_counts.ts";

const golden = new URL("../../tests/golden/tokenizer/tokenizer.json", import.meta.url);
const tokenizer = Tokenizer.fromJson(JSON.parse(await Deno.readTextFile(golden)));

Deno.test("documentPieces() joins parts, and pieces have the whole document's tokens", async () => {
  for (let seed = 0; seed < 30; seed++) {
    const random = new Random(seed);
    const texts = Array.from({ length: 3 }, () => random.text(1 + random.below(400)));
    const corpus = texts.flatMap((text) => {
      const cut = random.below(text.length);
      const parts = [text.slice(0, cut), text.slice(cut)].filter((part) =>
        part.isWellFormed() && part !== ""
      );
      return (parts.join("") === text ? parts : [text]).map((text, part) => ({ name: "", text, part }));
    });
    const found: string[][] = [];
    for await (const { text, first } of documentPieces(corpus, 1 + random.below(50))) {
      if (first) found.push([]);
      found.at(-1)!.push(text);
    }
    deepEqual(found.map((pieces) => pieces.join("")), texts);
    const ids = found.map((pieces) => pieces.flatMap((piece) => tokenizer.encode(piece)));
    deepEqual(ids, texts.map((text) => tokenizer.encode(text)), `seed ${seed}`);
    ok(found.some((pieces) => pieces.length > 1));
    // And pieces have the words of whole documents.
    const whole = new WordCounts();
    for (const text of texts) whole.add(text);
    deepEqual([...(await countWords(corpus)).counts], [...whole]);
  }
});

Deno.test("documentPieces() cuts what has no white space at 8 Mi, and no character in two", async () => {
  const text = `a${"😀".repeat(5 << 20)}`;
  const parts = [text.slice(0, 8_000_001), text.slice(8_000_001)];
  const corpus = parts.map((text, part) => ({ name: "", text, part }));
  const pieces = (await Array.fromAsync(documentPieces(corpus))).map(({ text }) => text);
  deepEqual(pieces.map(({ length }) => length), [(8 << 20) - 1, text.length - (8 << 20) + 1]);
  ok(pieces.every((piece) => piece.isWellFormed()) && pieces.join("") === text);
});
