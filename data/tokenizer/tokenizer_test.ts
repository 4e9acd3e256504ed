import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { join } from "node:path";
import { trainBpe } from "./bpe_trainer.ts";
import { lastSafeCut } from "./byte_level.ts";
import { readGutenberg } from "../corpus/gutenberg.ts";
import { loadTokenizer } from "./load_tokenizer.ts";
import { Tokenizer } from "./tokenizer.ts";
import { WordCounts } from "./word_counts.ts";
import { hashCombine } from "../../ops/random.ts";

const golden = new URL("../../tests/golden/tokenizer/", import.meta.url);
const goldenJson = JSON.parse(await Deno.readTextFile(new URL("tokenizer.json", golden)));

/**
 * The same tokenizer made to look special, so that it takes the library's way: an added token that strips
 * white space and that no text has.
 */
function throughLibrary(): Tokenizer {
  const json = structuredClone(goldenJson);
  json.added_tokens.push({
    id: Object.keys(json.model.vocab).length,
    content: "<|unused|>",
    lstrip: true,
    special: true,
  });
  const tokenizer = Tokenizer.fromJson(json);
  equal(tokenizer.takesPieces, false);
  return tokenizer;
}

Deno.test("encode() and decode() agree with Hugging Face's library on every golden case", async () => {
  const cases = JSON.parse(await Deno.readTextFile(new URL("cases.json", golden)));
  ok(cases.length >= 17);
  for (const tokenizer of [Tokenizer.fromJson(goldenJson), throughLibrary()]) {
    for (const { text, ids, decoded } of cases) {
      deepEqual(tokenizer.encode(text), ids);
      deepEqual(tokenizer.encode(text), ids, "from the cache");
      equal(tokenizer.decode(ids), decoded);
    }
  }
});

Deno.test("startIds are the special tokens that a template puts before a text", () => {
  const of = (post_processor: unknown) => Tokenizer.fromJson({ ...goldenJson, post_processor }).startIds;
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const text = { Sequence: { id: "A", type_id: 0 } };
  const template = (...single: unknown[]) => ({
    type: "TemplateProcessing",
    single,
    pair: [text],
    special_tokens: { "<|endoftext|>": { id: "<|endoftext|>", ids: [0], tokens: ["<|endoftext|>"] } },
  });
  deepEqual(of(null), []);
  deepEqual(of(template(special("<|endoftext|>"), text)), [0]);
  deepEqual(of(template(text, special("<|endoftext|>"))), []);
  // As Llama 3 has it.
  const byteLevel = { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true };
  deepEqual(of({ type: "Sequence", processors: [byteLevel, template(special("<|endoftext|>"), text)] }), [0]);
});

Deno.test("encode() agrees with Hugging Face's library at the edges of the word pattern", async () => {
  const cases = JSON.parse(await Deno.readTextFile(new URL("bpe_cases.json", golden)));
  for (const { text, vocab_size, min_frequency, probe, ids } of cases) {
    const counts = new WordCounts();
    counts.add(text);
    const json = await trainBpe(counts, { vocabSize: vocab_size, minFrequency: min_frequency });
    const tokenizer = Tokenizer.fromJson(json);
    deepEqual(tokenizer.encode(probe), ids);
    equal(tokenizer.decode(ids), probe);
  }
});

Deno.test("encode() gives the library's own ids on a book, and the book comes back", async () => {
  const fast = Tokenizer.fromJson(goldenJson);
  const library = throughLibrary();
  for await (const { text } of readGutenberg(["shakespeare-macbeth"])) {
    const ids = fast.encode(text);
    deepEqual(ids, library.encode(text));
    equal(fast.decode(ids), text);
  }
});

Deno.test("encode() gives the library's ids on random texts, whole and in pieces", () => {
  const fast = Tokenizer.fromJson(goldenJson);
  const library = throughLibrary();
  // Without U+0085 and U+FEFF, where the library differs from the Rust one.
  const parts = [
    ..."ab\n\n  \t'.,7é日Ж٣½\u00a0\u3000😀",
    "'s",
    "'ll",
    "\r\n",
    " the",
    "don't",
    "<|endoftext|>",
    "<|end",
  ];
  for (let seed = 0; seed < 500; seed++) {
    const text = Array.from({ length: 1 + seed % 40 }, (_, i) => parts[hashCombine(seed, i) % parts.length])
      .join("");
    const ids = fast.encode(text);
    deepEqual(ids, library.encode(text), JSON.stringify(text));
    const cut = lastSafeCut(text);
    deepEqual(
      [...fast.encode(text.slice(0, cut)), ...fast.encode(text.slice(cut))],
      ids,
      JSON.stringify(text),
    );
    equal(fast.decode(ids), text);
  }
});

