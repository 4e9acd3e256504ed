import { deepEqual, equal, throws } from "node:assert/strict";
import { trainBpe } from "./bpe_trainer.ts";
import { checkTokenizerJson, formatTokenizerJson } from "./tokenizer_json.ts";

// deno-lint-ignore no-explicit-any
type Loose = any;

async function small(): Promise<Loose> {
  return structuredClone(await trainBpe([["abc", 3], [" 12", 2]], { vocabSize: 261 }));
}

Deno.test("checkTokenizerJson() passes a whole tokenizer and gives its tokens", async () => {
  const { tokens } = checkTokenizerJson(await small());
  equal(tokens.get("<|endoftext|>"), 0);
  equal(tokens.get("abc"), 258);
});

Deno.test("checkTokenizerJson() takes the older way to write merges, and missing steps for none", async () => {
  const json = await small();
  json.model.merges = json.model.merges.map((m: string[]) => m.join(" "));
  delete json.post_processor;
  delete json.added_tokens;
  const { tokenizer } = checkTokenizerJson(json);
  equal(tokenizer.post_processor, null);
  deepEqual(tokenizer.added_tokens, []);
});

Deno.test("checkTokenizerJson() names what is wrong", async () => {
  const table: [RegExp, (json: Loose) => unknown][] = [
    [/must be a JSON object, got null/, () => null],
    [/must be a JSON object/, () => []],
    [/model must be an object, got nothing/, (j) => delete j.model],
    [/model\.type must be BPE/, (j) => j.model.type = "Markov"],
    [/decoder must be null or an object with a type/, (j) => j.decoder = "ByteLevel"],
    [/model\.vocab must be an object/, (j) => j.model.vocab = ["a"]],
    [/id of the token "a" must be an integer/, (j) => j.model.vocab.a = "1"],
    [/ids must be unique, got 3/, (j) => j.model.vocab.a = 3],
    [/ids must leave few gaps/, (j) => j.model.vocab.abc = 1e9],
    [/model\.merges must be an array/, (j) => delete j.model.merges],
    [/model\.merges\[1\] must be two tokens/, (j) => j.model.merges[1] = ["a", "b", "c"]],
    [/model\.merges\[0\] must be two tokens/, (j) => j.model.merges = ["a  b"]],
    [/model\.merges\[1\] must be two tokens/, (j) => j.model.merges[1] = "a b"],
    [/model\.merges\[0\] must join.*without "xyz"/, (j) => j.model.merges[0] = ["xyz", "b"]],
    [/model\.merges\[0\] must join.*without "ba"/, (j) => j.model.merges[0] = ["b", "a"]],
    [/added_tokens must be an array/, (j) => j.added_tokens = {}],
    [/added_tokens\[0\] must have a content and an id/, (j) => j.added_tokens[0].id = -1],
    [/must have the id of the vocabulary, 0, got 5/, (j) => j.added_tokens[0].id = 5],
    [/ids must be unique, got 7/, (j) => j.added_tokens.push({ id: 7, content: "<pad>" })],
    [/added tokens must be unique/, (j) => j.added_tokens.push(j.added_tokens[0])],
    [/single_word is not supported/, (j) => j.added_tokens[0].single_word = true],
    [/it must have tokens/, (j) => (j.model.vocab = {}, j.model.merges = [], j.added_tokens = [])],
  ];
  for (const [message, damage] of table) {
    const json = await small();
    const result = damage(json);
    const damaged =
      result === null || (Array.isArray(result) && result.length === 0 && message.source.includes("JSON"))
        ? result
        : json;
    throws(() => checkTokenizerJson(damaged), { name: "SyntaxError", message });
  }
});

Deno.test("checkTokenizerJson() checks Unigram vocabularies", () => {
  const json = (vocab: unknown) => ({ added_tokens: [], model: { type: "Unigram", unk_id: 0, vocab } });
  equal(checkTokenizerJson(json([["<unk>", 0], ["a", -1.5]])).tokens.get("a"), 1);
  throws(() => checkTokenizerJson(json([["a"]])), { name: "SyntaxError", message: /model\.vocab\[0\]/ });
});

Deno.test("formatTokenizerJson() writes what parses to the same, in the order of ids", async () => {
  const json = await small();
  const text = formatTokenizerJson(json);
  deepEqual(JSON.parse(text), json);
  const ids = [...text.slice(text.indexOf('"vocab"')).matchAll(/^ {6}".*": (\d+),?$/gm)].map((m) =>
    Number(m[1])
  );
  deepEqual(ids, Array.from({ length: 261 }, (_, i) => i));
});
