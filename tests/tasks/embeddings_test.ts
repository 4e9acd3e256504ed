/** `--freeze-embeddings` and `--embeddings-from`, in train-lm and compare-optimizers. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { readModelFolder, writeModelFolder } from "../../checkpoint/hugging_face.ts";
import { readSafetensors } from "../../checkpoint/safetensors/safetensors.ts";
import { modelFromConfig } from "../../models/load.ts";
import { filesIn, finalStep, refused, runTask, sameWeights, tinyRun, zeros } from "../cli.ts";

/** Runs a task, which must succeed. */
async function run(task: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask(task, [...args, "--no-autotune"]);
  equal(code, 0, stderr);
  return stdout;
}

/** Tensors of a model folder by their names. */
async function tensorsOf(path: string): Promise<Map<string, readonly number[]>> {
  using folder = await readModelFolder(path);
  const names = [...folder.tensors.keys()];
  return new Map(
    await Promise.all(names.map(async (name) => [name, [...await folder.readF32(name)]] as const)),
  );
}

Deno.test("a run with frozen embeddings saves them as they were, and resumes byte for byte", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const options = [
    ...tiny.options,
    ..."--freeze-embeddings --schedule constant --warmup 2 --keep 9".split(" "),
  ];
  match(
    await run("train-lm", ...options, "--out", at("whole")),
    /stay as they are: 12\.8k of 23\.4k parameters are trained/,
  );
  const [early, late] = [
    await tensorsOf(at("whole/checkpoints/step-00000004")),
    await tensorsOf(join(at("whole"), finalStep)),
  ];
  const frozen = ["transformer.wte.weight", "transformer.wpe.weight"];
  for (const [name, values] of late) {
    const isSame = values.every((value, i) => value === early.get(name)![i]);
    equal(isSame, frozen.includes(name), name);
  }
  using state = await readSafetensors(join(at("whole"), finalStep, "optimizer.safetensors"));
  ok(![...state.tensors.keys()].some((name) => /wte|wpe/.test(name)));

  await run("train-lm", ...options, "--steps", "4", "--out", at("half"));
  const thawed = await runTask("train-lm", ["--resume", at("half"), "--no-freeze-embeddings"]);
  refused(thawed, 1, /must keep its configuration, but differs in freezeEmbeddings true, now undefined/);
  await run(
    "train-lm",
    "--resume",
    at("half"),
    "--steps",
    "24",
    "--freeze-embeddings",
    "--sample-tokens",
    "0",
  );
  await sameWeights(at("whole"), at("half"));

  const folder = at("half/checkpoints/step-00000004");
  const tuned = ["--data", at("corpus.txt"), "--cache", at("cache"), "--dropout", "0.1", "--steps", "2"];
  const small = "--seq-len 16 --batch-size 4 --sample-tokens 0 --freeze-embeddings".split(" ");
  await run("train-lm", "--init-from", folder, ...tuned, ...small, "--out", at("tuned"));
  const fine = await tensorsOf(at("tuned/checkpoints/step-00000002"));
  for (const [name, values] of fine) {
    const isSame = values.every((value, i) => value === early.get(name)![i]);
    equal(isSame, frozen.includes(name), `${name}, fine-tuned`);
  }

  await run("train-lm", ...tiny.options, "--steps", "4", "--out", at("plain"));
  const { config } = JSON.parse(await Deno.readTextFile(join(at("plain"), "run.json")));
  deepEqual(
    Object.keys(config).filter((key) => /embedding/i.test(key)),
    [],
    "old and other runs have no such keys",
  );
  refused(
    await runTask("train-lm", ["--resume", at("plain"), "--freeze-embeddings"]),
    1,
    /differs in freezeEmbeddings undefined, now true/,
  );
  await run("train-lm", "--resume", at("plain"), "--no-freeze-embeddings", "--steps", "5");
});

