/** `train-lm --init-from`, on folders of our own; tests/interop has those of transformers. */
import { deepEqual, equal, match, notDeepEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { type ModelFolderContents, writeModelFolder } from "../../checkpoint/hugging_face.ts";
import { modelFromConfig } from "../../models/load.ts";
import { DOCUMENTS, ENDS, writeInstructModel } from "../instruct_model.ts";
import { resolveOptimizer } from "../../training/run/optimizer.ts";
import { filesIn, refused, runTask, tinyRun, zeros } from "../cli.ts";

Deno.test("a run from a folder's weights resumes byte for byte, without the folder", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const train = async (...args: string[]) => {
    const { code, stdout, stderr } = await runTask("train-lm", args);
    equal(code, 0, stderr);
    return stdout;
  };
  await train(...tiny.options, "--steps", "4", "--out", at("first"));
  await Deno.rename(join(at("first"), "checkpoints/step-00000004"), at("folder"));
  await Deno.writeTextFile(join(at("folder"), "chat_template.jinja"), "{{ messages }}\n");
  const options = [
    ...["--init-from", at("folder"), "--data", at("corpus.txt"), "--cache", at("cache")],
    ..."--schedule constant --warmup 2 --seq-len 16 --batch-size 4 --sample-tokens 0 --save-every 0".split(
      " ",
    ),
  ];
  const hard = "--grad-accum 2 --dropout 0.1".split(" ");
  match(
    await train(...options, ...hard, "--steps", "24", "--out", at("whole")),
    /starting from the weights of .*folder/,
  );
  await train(...options, ...hard, "--steps", "4", "--out", at("half"));
  notDeepEqual(
    await Deno.readFile(join(at("half"), "checkpoints/step-00000004", "model.safetensors")),
    await Deno.readFile(join(at("folder"), "model.safetensors")),
  );
  const changed = await runTask("train-lm", ["--resume", at("half"), "--init-from", at("elsewhere")]);
  equal(changed.code, 1);
  match(changed.stderr, /must keep its configuration, but differs in initFrom .*folder", now .*elsewhere"/);
  await Deno.remove(at("folder"), { recursive: true });
  await train(...options, ...hard, "--steps", "24", "--resume", at("half"));
  const template = join(at("half"), "checkpoints/step-00000024", "chat_template.jinja");
  equal(await Deno.readTextFile(template), "{{ messages }}\n");
  for (const file of ["model.safetensors", "optimizer.safetensors"]) {
    const [a, b] = await Promise.all(
      ["whole", "half"].map((run) => Deno.readFile(join(at(run), "checkpoints/step-00000024", file))),
    );
    // Not deepEqual: its message would list the bytes.
    ok(
      a.length === b.length && a.every((byte, i) => byte === b[i]),
      `${file} must be the same byte for byte`,
    );
  }
});

Deno.test("--init-from takes the learning rates of fine-tuning, unless others are given", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const trained = async (name: string, ...args: string[]) => {
    const still = "--steps 1 --sample-tokens 0 --save-every 0 --batch-size 4 --seq-len 16 --no-autotune"
      .split(" ");
    const { code, stderr } = await runTask("train-lm", [
      ...still,
      "--cache",
      at("cache"),
      "--out",
      at(name),
      ...args,
    ]);
    equal(code, 0, stderr);
    const { config } = JSON.parse(await Deno.readTextFile(join(at(name), "run.json")));
    return [config.optimizer.name, config.optimizer.lr, config.optimizer["adamw.lr"]];
  };
  const data = ["--data", at("corpus.txt")];
  const model = ["--model", at("config.json"), "--vocab-size", "300"];
  deepEqual(await trained("scratch", ...data, ...model), ["koala++", 0.02, 0.006]);
  const from = [...data, "--init-from", join(at("scratch"), "checkpoints/step-00000001")];
  const { lr, "adamw.lr": beside } = resolveOptimizer("koala++", {}, "tuning");
  ok(lr < 0.02 && Number(beside) < 0.006);
  deepEqual(await trained("tuned", ...from), ["koala++", lr, beside]);
  deepEqual(await trained("other", ...from, "--lr", "0.5"), ["koala++", 0.5, beside]);
  deepEqual(await trained("lora", ...from, "--lora-rank", "2"), ["adamw", 0.01, undefined]);
});

