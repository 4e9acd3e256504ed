import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { exists, runTask, startTask, tinyRun } from "./cli.ts";

const finalStep = "checkpoints/step-00000024";
const hard = ["--grad-accum", "2", "--dropout", "0.1"];

async function sameWeights(a: string, b: string): Promise<void> {
  for (const file of ["model.safetensors", "optimizer.safetensors"]) {
    const [x, y] = await Promise.all([a, b].map((run) => Deno.readFile(join(run, finalStep, file))));
    deepEqual(x, y, `${file} must be the same byte for byte`);
  }
}

async function metricsOf(run: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(join(run, "metrics.jsonl"));
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

Deno.test("train-lm leaves a complete run, one JSON document and a model that generates", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  const { code, stdout, stderr } = await runTask("train-lm", [...tiny.options, "--out", out, "--json"]);
  equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  equal(report.step, 24);
  ok(report.validation.loss > 0 && report.validation.bits_per_byte > 0 && report.sample.length > 0);

  const metrics = await metricsOf(out);
  const logged = metrics.filter((m) => "loss" in m);
  deepEqual(logged.map((m) => m.step), Array.from({ length: 12 }, (_, i) => 2 * i + 2));
  for (const key of ["loss", "lr", "gradient_norm", "tokens_per_second", "koala_plus_plus.r"]) {
    ok(logged.every((m) => Number.isFinite(m[key])), `every logged step must have ${key}`);
  }
  ok((logged[11].loss as number) < (logged[0].loss as number) - 0.3, "the loss must fall");
  equal(metrics.filter((m) => "validation" in m).length >= 3, true);
  equal(JSON.parse(await Deno.readTextFile(join(out, "run.json"))).config.optimizer, "koala++");

  const checkpoints = (await Array.fromAsync(Deno.readDir(join(out, "checkpoints")), (e) => e.name)).sort();
  ok(checkpoints.length <= 2 && checkpoints.includes("step-00000024"), `kept ${checkpoints}`);
  const files = await Array.fromAsync(Deno.readDir(join(out, finalStep)), (e) => e.name);
  deepEqual(files.sort(), [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "optimizer.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "training_state.json",
  ]);

  const generate = [
    "--checkpoint",
    out,
    "--prompt",
    "the sun",
    "--temperature",
    "0",
    "--max-tokens",
    "6",
    "--json",
  ];
  const [first, again] = [await runTask("generate", generate), await runTask("generate", generate)];
  equal(first.code, 0, first.stderr);
  equal(first.stdout, again.stdout);
  const { prompt, text, ids } = JSON.parse(first.stdout);
  equal(prompt, "the sun");
  ok(text.length > 0 && ids.length > 0 && ids.length <= 6);
});

Deno.test("a run killed with SIGKILL at any moment resumes to the same bytes", async () => {
  await using tiny = await tinyRun();
  for (const optimizer of ["koala++", "adamw"]) {
    const options = [...tiny.options, ...hard, "--optimizer", optimizer];
    const [whole, killed] = [join(tiny.dir, `whole-${optimizer}`), join(tiny.dir, `killed-${optimizer}`)];
    const reference = await runTask("train-lm", [...options, "--out", whole]);
    equal(reference.code, 0, reference.stderr);
    const child = startTask("train-lm", [...options, "--out", killed]);
    const output = child.output();
    while (!await exists(join(killed, "checkpoints/step-00000004"))) {
      await new Promise((r) => setTimeout(r, 20));
    }
    const wait = Math.random() * 150;
    await new Promise((r) => setTimeout(r, wait));
    child.kill("SIGKILL");
    await output;
    const resumed = await runTask("train-lm", [
      "--resume",
      killed,
      "--cache",
      join(tiny.dir, "cache"),
      ...hard,
    ]);
    equal(resumed.code, 0, `killed after ${wait} ms: ${resumed.stderr}`);
    await sameWeights(whole, killed);
    const steps = (await metricsOf(killed)).filter((m) => "loss" in m).map((m) => m.step);
    deepEqual(steps, [...new Set(steps)], "each logged step must be there once");
  }
});

Deno.test("Ctrl-C saves a checkpoint, exits with 130, and the run goes on from it", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using tiny = await tinyRun();
  const [whole, stopped] = [join(tiny.dir, "whole"), join(tiny.dir, "stopped")];
  await runTask("train-lm", [...tiny.options, "--out", whole]);
  const child = startTask("train-lm", [...tiny.options, "--out", stopped]);
  const output = child.output();
  while (!await exists(join(stopped, "metrics.jsonl"))) await new Promise((r) => setTimeout(r, 20));
  child.kill("SIGINT");
  const { code, stdout } = await output;
  const text = new TextDecoder().decode(stdout);
  if (code !== 0) {
    equal(code, 130);
    match(text, /stopped at step \d+/);
    match(text, /go on with: deno task train-lm --resume/);
  }
  const resumed = await runTask("train-lm", [
    "--resume",
    "--out",
    stopped,
    "--cache",
    join(tiny.dir, "cache"),
  ]);
  equal(resumed.code, 0, resumed.stderr);
  await sameWeights(whole, stopped);
});

Deno.test("a resumed run keeps its configuration, and a new one does not overwrite it", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  equal((await runTask("train-lm", [...tiny.options, "--out", out])).code, 0);
  const changed = await runTask("train-lm", ["--resume", out, "--lr", "0.5"]);
  equal(changed.code, 1);
  match(changed.stderr, /must keep its configuration, but differs in lr 0\.02, now 0\.5/);
  const again = await runTask("train-lm", [...tiny.options, "--out", out]);
  equal(again.code, 2);
  match(again.stderr, /already holds a run; go on with it by --resume/);
  const same = await runTask("train-lm", [...tiny.options, "--resume", out]);
  equal(same.code, 0, same.stderr);
});

Deno.test("options may stand in a config file, and the command line wins", async () => {
  await using tiny = await tinyRun();
  const config = join(tiny.dir, "options.json");
  const out = join(tiny.dir, "run");
  await Deno.writeTextFile(
    config,
    JSON.stringify({ optimizer: "sgd", lr: 0.2, seed: 5, "weight-decay": 0.01, out }),
  );
  const { code, stderr } = await runTask("train-lm", [...tiny.options, "--config", config, "--seed", "6"]);
  equal(code, 0, stderr);
  const run = JSON.parse(await Deno.readTextFile(join(out, "run.json"))).config;
  deepEqual([run.optimizer, run.lr, run.seed, run.weightDecay], ["sgd", 0.2, 6, 0.01]);
});

Deno.test("train-tokenizer writes a tokenizer that train-lm takes", async () => {
  await using tiny = await tinyRun();
  const [file, out] = [join(tiny.dir, "tokenizer.json"), join(tiny.dir, "run")];
  const args = ["--data", join(tiny.dir, "corpus.txt"), "--vocab-size", "280", "--out", file, "--json"];
  const { code, stdout, stderr } = await runTask("train-tokenizer", args);
  equal(code, 0, stderr);
  equal(JSON.parse(stdout).vocab_size, 280);
  const run = await runTask("train-lm", [...tiny.options, "--tokenizer", file, "--out", out, "--steps", "4"]);
  equal(run.code, 0, run.stderr);
  equal(
    await Deno.readTextFile(join(out, "checkpoints/step-00000004/tokenizer.json")),
    await Deno.readTextFile(file),
  );
});
