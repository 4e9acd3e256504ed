import { deepEqual, equal, match, notDeepEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { readMetricsFile } from "../../checkpoint/run/metrics_file.ts";
import { holdFolder } from "../../files/lock_file.ts";
import { requestGpu } from "../../gpu/device.ts";
import { uniform } from "../../ops/random.ts";
import { exists, finalStep, runTask, sameWeights, signalTask, tinyRun } from "../cli.ts";

const gpu = await requestGpu();
gpu.destroy();

const firstStep = "checkpoints/step-00000004";
/** Whatever draws random numbers or carries state from one micro-batch to the next. */
const hard = "--grad-accum 2 --dropout 0.1".split(" ");

/** Runs train-lm, which must succeed. */
async function train(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await runTask("train-lm", args);
  equal(code, 0, stderr);
  return { stdout, stderr };
}

async function metricsOf(run: string): Promise<Record<string, unknown>[]> {
  const text = await Deno.readTextFile(join(run, "metrics.jsonl"));
  ok(text.endsWith("\n"), "the last line must be whole");
  return text.trimEnd().split("\n").map((line) => JSON.parse(line));
}

/** The metrics without what the clock decides. */
async function timelessMetrics(run: string): Promise<Record<string, unknown>[]> {
  return (await metricsOf(run)).map((
    { tokens_per_second: _speed, data_wait_ms: _wait, ...rest },
  ) => rest);
}

async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

Deno.test("train-lm leaves a complete run, one JSON document and a model that generates", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  const { stdout } = await train(...tiny.options, ...hard, "--out", out, "--json");
  const report = JSON.parse(stdout);
  equal(report.step, 24);
  equal(report.checkpoint, join(out, finalStep));
  ok(report.data_wait_share >= 0 && report.data_wait_share < 1);
  ok(report.validation.loss > 0 && report.validation.bits_per_byte > 0 && report.sample.startsWith("It was"));

  deepEqual(await namesIn(out), ["checkpoints", "metrics.jsonl", "run.json"]);
  const { config } = JSON.parse(await Deno.readTextFile(join(out, "run.json")));
  equal(config.optimizer.name, "koala++");
  ok(Object.keys(config.kernels).some((key) => key.startsWith("matmul ")), "the run must record its kernels");
  const metrics = await metricsOf(out);
  const logged = metrics.filter((m) => "loss" in m);
  deepEqual(logged.map((m) => m.step), Array.from({ length: 12 }, (_, i) => 2 * i + 2));
  for (
    const key of ["loss", "lr", "gradient_norm", "tokens_per_second", "data_wait_ms", "koala_plus_plus.r"]
  ) {
    ok(logged.every((m) => Number.isFinite(m[key])), `every logged step must have ${key}`);
  }
  ok((logged[11].loss as number) < (logged[0].loss as number) - 0.3, "the loss must fall");
  const evaluated = metrics.filter((m) => "validation" in m).map((m) => m.step);
  deepEqual([8, 16, 24].filter((step) => !evaluated.includes(step)), []);

  const best = `step-${String(report.best.step).padStart(8, "0")}`;
  deepEqual(await namesIn(join(out, "checkpoints")), [...new Set([best, "step-00000024"])].sort());
  deepEqual(await namesIn(join(out, finalStep)), [
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
    ..."--temperature 0 --max-tokens 6".split(" "),
  ];
  const [first, again] = [0, 1].map(() => runTask("generate", [...generate, "--json"]));
  equal((await first).code, 0, (await first).stderr);
  equal((await first).stdout, (await again).stdout);
  const { prompt, text, ids } = JSON.parse((await first).stdout);
  equal(prompt, "the sun");
  ok(text.length > 0 && ids.length > 0 && ids.length <= 6);
  const plain = await runTask("generate", generate);
  equal(plain.stdout, `${prompt}${text}\n`);
});

Deno.test("the same seed gives the same bytes, recomputed or not, and another seed others", async () => {
  await using tiny = await tinyRun();
  const runs = ["a", "b", "c"].map((name) => join(tiny.dir, name));
  for (const [i, out] of runs.entries()) {
    const options = ["--steps", "4", "--seed", i < 2 ? "7" : "8", ...(i === 1 ? ["--recompute"] : [])];
    await train(...tiny.options, ...hard, ...options, "--out", out);
  }
  const [a, b, c] = await Promise.all(
    runs.map((run) => Deno.readFile(join(run, firstStep, "model.safetensors"))),
  );
  deepEqual(a, b);
  notDeepEqual(a, c);
});

Deno.test("a run killed with SIGKILL at any moment resumes to the same bytes and metrics", async () => {
  await using tiny = await tinyRun();
  const seed = Date.now() % 2 ** 31;
  for (const [i, optimizer] of ["koala++", "adamw"].entries()) {
    const options = [...tiny.options, ...hard, "--optimizer", optimizer];
    const [whole, killed] = [`whole-${optimizer}`, `killed-${optimizer}`].map((name) => join(tiny.dir, name));
    await train(...options, "--out", whole);
    // Once around the first checkpoints, and once anywhere in the run that goes on from there.
    const moments = [["metrics.jsonl", 300], ["checkpoints", 1200]] as const;
    for (const [j, [path, span]] of moments.entries()) {
      const delay = span * uniform(seed, 2 * i + j);
      const where = j === 0 ? ["--out", killed] : ["--resume", killed];
      const stopped = { path: join(killed, path), delay, signal: "SIGKILL" } as const;
      const { code, stderr } = await signalTask("train-lm", [...options, ...where], stopped);
      ok(code === 0 || code === (Deno.build.os === "windows" ? 1 : 137), stderr);
      const what = code === 0 ? "done before" : "killed";
      console.log(`${optimizer}: ${what} ${delay.toFixed(1)} ms after ${path} appeared (seed ${seed})`);
    }
    await train(...options, "--resume", killed);
    await sameWeights(whole, killed);
    deepEqual(await timelessMetrics(killed), await timelessMetrics(whole));
    deepEqual(await namesIn(killed), ["checkpoints", "metrics.jsonl", "run.json"]);
    deepEqual(await namesIn(join(killed, "checkpoints")), await namesIn(join(whole, "checkpoints")));
  }
});

Deno.test("Ctrl-C saves a checkpoint, exits with 130, and the run goes on from it", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using tiny = await tinyRun();
  const [whole, stopped] = [join(tiny.dir, "whole"), join(tiny.dir, "stopped")];
  await train(...tiny.options, ...hard, "--out", whole);
  const { code, stdout, stderr } = await signalTask(
    "train-lm",
    [...tiny.options, ...hard, "--out", stopped],
    {
      path: join(stopped, "metrics.jsonl"), // made right before the first step
      delay: 0,
      signal: "SIGINT",
    },
  );
  equal(code, 130, stderr);
  const [, step] = /stopped at step (\d+)/.exec(stdout) ?? [];
  match(stdout, /go on with: deno task train-lm --resume/);
  ok(await exists(join(stopped, "checkpoints", `step-${step.padStart(8, "0")}`, "training_state.json")));
  const resumed = await train("--resume", "--out", stopped, "--cache", join(tiny.dir, "cache"));
  match(resumed.stdout, new RegExp(`resuming .* at step ${step}\\b`));
  await sameWeights(whole, stopped);
});

