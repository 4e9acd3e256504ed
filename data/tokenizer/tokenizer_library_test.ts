import { deepEqual, equal } from "node:assert/strict";
import { Random } from "../../tests/random_text.ts";
import { Tokenizer } from "./tokenizer.ts";

const unknown = { id: 0, content: "<unk>", special: true };
const metaspace = { type: "Metaspace", replacement: "▁", prepend_scheme: "always" };

/** A Unigram model whose ids are the places in `vocab`. */
function unigram(vocab: [string, number][], settings: Record<string, unknown> = {}): Tokenizer {
  return Tokenizer.fromJson({
    added_tokens: [unknown],
    pre_tokenizer: metaspace,
    decoder: metaspace,
    model: { type: "Unigram", unk_id: 0, vocab: [["<unk>", 0], ...vocab] },
    ...settings,
  });
}

Deno.test("Unigram takes the cut of the highest sum, and of equal ones the first", () => {
  const tokenizer = unigram([["▁", -3], ["a", -2], ["b", -2], ["ab", -3], ["▁a", -4], ["▁ab", -7]]);
  // ▁ + ab is -6; ▁a + b is -6 as well, and ends in the token that begins later.
  deepEqual(tokenizer.encode("ab"), [1, 4]);
  deepEqual(tokenizer.encode("b ab"), [1, 3, 1, 4]);
  // An unknown character costs 10 more than the dearest token, and a run of them is one unknown token.
  deepEqual(tokenizer.encode("aéèa"), [5, 0, 2]);
});

Deno.test("Unigram takes a text of any length, with or without words", () => {
  const vocab: [string, number][] = [["▁", -3], ["a", -2], ["aa", -3]];
  for (const split of [true, false]) {
    const tokenizer = unigram(vocab, { pre_tokenizer: { ...metaspace, split } });
    const ids = tokenizer.encode("aaa ".repeat(200_000));
    // ▁ + aa + a has the same score, and is found later.
    deepEqual(ids.slice(0, 6), [1, 2, 3, 1, 2, 3]);
    equal(ids.length, 600_001);
  }
});

Deno.test("Metaspace keeps words apart unless told not to", () => {
  const model = {
    type: "BPE",
    unk_token: "<unk>",
    vocab: { "<unk>": 0, "▁": 1, "a": 2, "b": 3, "a▁": 4, "▁a": 5 },
    merges: [["a", "▁"], ["▁", "a"]],
  };
  const ids = (split: boolean) =>
    Tokenizer.fromJson({ added_tokens: [unknown], pre_tokenizer: { ...metaspace, split }, model }).encode(
      "a b",
    );
  deepEqual(ids(true), [5, 1, 3]);
  deepEqual(ids(false), [1, 4, 3]);
});

Deno.test("Whitespace takes letters of every script for parts of words, also within a sequence", () => {
  const vocab = { "<unk>": 0, "é": 1, "a": 2, "éa": 3, "-": 4, "a-": 5, "日": 6, "日é": 7 };
  const model = {
    type: "BPE",
    unk_token: "<unk>",
    vocab,
    merges: [["é", "a"], ["a", "-"], ["日", "é"]],
  };
  const split = { type: "Whitespace" };
  for (const pre_tokenizer of [split, { type: "Sequence", pretokenizers: [split] }]) {
    const tokenizer = Tokenizer.fromJson({ added_tokens: [unknown], pre_tokenizer, model });
    deepEqual(tokenizer.encode("éa- 日é"), [3, 4, 7]);
  }
});

Deno.test("ByteFallback keeps U+FEFF, and makes one U+FFFD of each byte that is not UTF-8", () => {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const tokenizer = Tokenizer.fromJson({
    added_tokens: [],
    decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] },
    model: {
      type: "BPE",
      unk_token: null,
      byte_fallback: true,
      vocab: Object.fromEntries([...bytes, "x"].map((token, id) => [token, id])),
      merges: [],
    },
  });
  const text = "\ufeffx\ufeffé";
  equal(tokenizer.decode(tokenizer.encode(text)), text);
  // Three bytes of four: Rust's library gives three, a TextDecoder would give one.
  equal(tokenizer.decode([0xf0, 0x9f, 0x98, 256, 0xc3, 0xa9]), "\ufffd\ufffd\ufffdxé");
});

Deno.test("words cut by a pattern of the tokenizer's own have the library's ids", async () => {
  const golden = new URL("../../tests/golden/tokenizer/tokenizer.json", import.meta.url);
  const json = JSON.parse(await Deno.readTextFile(golden));
  const Regex = "\\p{L}+|\\p{N}{1,2}|[^\\s\\p{L}\\p{N}]+[\\r\\n]*";
  json.pre_tokenizer = {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false },
      { type: "ByteLevel", add_prefix_space: false, use_regex: false },
    ],
  };
  const byWords = Tokenizer.fromJson(json);
  const added = { id: byWords.vocabSize, content: "<|unused|>", lstrip: true, special: true };
  const whole = Tokenizer.fromJson({ ...json, added_tokens: [...json.added_tokens, added] });
  // Not by spaces alone, so lastSafeCut() would be wrong.
  equal(byWords.takesPieces, false);
  for (let seed = 0; seed < 200; seed++) {
    const text = `${new Random(seed).text(seed)}<|endoftext|>${new Random(seed + 1000).text(9)}`;
    const ids = byWords.encode(text);
    deepEqual(ids, whole.encode(text), JSON.stringify(text));
    equal(byWords.decode(ids), text);
  }
});
