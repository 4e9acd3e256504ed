/** `evaluate`, as far as it goes without Python; tests/interop compares it with PyTorch. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { fromFloat32 } from "../../checkpoint/safetensors/float_formats.ts";
import { writeModelFolder } from "../../checkpoint/hugging_face.ts";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import { modelFromConfig } from "../../models/load.ts";
import { filesIn, pipeToTask, refused, runTask, tinyRun, zeros } from "../cli.ts";

const config = { model_type: "gpt2", n_positions: 32, n_embd: 8, n_layer: 1, n_head: 1, vocab_size: 300 };

/** A corpus, its tokenizer of 290 ids, and a model of zeros, to which all of its 300 ids are alike. */
async function uniformModel() {
  const tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const train = ["--data", at("corpus.txt"), "--vocab-size", "290", "--out", at("tokenizer.json")];
  const { code, stderr } = await runTask("train-tokenizer", train);
  equal(code, 0, stderr);
  const tokenizerJson = await Deno.readTextFile(at("tokenizer.json"));
  const tensors = zeros(modelFromConfig(config));
  await writeModelFolder(at("model"), { config, tensors, tokenizerJson });
  return { at, tensors, tokenizerJson, [Symbol.asyncDispose]: () => tiny[Symbol.asyncDispose]() };
}

Deno.test("evaluate takes all of the text: the loss of a model without preferences is log V", async () => {
  await using model = await uniformModel();
  const { at } = model;
  await Deno.mkdir(at("texts"));
  const texts = [(await Deno.readTextFile(at("corpus.txt"))).slice(0, 4000), "Où est le café – 東京 😀?\n"];
  for (const [i, text] of texts.entries()) await Deno.writeTextFile(join(at("texts"), `${i}.txt`), text);
  const tokenizer = await loadTokenizer(at("tokenizer.json"));
  const encoded = texts.map((text) => tokenizer.encode(text));
  // The end of the first text is predicted too.
  const tokens = encoded[0].length + 1 + encoded[1].length - 1;
  const bytes = new TextEncoder().encode(texts.join("")).length - tokenizer.byteLengths[encoded[0][0]];
  const args = ["--checkpoint", at("model"), "--data", at("texts")];
  for (const more of [[], ["--seq-len", "20", "--stride", "7", "--batch-size", "5"]]) {
    const { code, stdout, stderr } = await runTask("evaluate", [...args, ...more, "--json"]);
    equal(code, 0, stderr);
    const { loss, perplexity, bits_per_byte, ...rest } = JSON.parse(stdout);
    const [seq_len, stride] = more.length === 0 ? [32, 32] : [20, 7];
    deepEqual(rest, { tokens, seq_len, stride, checkpoint: at("model") });
    ok(Math.abs(loss - Math.log(300)) < 1e-6, `${loss}`);
    ok(Math.abs(perplexity - 300) < 1e-3, `${perplexity}`);
    ok(Math.abs(bits_per_byte - tokens * Math.log2(300) / bytes) < 1e-5, `${bits_per_byte}`);
    match(stderr, new RegExp(`sequences of ${seq_len} tokens, stride ${stride}`));
  }
  const files = texts.flatMap((_, i) => ["--data", join(at("texts"), `${i}.txt`)]);
  const words = await runTask("evaluate", ["--checkpoint", at("model"), ...files]);
  equal(words.code, 0, words.stderr);
  match(
    words.stdout,
    /sequences of 32 tokens, stride 32\nloss 5\.7038, perplexity 300\.0, \d\.\d+ bits per byte/,
  );
  match(words.stdout, new RegExp(`over ${tokens} predicted tokens\n$`));
});

