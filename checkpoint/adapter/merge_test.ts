import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { join } from "node:path";
import type { AdapterConfig } from "./config.ts";
import { readAdapterFolder, writeAdapterFolder } from "./folder.ts";
import { fromFloat32 } from "../safetensors/float_formats.ts";
import { writeModelFolder } from "../hugging_face.ts";
import { mergedTensors } from "./merge.ts";
import { openModel } from "../open_model.ts";
import type { FloatTensors, TensorToWrite } from "../safetensors/safetensors.ts";
import { weightsDigest } from "../weights_digest.ts";

const tensor = (name: string, shape: number[], values: number[]): TensorToWrite => {
  return { name, dtype: "F32", shape, data: fromFloat32("F32", Float32Array.from(values)) };
};
const adapter: AdapterConfig = {
  r: 2,
  lora_alpha: 1,
  lora_dropout: 0,
  use_rslora: false,
  target_modules: ["c_attn", "q_proj"],
  base_model_name_or_path: null,
};
// B A = [[1, 0, 2], [3, 1, 7], [0, 2, 2], [1, -1, 1]] for inputs of 3 and outputs of 4.
const A = [1, 0, 2, 0, 1, 1];
const B = [1, 0, 3, 1, 0, 2, 1, -1];
const product = [[1, 0, 2], [3, 1, 7], [0, 2, 2], [1, -1, 1]];

/** An adapter's folder for one layer. */
async function adapterOf(module: string, model_type: string, dir: string, keys: Partial<AdapterConfig> = {}) {
  await writeAdapterFolder(dir, {
    config: { model_type },
    adapter: { ...adapter, ...keys },
    baseWeights: "0".repeat(64),
    tensors: [tensor(`${module}.lora_A.weight`, [2, 3], A), tensor(`${module}.lora_B.weight`, [4, 2], B)],
  });
  return await readAdapterFolder(dir);
}

/** A model whose weight's values are all 10, in pieces that end within rows and are overwritten by the next. */
function model(model_type: string, name: string, shape: number[]) {
  const memory = new Float32Array(5);
  const info = { dtype: "F32" as const, shape, byteOffset: 0, byteLength: 48 };
  const source: FloatTensors = {
    tensors: new Map([[name, info], ["other", { ...info, shape: [12] }]]),
    async *piecesF32() {
      for (let at = 0; at < 12; at += 5) yield memory.subarray(0, Math.min(5, 12 - at)).fill(10);
    },
  };
  return { path: "models/base", config: { model_type }, ...source };
}

for (const [type, module] of [["gpt2", "transformer.h.0.attn.c_attn"], ["llama", "model.layers.0.q_proj"]]) {
  Deno.test(`half of B A is added to the weight of a ${type}, in its orientation, and to no other`, async () => {
    const dir = await Deno.makeTempDir();
    using folder = await adapterOf(module, type, dir);
    const shape = type === "gpt2" ? [3, 4] : [4, 3];
    const merged = mergedTensors(model(type, `${module}.weight`, shape), folder);
    const values: number[] = [];
    for await (const piece of merged.piecesF32(`${module}.weight`)) values.push(...piece);
    const wanted = Array.from({ length: 12 }, (_, at) => {
      const [row, column] = [Math.floor(at / shape[1]), at % shape[1]];
      return 10 + (type === "gpt2" ? product[column][row] : product[row][column]) / 2;
    });
    deepEqual(values, wanted);
    for await (const piece of merged.piecesF32("other")) deepEqual(new Set(piece), new Set([10]));
    deepEqual([...merged.tensors.keys()], [`${module}.weight`, "other"]);
    await Deno.remove(dir, { recursive: true });
  });
}

Deno.test("an adapter's tokenizer_config says which class opens the tokenizer, since no config.json does", async () => {
  const dir = await Deno.makeTempDir();
  const written = async (tokenizerConfig: Record<string, unknown>) => {
    await writeAdapterFolder(dir, {
      config: { model_type: "gpt2", eos_token_id: 0 },
      adapter,
      baseWeights: "0".repeat(64),
      tensors: [],
      tokenizerJson: JSON.stringify({ added_tokens: [{ id: 0, content: "<|end|>" }], model: { vocab: {} } }),
      tokenizerConfig,
    });
    return JSON.parse(await Deno.readTextFile(join(dir, "tokenizer_config.json")));
  };
  const own = { tokenizer_class: "GPT2Tokenizer", model_max_length: 1024 };
  deepEqual(await written(own), own);
  const { tokenizer_class, eos_token, model_max_length } = await written({ model_max_length: 1024 });
  deepEqual([tokenizer_class, eos_token, model_max_length], ["PreTrainedTokenizerFast", "<|end|>", 1024]);
  await Deno.remove(dir, { recursive: true });
});

Deno.test("an adapter that does not fit its model is refused with all differences", async () => {
  const dir = await Deno.makeTempDir();
  const name = "model.layers.0.q_proj";
  using folder = await adapterOf("model.layers.1.q_proj", "llama", dir);
  throws(
    () => mergedTensors(model("llama", `${name}.weight`, [4, 3]), folder),
    /The adapter of .* does not fit models\/base: .*2 missing \(.*0\.q_proj.*2 not in the model \(.*1\.q_proj/,
  );
  throws(
    () => mergedTensors(model("llama", "model.embed_tokens.weight", [4, 3]), folder),
    /2 not in the model/,
  );
  await Deno.remove(dir, { recursive: true });
});

Deno.test("openModel() holds an adapter to the weights that it was trained on, and to names that it knows", async () => {
  const dir = await Deno.makeTempDir();
  const [base, own] = [join(dir, "base"), join(dir, "own")];
  const weight = "model.layers.0.q_proj.weight";
  await writeModelFolder(base, {
    config: { model_type: "llama" },
    tensors: [tensor(weight, [4, 3], [...A, ...A])],
  });
  using plain = await openModel(base);
  const contents = {
    config: plain.config,
    adapter: { ...adapter, base_model_name_or_path: base },
    tensors: [
      tensor("model.layers.0.q_proj.lora_A.weight", [2, 3], A),
      tensor("model.layers.0.q_proj.lora_B.weight", [4, 2], B),
    ],
  };
  await writeAdapterFolder(own, { ...contents, baseWeights: await weightsDigest(plain) });
  using opened = await openModel(own);
  equal(opened.path, own);
  deepEqual(opened.config, { model_type: "llama" });
  const pieces = await Array.fromAsync(opened.piecesF32(weight), (piece) => [...piece]);
  deepEqual(pieces.flat(), product.flat().map((value, i) => value / 2 + A[i % 6]));

  await writeAdapterFolder(own, { ...contents, baseWeights: "0".repeat(64) });
  await rejects(
    openModel(own),
    /must be used with the weights that it was trained on, but those of .*base differ/,
  );
  await writeAdapterFolder(own, { ...contents, adapter, baseWeights: "0" });
  await rejects(openModel(own), /must name its model, but base_model_name_or_path is null; .*--base DIR/);
  await rejects(openModel(own, join(dir, "none")), /Cannot read the model folder .*none/);
  await Deno.remove(join(own, "adapter_model.safetensors"));
  await rejects(openModel(own), /it must hold adapter_model\.safetensors, got adapter_config\.json/);
  await Deno.remove(dir, { recursive: true });
});