Deno.test("a Llama by its preset: trained, recomputed or not, gone on with, and a model that generates", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  // A constant learning rate does not depend on the length of the run.
  const constant = ["--schedule", "constant", "--warmup", "0"];
  const preset = [...tiny.options, "--model", "llama-nano", ...hard, ...constant, "--save-every", "12"];
  await train(...preset, "--out", at("kept"));
  await train(...preset, "--out", at("recomputed"), "--recompute", "--steps", "12", "--sample-tokens", "0");
  await train(...preset, "--resume", at("recomputed"));
  await sameWeights(at("kept"), at("recomputed"));
  const config = JSON.parse(await Deno.readTextFile(join(at("kept"), finalStep, "config.json")));
  deepEqual(
    [config.architectures, config.attention_dropout, config.num_key_value_heads, config.vocab_size],
    [["LlamaForCausalLM"], 0.1, 2, 300],
  );
  const prompt = ["--prompt", "the sea", "--max-tokens", "3"];
  const { code, stdout, stderr } = await runTask("generate", ["--checkpoint", at("kept"), ...prompt]);
  equal(code, 0, stderr);
  match(stdout, /^the sea/);
  const other = await runTask("train-lm", ["--resume", at("kept"), "--dropout", "0.5"]);
  match(other.stderr, /differs in attention_dropout 0\.1, now 0\.5/);
});