Deno.test("evaluate reads standard input once, with the result of a file, and says what it left out", async () => {
  await using model = await uniformModel();
  const { at } = model;
  const corpus = (await Deno.readTextFile(at("corpus.txt"))).slice(0, 9000);
  const rows = corpus.match(/[^]{1,300}/g)!.map((text) => JSON.stringify({ text })).join("\n");
  await Deno.writeTextFile(at("rows.jsonl"), `${rows}\n{"text": 1}\n`);
  const args = ["--checkpoint", at("model"), "--seq-len", "20", "--stride", "7", "--batch-size", "5"];
  const file = await runTask("evaluate", [...args, "--data", at("rows.jsonl"), "--json"]);
  equal(file.code, 0, file.stderr);
  const zipped = new Response(
    (await Deno.open(at("rows.jsonl"))).readable.pipeThrough(new CompressionStream("gzip")),
  );
  const bytes = new Uint8Array(await zipped.arrayBuffer());
  const piped = await pipeToTask("evaluate", [...args, "--data", "-.jsonl", "--json"], bytes);
  equal(piped.code, 0, piped.stderr);
  deepEqual(JSON.parse(piped.stdout), JSON.parse(file.stdout));
  for (const { stderr } of [file, piped]) match(stderr, /left out: 1 row/);
  const encode = (text: string) => new TextEncoder().encode(text);
  const of = (text: string) => pipeToTask("evaluate", [...args, "--data", "-"], encode(text));
  refused(await of(""), 1, /must hold text/);
  refused(await of(" \n \n"), 1, /must hold text: got nothing but white space/);
  refused(await of("a"), 1, /at least 2 tokens: got 1/);
});

Deno.test("evaluate refuses bad input with one message and writes nothing", async () => {
  await using model = await uniformModel();
  const { at, tensors, tokenizerJson } = model;
  const texts = { "empty.txt": "", "letter.txt": "a", "latin1.txt": Uint8Array.of(99, 97, 102, 0xe9, 10) };
  for (const [name, text] of Object.entries(texts)) {
    await Deno.writeFile(at(name), typeof text === "string" ? new TextEncoder().encode(text) : text);
  }
  await writeModelFolder(at("mute"), { config, tensors });
  const small = { ...config, vocab_size: 280 };
  await writeModelFolder(at("small"), {
    config: small,
    tensors: zeros(modelFromConfig(small)),
    tokenizerJson,
  });
  const broken = tensors.map((tensor) => {
    if (!tensor.name.endsWith("ln_f.bias")) return tensor;
    return { ...tensor, data: fromFloat32("F32", new Float32Array(8).fill(NaN)) };
  });
  await writeModelFolder(at("broken"), { config, tensors: broken, tokenizerJson });
  await writeModelFolder(at("other"), { config: { ...config, n_embd: 4 }, tensors, tokenizerJson });
  const before = await filesIn(at("."));
  const cases: [checkpoint: string, data: string, args: string[], exit: 1 | 2, message: RegExp][] = [
    ["model", "", [], 2, /--data/],
    ["model", "missing.txt", [], 1, /there is no file or folder .*missing\.txt/],
    ["model", "empty.txt", [], 1, /must hold text/],
    ["model", "letter.txt", [], 1, /at least 2 tokens: got 1/],
    [
      "model",
      "latin1.txt",
      [],
      1,
      /must be UTF-8 unless told otherwise: .*latin1\.txt" has an invalid byte at offset 3/,
    ],
    ["model", "corpus.txt", ["--stride", "0"], 2, /--stride must be an integer of at least 1, received "0"/],
    [
      "model",
      "corpus.txt",
      ["--stride", "33"],
      2,
      /--stride must be at most the sequence length 32, .*got 33/,
    ],
    [
      "model",
      "corpus.txt",
      ["--seq-len", "16", "--stride", "17"],
      2,
      /at most the sequence length 16, .*got 17/,
    ],
    ["model", "corpus.txt", ["--seq-len", "33"], 2, /--seq-len must be at most 32, .*got 33/],
    ["mute", "corpus.txt", [], 2, /mute must hold tokenizer\.json/],
    ["small", "corpus.txt", [], 2, /must be below the model's vocabulary of 280, but it has 290/],
    ["broken", "corpus.txt", [], 1, /loss must be a number, got NaN: the weights of .*broken/],
    ["other", "corpus.txt", [], 1, /another model: .*of another shape \(/],
    ["none", "corpus.txt", [], 1, /Cannot read the model folder .*none/],
  ];
  for (const [checkpoint, data, args, exit, message] of cases) {
    const files = data === "" ? [] : ["--data", at(data)];
    refused(await runTask("evaluate", ["--checkpoint", at(checkpoint), ...files, ...args]), exit, message);
    deepEqual(await filesIn(at(".")), before);
  }
});
