/** LoRA end to end: train-lm, generate and export-hf on adapters of our own; tests/interop has those of PEFT. */
import { deepEqual, equal, match, notDeepEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { readAdapterFolder } from "../../checkpoint/adapter/folder.ts";
import { readModelFolder } from "../../checkpoint/hugging_face.ts";
import { filesIn, refused, runTask, type TinyRun, tinyRun } from "../cli.ts";

/** Runs a task, which must succeed. */
async function run(task: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask(task, args);
  equal(code, 0, stderr);
  return stdout;
}

/** A tiny model that may learn more, in the folder `base`, and the options to train an adapter of it. */
async function tinyBase({ dir, options }: TinyRun): Promise<string[]> {
  // An optimizer that leaves the adapters something to learn.
  await run("train-lm", ...options, "--orthogonal", "none", "--no-autotune", "--out", join(dir, "first"));
  await Deno.rename(join(dir, "first", "checkpoints", "step-00000024"), join(dir, "base"));
  const paths = { "init-from": "base", data: "corpus.txt", cache: "cache" };
  return [
    ...Object.entries(paths).flatMap(([option, name]) => [`--${option}`, join(dir, name)]),
    ..."--seq-len 16 --batch-size 4 --sample-tokens 4 --save-every 0 --no-autotune --json".split(" "),
  ];
}

const lastOf = (run: string, step: number) =>
  join(run, "checkpoints", `step-${String(step).padStart(8, "0")}`);

Deno.test("an adapter lowers the loss, resumes byte for byte, and generates as the merged export does", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const options = await tinyBase(tiny);
  const asked = { "lora-rank": 3, "lora-alpha": 12, "lora-dropout": 0.1, "lora-targets": ["all-linear"] };
  const others = { "grad-accum": 2, warmup: 1, schedule: "constant" };
  await Deno.writeTextFile(at("lora.json"), JSON.stringify({ ...asked, ...others }));
  const train = async (steps: number, name: string, ...args: string[]) =>
    JSON.parse(await run("train-lm", ...options, ...args, "--steps", String(steps), "--out", at(name)));
  const untouched = await Deno.readFile(join(at("base"), "model.safetensors"));
  const whole = await train(80, "whole", "--config", at("lora.json"));
  const start = await train(1, "still", "--optimizer", "sgd", "--lr", "1e-12");
  const fall = start.validation.loss - whole.validation.loss;
  ok(fall > 0.1, `the loss must fall, got ${start.validation.loss} and then ${whole.validation.loss}`);

  await train(5, "half", "--config", at("lora.json"));
  const files = await filesIn(lastOf(at("half"), 5));
  deepEqual(files, [
    ...["adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors"],
    ...["tokenizer.json", "tokenizer_config.json", "training_state.json"],
  ]);
  const other = await runTask("train-lm", ["--resume", at("half"), "--lora-rank", "4"]);
  refused(other, 1, /must keep its configuration, but differs in r 3, now 4/);
  await Deno.rename(at("base"), at("moved"));
  const gone = await runTask("train-lm", ["--resume", at("half"), "--steps", "80"]);
  refused(gone, 1, /Cannot read the model folder .*base/);
  await run("train-lm", "--resume", at("half"), "--base", at("moved"), "--steps", "80", "--json");
  for (const file of ["adapter_model.safetensors", "optimizer.safetensors"]) {
    const [a, b] = await Promise.all(
      ["whole", "half"].map((name) => Deno.readFile(join(lastOf(at(name), 80), file))),
    );
    // Not deepEqual: its message would list the bytes.
    ok(
      a.length === b.length && a.every((byte, i) => byte === b[i]),
      `${file} must be the same byte for byte`,
    );
  }
  deepEqual(await Deno.readFile(join(at("moved"), "model.safetensors")), untouched);

  // One finds its model by itself, the other is told where it is.
  const generate = async (...args: string[]) =>
    JSON.parse(await run("generate", ...args, "--temperature", "0", "--max-tokens", "12", "--json")).ids;
  const found = await generate("--checkpoint", at("half"));
  deepEqual(await generate("--checkpoint", at("whole"), "--base", at("moved")), found);
  await run("export-hf", "--checkpoint", at("half"), "--out", at("merged"));
  deepEqual(await generate("--checkpoint", at("merged")), found);
  using merged = await readModelFolder(at("merged"));
  using base = await readModelFolder(at("moved"));
  deepEqual([...merged.tensors.keys()].sort(), [...base.tensors.keys()].sort());
  const weights = (folder: typeof base, name: string) => folder.readF32(`transformer.${name}.weight`);
  deepEqual(await weights(merged, "wte"), await weights(base, "wte"));
  notDeepEqual(await weights(merged, "h.0.mlp.c_fc"), await weights(base, "h.0.mlp.c_fc"));
  const card = await Deno.readTextFile(join(at("merged"), "README.md"));
  match(card, /\| Started from \| base \|/);
  match(card, /\| LoRA \| rank 3, alpha 12, on c_attn, c_fc, c_proj \|/);

  // Training goes on from the adapter as it is.
  const args = options.map((arg) => arg === at("base") ? at("half") : arg);
  args[1] = lastOf(at("half"), 80);
  const on = "--optimizer sgd --lr 1e-12 --steps 1".split(" ");
  await run("train-lm", ...args, ...on, "--base", at("moved"), "--out", at("on"));
  using a = await readAdapterFolder(lastOf(at("half"), 80));
  using b = await readAdapterFolder(lastOf(at("on"), 1));
  deepEqual({ ...b.adapter, base_model_name_or_path: null }, { ...a.adapter, base_model_name_or_path: null });
  for (const name of a.tensors.keys()) {
    const [x, y] = [await a.readF32(name), await b.readF32(name)];
    ok(x.every((value, i) => Math.abs(value - y[i]) < 1e-9), name);
  }
});