Deno.test("a run with f16 records it and goes on to the same bytes; its checkpoints are f32", {
  ignore: !gpu.profile.halfPrecision,
}, async () => {
  await using tiny = await tinyRun();
  const [whole, parts] = ["whole", "parts"].map((name) => join(tiny.dir, name));
  const constant = ["--schedule", "constant", "--warmup", "0", "--save-every", "12"];
  const options = [...tiny.options, ...hard, ...constant, "--precision", "f16"];
  await train(...options, "--out", whole);
  await train(...options, "--out", parts, "--steps", "12");
  await train(...tiny.options, "--resume", parts);
  await sameWeights(whole, parts);
  const { config, features } = JSON.parse(await Deno.readTextFile(join(parts, "run.json")));
  equal(config.precision, "f16");
  ok(features.includes("shader-f16"));
  const { dtype } = JSON.parse(await Deno.readTextFile(join(whole, finalStep, "config.json")));
  equal(dtype, "float32");
});

Deno.test("a resumed run keeps its configuration, and a new one does not overwrite it", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  const options = [...tiny.options, "--steps", "4"];
  await train(...options, "--out", out);
  const changes = {
    "--lr 0.5": /must keep its configuration, but differs in lr 0\.02, now 0\.5/,
    "--optimizer adamw": /optimizer "koala\+\+", now "adamw"/,
    "--batch-size 8": /batchSize 4, now 8/,
    "--seed 3": /seed 0, now 3/,
    "--precision f16": /precision "f32", now "f16"/,
    "--dropout 0.5": /resid_pdrop 0, now 0\.5/,
    "--model gpt2-nano": /n_embd 32, now 128/,
  };
  for (const [change, message] of Object.entries(changes)) {
    const { code, stderr } = await runTask("train-lm", ["--resume", out, ...change.split(" ")]);
    equal(code, 1, change);
    match(stderr, message);
  }
  const again = await runTask("train-lm", [...options, "--out", out]);
  equal(again.code, 2);
  match(again.stderr, /already holds a run; go on with it by --resume/);
  const metrics = await timelessMetrics(out);
  await train(...options, "--resume", out);
  deepEqual(await timelessMetrics(out), metrics);
  // What does not change the weights may change, and stays until it changes again.
  const recompute = async () => JSON.parse(await Deno.readTextFile(join(out, "run.json"))).config.recompute;
  equal(await recompute(), false);
  await train(...tiny.options, "--resume", out, "--steps", "6", "--recompute");
  ok(await exists(join(out, "checkpoints/step-00000006")));
  await train(...tiny.options, "--resume", out);
  equal(await recompute(), true);
});

Deno.test("every option of train-lm may stand in a config file, and the command line wins", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const [file, out] = [at("options.json"), at("run")];
  const tokenizer = ["--data", at("corpus.txt"), "--vocab-size", "280", "--out", at("tokenizer.json")];
  const { code, stdout, stderr } = await runTask("train-tokenizer", [...tokenizer, "--json"]);
  equal(code, 0, stderr);
  equal(JSON.parse(stdout).vocab_size, 280);

  const recorded = {
    "data": [at("corpus.txt")],
    "text-field": "body",
    "encoding": "latin1",
    "validation-fraction": 0.05,
    "tokenizer": at("tokenizer.json"),
    "vocab-size": 333,
    "cross-document": false,
    "freeze-embeddings": true,
    "seq-len": 12,
    "batch-size": 3,
    "grad-accum": 2,
    "recompute": true,
    "precision": "f32",
    "schedule": "constant",
    "warmup": 1,
    "min-lr-ratio": 0.2,
    "clip": 2,
    "seed": 5,
  };
  const hyperParameters = {
    "koala-scope": "hidden",
    "lr": 0.03,
    "weight-decay": 0.05,
    "sigma": 0.2,
    "q": 0.3,
    "r": 0.4,
    "symmetric": false,
    "momentum": 0.5,
    "orthogonal": "gain",
  };
  const optimizer = {
    ...hyperParameters,
    "adamw-lr": 0.004,
    "optimizer": "koala++:alpha-r=0.8,adamw.beta2=0.9",
  };
  const folders = { cache: at("cache"), out };
  const others = { ...folders, model: at("config.json"), dropout: 0.2, epochs: 0.02, autotune: false };
  const data = { "no-cache": true, "workers": 1 };
  const intervals = { "log-every": 1, "eval-every": 2, "eval-batches": 1, "save-every": 1, "keep": 9 };
  const sample = { "prompt": "the sea", "sample-tokens": 3, "json": true };
  const first = { ...recorded, ...optimizer, ...others, ...data, ...intervals, ...sample };
  const later = { resume: out, steps: 40, gpu: "0", json: true };
  await Deno.writeTextFile(file, JSON.stringify(first));
  const { stdout: report } = await train("--config", file, "--seed", "6");

  const run = JSON.parse(await Deno.readTextFile(join(out, "run.json"))).config;
  for (const [option, value] of Object.entries({ ...recorded, seed: 6 })) {
    const key = option.replaceAll(/-(.)/g, (_, letter) => letter.toUpperCase());
    deepEqual(run[key], value, `${option} must be taken from the file`);
  }
  const beside = {
    "lr": 0.004,
    "weight-decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.9,
    "eps": 1e-8,
    "decay-all": false,
  };
  deepEqual(run.optimizer, {
    name: "koala++",
    ...hyperParameters,
    "alpha-r": 0.8,
    ...{ "covariance": "none", "beta2": 0.95, "shampoo-beta": 0.95, "frequency": 10 },
    ...Object.fromEntries(Object.entries(beside).map(([key, value]) => [`adamw.${key}`, value])),
  });
  deepEqual([run.model.n_embd, run.model.resid_pdrop, run.model.vocab_size], [32, 0.2, 280]);
  equal(run.kernels, undefined);
  const { step, sample: text } = JSON.parse(report);
  ok(step > 1 && step < 40 && text.startsWith("the sea"), `${step} steps, ${text}`);
  ok(!await exists(at("cache")), "--no-cache must leave none");
  equal((await metricsOf(out)).filter((m) => "loss" in m).length, step);
  equal((await namesIn(join(out, "checkpoints"))).length, Math.min(step, 10));

  await Deno.writeTextFile(file, JSON.stringify(later));
  const resumed = await train("--config", file, "--cache", at("cache"), "--save-every", "0");
  equal(JSON.parse(resumed.stdout).step, 40);

  const { stdout: help } = await train("--help");
  const documented = [...help.matchAll(/^ +--(?:\[no-\])?([a-z-]+)/gm)].map(([, name]) => name);
  // Those that exclude one of the others have tests of their own.
  const tested = new Set([
    ...Object.keys(first),
    ...Object.keys(later),
    ...["embeddings-from", "init-from", "base", "lora-rank", "lora-alpha", "lora-dropout", "lora-targets"],
    "validation-data",
    "config",
    "debug",
    "help",
  ]);
  deepEqual(documented.filter((name) => !tested.has(name)), [], "every option must be tried here");
});

