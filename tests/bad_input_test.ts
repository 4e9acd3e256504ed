import { equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { exists, runTask, type TaskResult, tinyRun } from "./cli.ts";

/** One clear message, the right exit code, no stack trace. */
function refused({ code, stderr, stdout }: TaskResult, exit: 1 | 2, message: RegExp): void {
  equal(code, exit, `${message} expected, got exit code ${code} and ${stderr}${stdout}`);
  match(stderr, message);
  ok(!/^\s+at /m.test(stderr), `no stack trace: ${stderr}`);
  equal(
    stderr.split("\n").filter((line) => line.startsWith("error: ") && !line.includes("XDG")).length,
    1,
    stderr,
  );
}

Deno.test("train-lm refuses bad input with one message and leaves nothing half-written", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "out");
  const at = (name: string) => join(tiny.dir, name);
  await Deno.writeTextFile(at("empty.txt"), "");
  await Deno.writeTextFile(at("short.txt"), "hi there");
  await Deno.writeTextFile(at("tokenizer.json"), '{"model": {}}');
  await Deno.writeTextFile(at("options.json"), '{"stepz": 3}');
  const cases: [string[], 1 | 2, RegExp, Record<string, string>?][] = [
    [["--data", at("missing.txt")], 1, /there is no file or folder .*missing\.txt/],
    [["--data", at("empty.txt")], 1, /must hold text/],
    [["--data", at("short.txt")], 1, /at least one sequence of 17 tokens/],
    [["--tokenizer", at("tokenizer.json")], 1, /Cannot use this tokenizer\.json: model\.type must be/],
    [["--tokenizer", at("none.json")], 1, /none\.json/],
    [["--bacth-size", "3"], 2, /unknown option --bacth-size; did you mean --batch-size\?/],
    [["--batch-size", "0"], 2, /--batch-size must be an integer of at least 1, received "0"/],
    [["--lr", "-1"], 2, /--lr must be a number greater than 0/],
    [["--optimizer", "adam"], 2, /--optimizer must be one of koala\+\+, adamw, sgd/],
    [["--model", "nope"], 2, /--model must be one of gpt2-nano.*got nope/],
    [["--seq-len", "64"], 2, /--seq-len must be at most 32/],
    [["--config", at("options.json")], 2, /key "stepz" is not an option; did you mean steps\?/],
    [["--resume"], 1, /run\.json/],
    [[], 1, /found none on linux: install/, { DENO_WEBGPU_BACKEND: "dx12" }],
  ];
  for (const [args, exit, message, env] of cases) {
    if (env && Deno.build.os !== "linux") continue;
    // --data may be given many times, so the good one has to go.
    const options = args[0] === "--data" ? tiny.options.slice(2) : tiny.options;
    refused(await runTask("train-lm", [...options, "--out", out, ...args], env), exit, message);
    ok(!await exists(out), `${args} left ${out} behind`);
  }
  // A file where a folder must be is unwritable for every user, root included.
  const unwritable = join(at("corpus.txt"), "out");
  refused(await runTask("train-lm", [...tiny.options, "--out", unwritable]), 1, /corpus\.txt/);
});

Deno.test("broken checkpoints and those of another model are refused by name", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  equal((await runTask("train-lm", [...tiny.options, "--steps", "4", "--out", out])).code, 0);
  const checkpoint = join(out, "checkpoints/step-00000004");
  const weights = join(checkpoint, "model.safetensors");
  const generate = ["--checkpoint", checkpoint, "--max-tokens", "2"];
  const resume = ["--resume", out, "--steps", "8", "--cache", join(tiny.dir, "cache")];

  const whole = await Deno.readFile(weights);
  await Deno.writeFile(weights, whole.subarray(0, 20_000));
  refused(await runTask("generate", generate), 1, /cut short/);
  refused(await runTask("train-lm", resume), 1, /cut short/);
  await Deno.writeFile(weights, whole);

  const config = join(checkpoint, "config.json");
  const text = await Deno.readTextFile(config);
  await Deno.writeTextFile(config, text.replace('"n_embd": 32', '"n_embd": 64'));
  refused(await runTask("generate", generate), 1, /checkpoint of another model: .*wte\.weight \[300, 32\]/);
  await Deno.writeTextFile(config, text.replace('"model_type": "gpt2"', '"model_type": "bert"'));
  refused(await runTask("generate", generate), 1, /model_type must be one of gpt2, got "bert"/);
  await Deno.writeTextFile(config, text);

  refused(await runTask("generate", ["--checkpoint", join(tiny.dir, "cache")]), 1, /is not a model folder/);
  refused(await runTask("generate", []), 2, /--checkpoint/);
  refused(await runTask("generate", [...generate, "--top-p", "0"]), 2, /--top-p/);
  equal((await runTask("generate", generate)).code, 0);
});

Deno.test("every task explains its options with --help", async () => {
  for (const task of ["train-lm", "generate", "train-tokenizer", "doctor"]) {
    const { code, stdout } = await runTask(task, ["--help"]);
    equal(code, 0);
    match(stdout, new RegExp(`deno task ${task}`));
    match(stdout, /--json/);
  }
});

Deno.test("doctor reports the adapter as JSON", async () => {
  const { code, stdout, stderr } = await runTask("doctor", ["--json"]);
  equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  equal(report.self_test, "passed");
  ok(report.adapter.length > 0 && report.limits.max_buffer_bytes > 0 && report.advice.length > 0);
});