Deno.test("embeddings of another model start a run, of its positions the first ones, and comparisons too", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  await run("train-lm", ...tiny.options, "--steps", "4", "--out", at("first"));
  await Deno.rename(at("first/checkpoints/step-00000004"), at("folder"));
  const source = await tensorsOf(at("folder"));
  const config = { model_type: "openai-gpt", n_positions: 20, n_embd: 32, n_layer: 2, n_head: 4 };
  await Deno.writeTextFile(at("config.json"), JSON.stringify(config));
  const options = [
    ...tiny.options,
    "--embeddings-from",
    at("folder"),
    "--schedule",
    "constant",
    "--warmup",
    "0",
  ];
  const still = [...options, ..."--optimizer sgd --lr 1e-30 --steps 1".split(" ")];
  match(await run("train-lm", ...still, "--out", at("still")), /starting from the embeddings of .*folder/);
  const start = await tensorsOf(at("still/checkpoints/step-00000001"));
  deepEqual(start.get("transformer.tokens_embed.weight"), source.get("transformer.wte.weight"));
  deepEqual(
    start.get("transformer.positions_embed.weight"),
    source.get("transformer.wpe.weight")!.slice(0, 20 * 32),
  );

  const frozen = [...options, "--freeze-embeddings"];
  await run("train-lm", ...frozen, "--out", at("whole"));
  await run("train-lm", ...frozen, "--steps", "4", "--out", at("half"));
  const { config: recorded } = JSON.parse(await Deno.readTextFile(at("half/run.json")));
  equal(recorded.tokenizer, join(at("folder"), "tokenizer.json"));
  match(recorded.embeddingWeights, /^[0-9a-f]{64}$/);

  const compared = [
    ...frozen.filter((word, i) =>
      ![word, frozen[i - 1]].some((w) => /^--(sample|log|save|keep|eval)/.test(w))
    ),
    ..."--optimizers koala++:koala-scope=all,lr=0.02 sgd:lr=1e-30 --seeds 1 --timing-rounds 0 --json".split(
      " ",
    ),
  ];
  const comparison = async (out: string, args: readonly string[]) => {
    const { code, stdout, stderr } = await runTask("compare-optimizers", [...args, "--out", at(out)]);
    equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const report = await comparison("compared", compared);
  const { parameters, trained_parameters } = report.setting;
  equal(parameters - trained_parameters, (300 + 20) * 32);
  const lossOf = (name: string) =>
    report.optimizers.find((o: { name: string }) => o.name.startsWith(name)).loss.mean;
  ok(lossOf("koala++") < lossOf("sgd"), "the blocks must learn");
  match(await Deno.readTextFile(at("compared/report.html")), /are trained: the embeddings stay as they are/);
  // A run that does not move has the loss of the model it started from.
  const { validation } = JSON.parse(
    await run("train-lm", ...still, "--eval-batches", "0", "--json", "--out", at("again")),
  );
  ok(Math.abs(lossOf("sgd") - validation.loss) < 1e-6, `${lossOf("sgd")}, ${validation.loss}`);

  // Nothing of the folder is needed any more, and another one is another run.
  await Deno.rename(at("folder"), at("moved"));
  await run("train-lm", "--resume", at("half"), "--steps", "24", "--sample-tokens", "0");
  await sameWeights(at("whole"), at("half"));
  refused(
    await runTask("train-lm", ["--resume", at("half"), "--embeddings-from", at("moved")]),
    1,
    /differs in embeddingsFrom .*folder", now .*moved"/,
  );
});

Deno.test("embeddings that do not fit are refused, with what both have, and leave nothing behind", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  await run("train-lm", ...tiny.options, "--steps", "4", "--out", at("first"));
  await Deno.rename(at("first/checkpoints/step-00000004"), at("good"));
  await Deno.remove(at("first"), { recursive: true });
  const tokenizerJson = await Deno.readTextFile(at("good/tokenizer.json"));
  const folder = async (name: string, keys: Record<string, unknown>, tokenizer?: string) => {
    const config = {
      model_type: "gpt2",
      n_positions: 32,
      n_embd: 32,
      n_layer: 1,
      n_head: 2,
      vocab_size: 300,
      ...keys,
    };
    const model = modelFromConfig(config);
    await writeModelFolder(at(name), {
      config: model.config,
      tensors: zeros(model),
      tokenizerJson: tokenizer,
    });
  };
  await folder("wide", { n_embd: 48 }, tokenizerJson);
  await folder("padded", { vocab_size: 320 }, tokenizerJson);
  await folder("short", { n_positions: 24 }, tokenizerJson);
  await folder("mute", {});
  await folder("llama", {
    model_type: "llama",
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 1,
    num_attention_heads: 2,
  }, tokenizerJson);
  await folder("bert", {}, tokenizerJson);
  const bert = JSON.parse(await Deno.readTextFile(at("bert/config.json")));
  await Deno.writeTextFile(at("bert/config.json"), JSON.stringify({ ...bert, model_type: "bert" }));
  const before = await filesIn(tiny.dir);
  const cases: [string[], 1 | 2, RegExp][] = [
    [["wide"], 1, /vocabulary 300 and width 32, got vocabulary 300 and width 48; use a model of that width/],
    [["padded"], 1, /vocabulary 300 and width 32, got vocabulary 320 and width 32/],
    [["short"], 1, /at least the model's 32 of width 32, got 24 of width 32; use a model of fewer positions/],
    [["llama"], 1, /at least the model's 32 of width 32, got none/],
    [["mute"], 2, /mute must hold tokenizer\.json, got none; name the tokenizer .*--tokenizer/],
    [["bert"], 1, /model_type gpt2, openai-gpt, llama, got "bert"/],
    [["none"], 1, /Cannot read the model folder .*none/],
    [["good", "--init-from", at("good")], 2, /--init-from and --embeddings-from both say/],
  ];
  const data = ["--data", at("corpus.txt"), "--cache", at("cache")];
  for (const [[name, ...args], exit, message] of cases) {
    const model = args.length > 0 ? [] : ["--model", at("config.json")];
    const words = [
      ...data,
      ...model,
      "--seq-len",
      "16",
      "--embeddings-from",
      at(name),
      ...args,
      "--out",
      at("runs/out"),
    ];
    for (const task of args.length > 0 ? ["train-lm"] : ["train-lm", "compare-optimizers"]) {
      refused(await runTask(task, words), exit, message);
      deepEqual(await filesIn(tiny.dir), before, `${name} ${args} must leave nothing behind`);
    }
  }
  const lora = [
    "--init-from",
    at("good"),
    "--lora-rank",
    "2",
    "--freeze-embeddings",
    "--out",
    at("runs/out"),
  ];
  refused(await runTask("train-lm", [...data, ...lora]), 2, /nothing to do beside a LoRA.*; leave it out/);
});