Deno.test("LoRA's options and adapters that do not fit are refused, and nothing is left behind", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const options = await tinyBase(tiny);
  const train = [...options, "--steps", "1", "--optimizer", "adamw"];
  await run("train-lm", ...train, "--lora-rank", "2", "--out", at("run"));
  const adapter = lastOf(at("run"), 1);
  /** The adapter with other keys. */
  const changed = async (name: string, keys: Record<string, unknown>) => {
    await Deno.mkdir(at(name));
    for (const file of await filesIn(adapter)) await Deno.copyFile(join(adapter, file), join(at(name), file));
    const path = join(at(name), "adapter_config.json");
    const config = JSON.parse(await Deno.readTextFile(path));
    await Deno.writeTextFile(path, JSON.stringify({ ...config, ...keys }));
  };
  const unsupported: [string, unknown, RegExp][] = [
    ["use_dora", true, /use_dora must be unset, since this feature of PEFT is not supported, got true/],
    ["bias", "all", /bias must be "none"; nothing else is supported, got "all"/],
    ["modules_to_save", ["lm_head"], /modules_to_save must be unset/],
    ["rank_pattern", { c_attn: 4 }, /rank_pattern must be unset/],
    ["peft_type", "IA3", /peft_type must be "LORA"/],
    ["init_lora_weights", "pissa", /init_lora_weights must be .*, got "pissa"/],
    ["target_modules", ".*attn", /target_modules must be a list of names, got "\.\*attn"/],
    ["r", 4, /does not fit .*base: .* of another shape \(.*lora_A\.weight \[2, 32\] instead of \[4, 32\]/],
    ["target_modules", ["c_proj"], /does not fit .*4 missing .*2 not in the model/],
    ["base_model_name_or_path", "gpt2", /belongs to the model gpt2, which must be a folder here.*--base DIR/],
  ];
  for (const [i, [key, value]] of unsupported.entries()) await changed(`changed${i}`, { [key]: value });
  const before = await filesIn(tiny.dir);
  for (const [i, [, , message]] of unsupported.entries()) {
    const out = ["--out", join(at("exports"), "out")];
    refused(await runTask("export-hf", ["--checkpoint", at(`changed${i}`), ...out]), 1, message);
    deepEqual(await filesIn(tiny.dir), before, `${message} must leave nothing behind`);
  }
  const lora = ["--lora-rank", "2"];
  const other = options.map((arg) => arg === at("base") ? adapter : arg);
  const cases: [string[], 1 | 2, RegExp][] = [
    [["--data", at("corpus.txt"), ...lora], 2, /--lora-rank trains an adapter .* with --init-from DIR/],
    [[...options, "--lora-alpha", "4"], 2, /--lora-alpha is of use with --lora-rank only/],
    [[...options, "--base", at("base"), ...lora], 2, /--base says where .* leave it out/],
    [
      [...options, ...lora, "--lora-targets", "c_attn,q_proj"],
      2,
      /--lora-targets .*c_attn, c_fc.* got q_proj/,
    ],
    [[...other, ...lora], 2, /is an adapter that is trained on.*leave --lora-rank out/],
    [["--resume", at("first"), "--base", at("base")], 2, /--base says .* this run trains none/],
  ];
  for (const [args, exit, message] of cases) {
    const out = args[0] === "--resume" ? [] : ["--out", join(at("runs"), "out")];
    refused(await runTask("train-lm", [...args, ...out]), exit, message);
    deepEqual(await filesIn(tiny.dir), before, `${args} must leave nothing behind`);
  }
  const generate = (...args: string[]) => runTask("generate", args);
  refused(await generate("--checkpoint", at("base"), "--base", at("base")), 2, /--base says .* leave it out/);
  await run("train-lm", ...train, "--out", at("tuned"));
  const tuned = lastOf(at("tuned"), 1);
  refused(
    await generate("--checkpoint", adapter, "--base", tuned),
    1,
    /weights that it was trained on, but those of/,
  );
});
