import assert from "node:assert/strict";
import { join } from "node:path";
import { fromFloat32 } from "./safetensors/float_formats.ts";
import { readModelFolder, writeModelFolder } from "./hugging_face.ts";
import { parseSafetensors, type TensorToWrite, writeSafetensors } from "./safetensors/safetensors.ts";
import { inTempDir } from "../tests/temporary_files.ts";

const CONFIG = { model_type: "gpt2", n_positions: 64, bos_token_id: 0, eos_token_id: 0, pad_token_id: null };
const TOKENIZER = JSON.stringify({
  added_tokens: [{ id: 0, content: "<|endoftext|>" }],
  model: { vocab: {} },
});

const f32 = (name: string, ...values: number[]): TensorToWrite => ({
  name,
  dtype: "F32",
  shape: [values.length],
  data: fromFloat32("F32", Float32Array.from(values)),
});

/** The names in a folder, sorted. */
async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
}

async function readJson(...path: string[]): Promise<unknown> {
  return JSON.parse(await Deno.readTextFile(join(...path)));
}

Deno.test("writeModelFolder() writes the files that transformers loads", () =>
  inTempDir(async (root) => {
    const dir = join(root, "new", "model");
    await writeModelFolder(dir, { config: CONFIG, tensors: [f32("a", 1, 2)], tokenizerJson: TOKENIZER });
    assert.deepEqual(await namesIn(dir), [
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    assert.deepEqual(await readJson(dir, "config.json"), CONFIG);
    assert.deepEqual(await readJson(dir, "generation_config.json"), {
      _from_model_config: true,
      bos_token_id: 0,
      eos_token_id: 0,
    });
    assert.deepEqual(await readJson(dir, "tokenizer_config.json"), {
      bos_token: "<|endoftext|>",
      clean_up_tokenization_spaces: false,
      eos_token: "<|endoftext|>",
      model_input_names: ["input_ids", "attention_mask"],
      model_max_length: 64,
      tokenizer_class: "PreTrainedTokenizerFast",
      unk_token: "<|endoftext|>",
    });
    assert.equal(await Deno.readTextFile(join(dir, "tokenizer.json")), TOKENIZER);
    const { metadata, tensors } = parseSafetensors(await Deno.readFile(join(dir, "model.safetensors")));
    assert.deepEqual([...metadata], [["format", "pt"]]);
    assert.deepEqual([...tensors.keys()], ["a"]);
  }));

Deno.test("writeModelFolder() names no special token that the tokenizer lacks, and writes none without one", () =>
  inTempDir(async (dir) => {
    const tokenizerJson = '{"model": {"vocab": {"a": 0}}}';
    const config = { model_type: "llama", max_position_embeddings: 32 };
    await writeModelFolder(dir, {
      config,
      tensors: [],
      tokenizerJson,
      generationConfig: { do_sample: true },
    });
    assert.deepEqual(await readJson(dir, "tokenizer_config.json"), {
      clean_up_tokenization_spaces: false,
      model_input_names: ["input_ids", "attention_mask"],
      model_max_length: 32,
      tokenizer_class: "PreTrainedTokenizerFast",
    });
    assert.deepEqual(await readJson(dir, "generation_config.json"), { do_sample: true });
    await writeModelFolder(join(dir, "bare"), { config, tensors: [] });
    assert.deepEqual(await namesIn(join(dir, "bare")), [
      "config.json",
      "generation_config.json",
      "model.safetensors",
    ]);
  }));

Deno.test("writeModelFolder() names the special tokens that the config has, and keeps a tokenizer_config", () =>
  inTempDir(async (dir) => {
    const added_tokens = [{ id: 1, content: "<s>" }, { id: 2, content: "</s>" }, { id: 3, content: "<pad>" }];
    const tokenizerJson = JSON.stringify({ added_tokens, model: { vocab: {} } });
    const config = { ...CONFIG, bos_token_id: 1, eos_token_id: [2, 1], pad_token_id: 3 };
    await writeModelFolder(dir, { config, tensors: [], tokenizerJson });
    const found = await readJson(dir, "tokenizer_config.json") as Record<string, unknown>;
    assert.deepEqual([found.bos_token, found.eos_token, found.pad_token, found.unk_token], [
      "<s>",
      "</s>",
      "<pad>",
      undefined,
    ]);
    const tokenizerConfig = { tokenizer_class: "GPT2Tokenizer" };
    await writeModelFolder(dir, { config, tensors: [], tokenizerJson, tokenizerConfig });
    using folder = await readModelFolder(dir);
    assert.deepEqual(folder.tokenizerConfig, tokenizerConfig);
    assert.equal(folder.chatTemplate, null);
  }));

Deno.test("a chat template is kept beside the tokenizer, wherever Python had put it", () =>
  inTempDir(async (dir) => {
    const contents = { config: CONFIG, tensors: [], tokenizerJson: TOKENIZER };
    await writeModelFolder(dir, { ...contents, tokenizerConfig: { chat_template: "old" } });
    using old = await readModelFolder(dir);
    assert.equal(old.chatTemplate, "old");
    await writeModelFolder(dir, {
      ...contents,
      tokenizerConfig: old.tokenizerConfig!,
      chatTemplate: "new\n",
    });
    assert.equal(await Deno.readTextFile(join(dir, "chat_template.jinja")), "new\n");
    using folder = await readModelFolder(dir);
    assert.equal(folder.chatTemplate, "new\n");
  }));

Deno.test("writeModelFolder() rejects what it cannot write before it makes anything", () =>
  inTempDir(async (root) => {
    const dir = join(root, "model");
    const attempt = (tokenizerJson: string) =>
      writeModelFolder(dir, { config: CONFIG, tensors: [], tokenizerJson });
    await assert.rejects(attempt("{"), /SyntaxError: .*tokenizer\.json: it must be JSON/);
    await assert.rejects(attempt("[]"), /SyntaxError: .*must hold a JSON object, got an array/);
    assert.deepEqual(await namesIn(root), []);
    const config = { ...CONFIG, layer_norm_epsilon: NaN };
    await assert.rejects(
      writeModelFolder(dir, { config, tensors: [] }),
      /TypeError: .*"layer_norm_epsilon".*got NaN/,
    );
  }));

Deno.test("readModelFolder() reads back what writeModelFolder() wrote", () =>
  inTempDir(async (dir) => {
    const tensors = [f32("transformer.wte.weight", 1, 2), f32("transformer.ln_f.bias", 3)];
    await writeModelFolder(dir, { config: CONFIG, tensors, tokenizerJson: TOKENIZER });
    using folder = await readModelFolder(dir);
    assert.deepEqual(folder.config, CONFIG);
    assert.equal(folder.tokenizerJson, TOKENIZER);
    assert.equal(folder.generationConfig?.eos_token_id, 0);
    assert.deepEqual([...folder.tensors.keys()].sort(), ["transformer.ln_f.bias", "transformer.wte.weight"]);
    assert.deepEqual(folder.tensors.get("transformer.wte.weight")?.shape, [2]);
    assert.deepEqual(await folder.readF32("transformer.wte.weight"), Float32Array.of(1, 2));
    assert.deepEqual(await folder.read("transformer.ln_f.bias"), tensors[1].data);
    await assert.rejects(folder.read("ln_f.bias"), /RangeError: .*"ln_f.bias".*one of its 2 tensors/);
  }));

Deno.test("readModelFolder() knows tensors by their full names, whatever the file calls them", () =>
  inTempDir(async (dir) => {
    const tensors = [f32("ln_f.bias", 1), f32("h.0.attn.bias", 0), f32("lm_head.weight", 2)];
    await writeModelFolder(dir, { config: CONFIG, tensors });
    using folder = await readModelFolder(dir);
    assert.deepEqual([...folder.tensors.keys()].sort(), ["transformer.ln_f.bias", "transformer.wte.weight"]);
    assert.deepEqual(await folder.readF32("transformer.ln_f.bias"), Float32Array.of(1));
    assert.deepEqual(await folder.readF32("transformer.wte.weight"), Float32Array.of(2));
    assert.equal(folder.tokenizerJson, null);
  }));

Deno.test("readModelFolder() reads weights from several shards", () =>
  inTempDir(async (dir) => {
    await Deno.writeTextFile(join(dir, "config.json"), JSON.stringify(CONFIG));
    const [one, two] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    await writeSafetensors(join(dir, one), [f32("wte.weight", 1), f32("wpe.weight", 2)]);
    await writeSafetensors(join(dir, two), [f32("ln_f.weight", 3)]);
    const weights: Record<string, unknown> = { "wte.weight": one, "ln_f.weight": two, "wpe.weight": one };
    const writeIndex = (weight_map: unknown) =>
      Deno.writeTextFile(join(dir, "model.safetensors.index.json"), JSON.stringify({ weight_map }));
    await writeIndex(weights);
    using folder = await readModelFolder(dir);
    assert.deepEqual(await folder.readF32("transformer.ln_f.weight"), Float32Array.of(3));
    assert.deepEqual(await folder.readF32("transformer.wpe.weight"), Float32Array.of(2));

    await writeIndex({ ...weights, "ln_f.bias": two });
    await assert.rejects(readModelFolder(dir), /SyntaxError: .*model-00002.*must hold "ln_f.bias"/);
    for (const shard of ["../secret.safetensors", "model-00003-of-00002.safetensors", 7]) {
      await writeIndex({ ...weights, "ln_f.bias": shard });
      await assert.rejects(
        readModelFolder(dir),
        /NotFound: .*must be in the same folder, got no .* with "ln_f.bias"; copy/,
      );
    }
    await writeIndex({ ...weights, "a": "3.safetensors", "b": "4.safetensors", "c": "3.safetensors" });
    await assert.rejects(
      readModelFolder(dir),
      /got no "3\.safetensors" with "c", no "4\.safetensors" with "b";/,
    );
    await writeIndex([]);
    await assert.rejects(readModelFolder(dir), /SyntaxError: .*weight_map/);
  }));

Deno.test("readModelFolder() says what is wrong with a folder that is no checkpoint", () =>
  inTempDir(async (dir) => {
    await assert.rejects(
      readModelFolder(join(dir, "none")),
      /NotFound: .*Cannot read the model folder .*none/,
    );
    await assert.rejects(readModelFolder(dir), /NotFound: .*must hold config\.json, got an empty folder/);
    await Deno.writeTextFile(join(dir, "run.json"), "{}");
    await assert.rejects(readModelFolder(dir), /NotFound: .*must hold config\.json, got run\.json; give the/);
    await assert.rejects(readModelFolder(join(dir, "run.json")), /Cannot read the model folder .*run\.json/);
    await Deno.writeTextFile(join(dir, "config.json"), '{"model_type": "gp');
    await assert.rejects(readModelFolder(dir), /SyntaxError: .*config\.json: it must be JSON.*cut short/);
    await Deno.writeTextFile(join(dir, "config.json"), "null");
    await assert.rejects(
      readModelFolder(dir),
      /SyntaxError: .*config\.json: it must hold a JSON object, got null/,
    );
    await Deno.writeTextFile(join(dir, "config.json"), "{}");
    await Deno.writeTextFile(join(dir, "pytorch_model.bin"), "");
    await assert.rejects(
      readModelFolder(dir),
      /NotFound: .*must hold model\.safetensors or .*pytorch_model\.bin, .*convert them in Python.*save_pretrained/,
    );
    await Deno.writeTextFile(join(dir, "weights.safetensors"), "");
    await assert.rejects(
      readModelFolder(dir),
      /NotFound: .*; name a single file model\.safetensors, or copy/,
    );
    await writeModelFolder(dir, { config: CONFIG, tensors: [f32("a", 1, 2)], tokenizerJson: TOKENIZER });
    const weights = join(dir, "model.safetensors");
    await Deno.truncate(weights, (await Deno.stat(weights)).size - 1);
    await assert.rejects(readModelFolder(dir), /SyntaxError: .*model\.safetensors: .*cut short/);
    await Deno.writeTextFile(join(dir, "tokenizer.json"), "{");
    await assert.rejects(readModelFolder(dir), /SyntaxError: .*tokenizer\.json: it must be JSON/);
  }));