Deno.test("checkpoints, exports and merges keep the tokenizer_config and generation_config of their model", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const run = async (task: string, ...args: string[]) => {
    const { code, stderr } = await runTask(task, args);
    equal(code, 0, stderr);
  };
  await writeInstructModel(at("base"), at("corpus.txt"));
  const options = [
    ...["--init-from", at("base"), "--data", at("corpus.txt"), "--cache", at("cache")],
    ..."--seq-len 16 --batch-size 4 --sample-tokens 0 --no-autotune --steps 1".split(" "),
  ];
  const saved = (name: string, step: number) => join(at(name), "checkpoints", `step-0000000${step}`);
  await run("train-lm", ...options, "--out", at("tuned"));
  // Of a run that goes on, the documents come from its checkpoint.
  await Deno.writeTextFile(join(saved("tuned", 1), "chat_template.jinja"), "another");
  await run("train-lm", "--resume", at("tuned"), "--steps", "2");
  equal(await Deno.readTextFile(join(saved("tuned", 2), "chat_template.jinja")), "another");
  await run("export-hf", "--checkpoint", at("tuned"), "--out", at("export"), "--dtype", "bf16");
  await run("train-lm", ...options, "--lora-rank", "2", "--out", at("adapter"));
  await run("train-lm", "--resume", at("adapter"), "--steps", "2");
  await run("export-hf", "--checkpoint", at("adapter"), "--out", at("merge"));
  // The path of the model's own tokenizer names no other one.
  await run("train-lm", ...options, "--tokenizer", at("base/./tokenizer.json"), "--out", at("named"));
  await run("train-tokenizer", "--data", at("corpus.txt"), "--vocab-size", "290", "--out", at("other.json"));
  await run("train-lm", ...options, "--tokenizer", at("other.json"), "--out", at("other"));

  const json = async (...path: string[]) => JSON.parse(await Deno.readTextFile(join(...path)));
  for (const dir of [saved("tuned", 1), saved("tuned", 2), at("export"), at("merge"), saved("named", 1)]) {
    deepEqual(await json(dir, "tokenizer_config.json"), DOCUMENTS.tokenizerConfig, dir);
    deepEqual(await json(dir, "generation_config.json"), DOCUMENTS.generationConfig, dir);
    deepEqual((await json(dir, "config.json")).eos_token_id, ENDS, dir);
  }
  for (const step of [1, 2]) {
    deepEqual(await json(saved("adapter", step), "tokenizer_config.json"), DOCUMENTS.tokenizerConfig);
  }
  const { eos_token, chat_template } = await json(saved("other", 1), "tokenizer_config.json");
  deepEqual([eos_token, chat_template], ["<|endoftext|>", undefined]);
  equal((await json(saved("other", 1), "generation_config.json")).eos_token_id, 0);
});

Deno.test("--init-from refuses what contradicts it, and folders that are no model to start from", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const config = { model_type: "gpt2", n_positions: 32, n_embd: 32, n_layer: 1, n_head: 2, vocab_size: 300 };
  const tokenizer = { data: at("corpus.txt"), "vocab-size": "290", out: at("tokenizer.json") };
  const train = Object.entries(tokenizer).flatMap(([option, value]) => [`--${option}`, value]);
  equal((await runTask("train-tokenizer", train)).code, 0);
  const tokenizerJson = await Deno.readTextFile(at("tokenizer.json"));
  const folder = async (
    name: string,
    keys: Record<string, unknown>,
    files: Partial<ModelFolderContents> = {},
  ) => {
    const tensors = zeros(modelFromConfig(config));
    await writeModelFolder(at(name), { config: { ...config, ...keys }, tensors, tokenizerJson, ...files });
  };
  await folder("good", {});
  await folder("bert", { model_type: "bert" });
  await folder("scaled", { scale_attn_by_inverse_layer_idx: true });
  await folder("small", { vocab_size: 280 });
  await folder("mute", {}, { tokenizerJson: undefined });
  const odd = { dtype: "I8", shape: [1], data: new Uint8Array(1) } as const;
  await folder("odd", {}, { tensors: ["odd.weight", "h.0.ln_1.bias"].map((name) => ({ name, ...odd })) });
  await Deno.mkdir(at("pickled"));
  await Deno.writeTextFile(join(at("pickled"), "config.json"), JSON.stringify(config));
  await Deno.writeTextFile(join(at("pickled"), "pytorch_model.bin"), "");
  const before = await filesIn(tiny.dir);
  const cases: [string[], 1 | 2, RegExp][] = [
    [["good", "--model", at("config.json")], 2, /--init-from and --model both say/],
    [["good", "--vocab-size", "2048"], 2, /--vocab-size must be left out, or be the 300 of .*good, got 2048/],
    [["good", "--seq-len", "64"], 2, /--seq-len must be at most 32/],
    [["mute"], 2, /mute must hold tokenizer\.json, got none; name one .*--tokenizer/],
    [["small"], 2, /must be below the 280 of .*small, got 290 of them/],
    [["bert"], 1, /model_type must be one of .*, got "bert"/],
    [["scaled"], 1, /scale_attn_by_inverse_layer_idx/],
    [["pickled"], 1, /pytorch_model\.bin; these weights are in another format: convert them in Python/],
    [["none"], 1, /Cannot read the model folder .*none/],
    [
      ["odd"],
      1,
      /another model: .*missing \(.* not in the model \(odd\.weight\).* not of F32, .*ln_1\.bias of I8/,
    ],
  ];
  for (const [[name, ...args], exit, message] of cases) {
    const out = join(at("runs"), "out");
    const options = [
      "--init-from",
      at(name),
      "--data",
      at("corpus.txt"),
      "--cache",
      at("cache"),
      "--out",
      out,
    ];
    refused(await runTask("train-lm", [...options, ...args]), exit, message);
    deepEqual(await filesIn(tiny.dir), before, `${name} ${args} must leave nothing behind`);
  }
});
