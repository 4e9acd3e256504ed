/** `export-hf`, as far as it goes without Python; tests/interop opens its folders there. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { fromFloat32, toFloat32 } from "../../checkpoint/safetensors/float_formats.ts";
import { readModelFolder, writeModelFolder } from "../../checkpoint/hugging_face.ts";
import { modelFromConfig } from "../../models/load.ts";
import { filesIn, refused, runTask, tinyRun, zeros } from "../cli.ts";

Deno.test("export-hf refuses bad input and leaves nothing half-written", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const config = { model_type: "gpt2", n_positions: 4, n_embd: 2, n_layer: 1, n_head: 1, vocab_size: 3 };
  const tensors = zeros(modelFromConfig(config)).map((tensor) => {
    if (!tensor.name.endsWith("ln_f.bias")) return tensor;
    return { ...tensor, data: fromFloat32("F32", Float32Array.of(0, 70000)) };
  });
  await writeModelFolder(at("model"), { config, tensors });
  await writeModelFolder(at("other"), { config: { ...config, n_embd: 4 }, tensors: tensors.slice(1) });
  const before = await filesIn(tiny.dir);
  const cases: [string, string, string[], 1 | 2, RegExp][] = [
    ["model", "out", ["--dtype", "f64"], 2, /--dtype must be one of f32, f16, bf16, received "f64"/],
    ["model", "out", ["--max-shard-size", "2GiB"], 2, /--max-shard-size: A size must be .*got "2GiB"/],
    ["model", "out", ["--license", "MIT License"], 2, /--license must be an identifier/],
    ["model", "out", ["--dataset", "a/b/c"], 2, /--dataset must be a name or owner\/name, got a\/b\/c/],
    ["model", "model", [], 2, /--out: .*model must be a new or an empty folder, got one with/],
    ["model", "corpus.txt", [], 2, /corpus\.txt must be a new or an empty folder, got a file/],
    [
      "model",
      "out",
      ["--dtype", "f16"],
      1,
      /"transformer\.ln_f\.bias" must be below 65520 .*got 70000; choose bf16/,
    ],
    ["other", "out", [], 1, /another model: .*1 missing \(.*of another shape \(/],
    ["none", "out", [], 1, /Cannot read the model folder .*none/],
    ["cache", "out", [], 1, /cache/],
  ];
  for (const [checkpoint, out, args, exit, message] of cases) {
    const result = await runTask("export-hf", ["--checkpoint", at(checkpoint), "--out", at(out), ...args]);
    refused(result, exit, message);
    deepEqual(await filesIn(tiny.dir), before, `${args} must leave nothing behind`);
  }
});

Deno.test("export-hf writes rounded shards, the tokenizer and a card that tells of the run", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const trained = await runTask("train-lm", [...tiny.options, "--out", at("run"), "--json"]);
  equal(trained.code, 0, trained.stderr);
  const { validation } = JSON.parse(trained.stdout);
  const args = [
    "--checkpoint",
    at("run"),
    "--out",
    join(at("exports"), "mine"),
    "--license",
    "mit",
    "--dataset",
    "a/b",
  ];
  const { code, stdout, stderr } = await runTask(
    "export-hf",
    [...args, ..."--dtype bf16 --max-shard-size 20KB --name Tiny --json".split(" ")],
  );
  equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  const shards = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`);
  const documents = ["config.json", "generation_config.json", "loss_curve.svg"];
  const rest = ["model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json"];
  deepEqual(report.files, ["README.md", ...documents, ...shards, ...rest]);
  deepEqual(await filesIn(at("exports")), ["mine"]);

  using original = await readModelFolder(report.checkpoint);
  using exported = await readModelFolder(report.out);
  equal(exported.config.dtype, "bfloat16");
  equal(exported.tokenizerJson, original.tokenizerJson);
  deepEqual(exported.tokenizerConfig, original.tokenizerConfig);
  deepEqual(exported.generationConfig, original.generationConfig);
  equal(exported.tensors.size, original.tensors.size);
  for (const [name, { dtype }] of exported.tensors) {
    equal(dtype, "BF16");
    const rounded = toFloat32("BF16", fromFloat32("BF16", await original.readF32(name)));
    deepEqual(await exported.readF32(name), rounded, name);
  }

  const card = await Deno.readTextFile(join(report.out, "README.md"));
  match(
    card,
    /^---\n[^#]*license: "mit"\ndatasets:\n- "a\/b"\n[^#]*metrics:\n- "perplexity"\n---\n\n# Tiny\n/,
  );
  match(card, new RegExp(`\\| Loss \\| ${validation.loss.toFixed(4)} \\|`));
  match(card, /\| Data \| corpus\.txt \|/);
  match(card, /\| Steps \| 24 \|/);
  match(card, /!\[loss over the steps\]\(loss_curve\.svg\)/);
  ok(!card.includes(tiny.dir), "the card must not tell where its author keeps files");
  const config = await Deno.readTextFile(join(report.out, "config.json"));
  ok(!config.includes("torch_dtype"));
});