Deno.test("byteLengths adds up to the text's bytes, with 0 for special tokens", () => {
  const tokenizer = Tokenizer.fromJson(goldenJson);
  equal(tokenizer.byteLengths.length, tokenizer.vocabSize);
  equal(tokenizer.byteLengths[tokenizer.eosId!], 0);
  const text = "naïve café — “quotes” 日本語 👩‍👩‍👧 and more\n";
  const bytes = tokenizer.encode(text).reduce((sum, id) => sum + tokenizer.byteLengths[id], 0);
  equal(bytes, new TextEncoder().encode(text).length);
});

Deno.test("byteLengths counts an end of a word, which is spelt in GPT's way, as a space", () => {
  const vocab = { "<unk>": 0, l: 1, o: 2, lo: 3, "w</w>": 4 };
  const model = { type: "BPE", vocab, merges: [["l", "o"]], unk_token: "<unk>", end_of_word_suffix: "</w>" };
  const added_tokens = [{ id: 0, content: "<unk>", special: true }];
  const pre_tokenizer = { type: "BertPreTokenizer" };
  const decoder = { type: "BPEDecoder", suffix: "</w>" };
  const tokenizer = Tokenizer.fromJson({ ...goldenJson, model, added_tokens, pre_tokenizer, decoder });
  deepEqual([...tokenizer.byteLengths], [0, 1, 1, 2, 2]);
  deepEqual(tokenizer.encode("low low"), [3, 4, 3, 4]);
});

Deno.test("vocabSize counts up to the highest id, and eosId is found or null", () => {
  const tokenizer = Tokenizer.fromJson(goldenJson);
  equal(tokenizer.vocabSize, Object.keys(goldenJson.model.vocab).length);
  equal(tokenizer.eosId, 0);
  const json = structuredClone(goldenJson);
  json.added_tokens = [{ id: 2000, content: "</s>", special: true }];
  equal(Tokenizer.fromJson(json).vocabSize, 2001);
  equal(Tokenizer.fromJson(json).eosId, 2000);
  json.added_tokens = [];
  equal(Tokenizer.fromJson(json).eosId, null);
});

Deno.test("decode() can leave special tokens out, and alters no spaces", () => {
  const tokenizer = Tokenizer.fromJson(goldenJson);
  const text = "Well , I do n't <|endoftext|> know .";
  equal(tokenizer.decode(tokenizer.encode(text)), text);
  equal(tokenizer.decode(tokenizer.encode(text), { skipSpecialTokens: true }), "Well , I do n't  know .");
  equal(tokenizer.decode([]), "");
});

Deno.test("decode() rejects ids outside the vocabulary and leaves unused ids out", () => {
  const json = structuredClone(goldenJson);
  json.added_tokens.push({ id: 1100, content: "<pad>", special: true });
  const tokenizer = Tokenizer.fromJson(json);
  equal(tokenizer.decode([1, 1050, 2]), '!"');
  for (const id of [-1, 1101, 0.5, NaN]) throws(() => tokenizer.decode([id]), RangeError);
});

Deno.test("encode() says when the vocabulary cannot spell a text", () => {
  const json = {
    added_tokens: [],
    model: { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab: { a: 0 } },
  };
  throws(() => Tokenizer.fromJson(json).encode("b"), RangeError);
});

Deno.test("fromJson() names a part that the library doesn't know", () => {
  const json = { ...goldenJson, pre_tokenizer: { type: "Telepathy" } };
  throws(() => Tokenizer.fromJson(json), { name: "SyntaxError", message: /Telepathy/ });
});

Deno.test("loadTokenizer() names the file that is missing, no JSON or no tokenizer", async () => {
  equal(
    (await loadTokenizer(join(import.meta.dirname!, "../../tests/golden/tokenizer/tokenizer.json")))
      .vocabSize,
    1024,
  );
  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(path, JSON.stringify(goldenJson).slice(0, 1000));
    await rejects(loadTokenizer(path), (e) => e instanceof SyntaxError && e.message.includes(path));
    await Deno.writeTextFile(path, "{}");
    await rejects(loadTokenizer(path), /model must be an object/);
  } finally {
    await Deno.remove(path);
  }
  await rejects(loadTokenizer(path), (e) => e instanceof Deno.errors.NotFound && e.message.includes(path));
});