Deno.test("train-lm saves and ends a run whose validation loss has no perplexity that JSON could hold", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  const wild = "--optimizer sgd --lr 3000 --clip 0 --warmup 0 --steps 1 --sample-tokens 4 --json".split(" ");
  const { stdout } = await train(...tiny.options, ...wild, "--out", out);
  const report = JSON.parse(stdout);
  ok(report.validation.loss > 709, `the loss must be beyond what exp() takes, got ${report.validation.loss}`);
  equal(report.validation.perplexity, null);
  equal(report.best.step, 1);
  const exported = await runTask("export-hf", ["--checkpoint", out, "--out", join(tiny.dir, "exported")]);
  equal(exported.code, 0, exported.stderr);
});

Deno.test("train-lm keeps out of a run's folder that another process trains in, new run or resumed", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  await Deno.mkdir(out);
  {
    using _lock = await holdFolder(out, "the run folder");
    const { code, stderr } = await runTask("train-lm", [...tiny.options, "--out", out]);
    equal(code, 1, stderr);
    match(stderr, new RegExp(`process ${Deno.pid} since`));
    deepEqual(await namesIn(out), [".lock"]);
  }
  await train(...tiny.options, "--steps", "8", "--out", out);
  using _lock = await holdFolder(out, "the run folder");
  const { code, stderr } = await runTask("train-lm", [...tiny.options, "--steps", "8", "--resume", out]);
  equal(code, 1, stderr);
  match(stderr, new RegExp(`process ${Deno.pid} since`));
});

Deno.test("SIGTERM and SIGHUP save the step under way, evaluate nothing, and exit with 143 and 129", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using tiny = await tinyRun();
  for (const [signal, exit] of [["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    const out = join(tiny.dir, signal);
    const options = [...tiny.options, "--steps", "2000", "--eval-every", "0", "--save-every", "0"];
    const { code, stdout, stderr } = await signalTask("train-lm", [...options, "--out", out], {
      path: join(out, "metrics.jsonl"), // made right before the first step
      delay: 0,
      signal,
    });
    equal(code, exit, stderr);
    const [, step] = /^stopped at step (\d+) after \w+$/m.exec(stdout) ?? [];
    ok(step, stdout);
    ok(await exists(join(out, "checkpoints", `step-${step.padStart(8, "0")}`, "training_state.json")));
    const lines = await readMetricsFile(join(out, "metrics.jsonl"));
    deepEqual(lines.filter((line) => "validation" in line || "final" in line), []);
  }
});
