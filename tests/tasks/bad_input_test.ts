import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { exists, filesIn, refused, runTask, tinyRun } from "../cli.ts";

const taskNames = [
  "train-lm",
  "generate",
  "evaluate",
  "export-hf",
  "train-tokenizer",
  "inspect-data",
  "doctor",
  "profile",
  "compare-optimizers",
];
/** On Linux there is no such backend, so Deno finds no adapter. */
const withoutAdapter = { DENO_WEBGPU_BACKEND: "dx12" };

Deno.test("train-lm refuses bad input with one message and leaves nothing half-written", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const files = {
    "empty.txt": "",
    "short.txt": "hi there",
    "tokenizer.json": '{"model": {}}',
    "torn.json": '{"model": {"type": "BPE", "voc',
    "options.json": '{"stepz": 3}',
    "number.json": '{"steps": "many"}',
    "bert.json": '{"model_type": "bert"}',
    "ids.bin": "abcdef",
  };
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(at(name), text);
  await Deno.mkdir(at("nothing"));
  const before = await filesIn(tiny.dir);
  const cases: [string[], 1 | 2, RegExp][] = [
    [["--data", at("missing.txt")], 1, /there is no file or folder .*missing\.txt/],
    [["--data", at("nothing")], 1, /nothing/],
    [["--data", at("empty.txt")], 1, /must hold text/],
    [["--data", at("short.txt")], 1, /at least one sequence of 17 tokens/],
    [["--tokenizer", at("tokenizer.json")], 1, /Cannot use this tokenizer\.json: model\.type must be/],
    [["--tokenizer", at("torn.json")], 1, /torn\.json/],
    [["--tokenizer", at("none.json")], 1, /none\.json/],
    [["--bacth-size", "3"], 2, /unknown option --bacth-size; did you mean --batch-size\?/],
    [["--batch-size", "0"], 2, /--batch-size must be an integer of at least 1, received "0"/],
    [["--gpu", "no such card"], 2, /--gpu must mean one adapter, got no such card, which means none of 0: /],
    [["--lr", "-1"], 2, /--lr must be a number greater than 0/],
    [["--optimizer", "adam"], 2, /--optimizer must be one of koala\+\+, .*adamw/],
    [
      ["--optimizer", "adamw", "--adamw-lr", "1"],
      2,
      /--adamw-lr: adamw takes lr, .*got adamw\.lr; leave it out/,
    ],
    [["--model", "nope"], 2, /--model must be one of gpt2-nano.*got nope/],
    [["--model", at("none.json")], 1, /none\.json/],
    [["--model", at("torn.json")], 1, /torn\.json/],
    [["--model", at("bert.json")], 1, /model_type must be one of gpt2, llama, openai-gpt, got "bert"/],
    [["--seq-len", "64"], 2, /--seq-len must be at most 32/],
    [["--config", at("options.json")], 2, /key "stepz" is not an option; did you mean steps\?/],
    [["--config", at("number.json")], 2, /key "steps" must be an integer of at least 1, received "many"/],
    [["--config", at("none.json")], 2, /cannot read config file .*none\.json/],
    [["--validation-data", at("missing.txt")], 1, /there is no file or folder .*missing\.txt/],
    [["--validation-data", at("short.txt"), "--validation-fraction", "0.1"], 2, /give one/],
    [["--validation-data", at("ids.bin")], 2, /all be \.bin files of token ids or none/],
    [["--data", at("ids.bin")], 2, /give the tokenizer\.json they are of by --tokenizer/],
    [["--resume"], 1, /run\.json/],
    [["--resume", at("nothing"), "--out", at("nothing")], 1, /run\.json/],
    // A file where a folder must be is unwritable for every user, root included.
    [["--out", join(at("corpus.txt"), "out")], 1, /corpus\.txt.* a part of the path is a file/],
  ];
  for (const [args, exit, message] of cases) {
    // --data may be given many times, so the good one has to go.
    const options = args[0] === "--data" ? tiny.options.slice(2) : tiny.options;
    // Folders above the run's are new too.
    const out = args.includes("--out") ? [] : ["--out", join(at("runs"), "out")];
    refused(await runTask("train-lm", [...options, ...out, ...args]), exit, message);
    deepEqual(await filesIn(tiny.dir), before, `${args} must leave nothing behind`);
  }
});

Deno.test("train-tokenizer refuses bad input and writes no file", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  await Deno.writeTextFile(at("empty.txt"), "");
  const before = await filesIn(tiny.dir);
  const data = ["--data", at("corpus.txt")];
  const cases: [string[], 1 | 2, RegExp][] = [
    [["--data", at("missing.txt")], 1, /there is no file or folder .*missing\.txt/],
    [["--data", at("empty.txt")], 1, /must hold text/],
    [[...data, "--vocab-size", "256"], 2, /--vocab-size must be an integer of at least 257/],
    [[...data, "--out", join(at("corpus.txt"), "t.json")], 1, /corpus\.txt/],
  ];
  for (const [args, exit, message] of cases) {
    refused(await runTask("train-tokenizer", ["--out", at("t.json"), ...args]), exit, message);
    deepEqual(await filesIn(tiny.dir), before, `${args} must leave nothing behind`);
  }
});

Deno.test("without an adapter each task says how to get one", {
  ignore: Deno.build.os !== "linux",
}, async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "out");
  const message = /found none on Linux [^:]*: install/;
  refused(await runTask("train-lm", [...tiny.options, "--out", out], withoutAdapter), 1, message);
  ok(!await exists(out));
  const doctor = await runTask("doctor", [], withoutAdapter);
  equal(doctor.code, 1);
  match(doctor.stdout + doctor.stderr, /install/);
  ok(!/^\s+at /m.test(doctor.stdout + doctor.stderr));
});

Deno.test("broken checkpoints and those of another model are refused by name", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  const train = [...tiny.options, "--steps", "4", "--sample-tokens", "0"];
  equal((await runTask("train-lm", [...train, "--out", out])).code, 0);
  const checkpoint = join(out, "checkpoints/step-00000004");
  const generate = ["--checkpoint", checkpoint, "--max-tokens", "2"];
  const resume = ["--resume", out, "--steps", "8", "--cache", join(tiny.dir, "cache")];
  const runFile = await Deno.readTextFile(join(out, "run.json"));
  const metrics = await Deno.readTextFile(join(out, "metrics.jsonl"));

  /** Changes a file of the checkpoint, tries both tasks, and puts it back. */
  const withFile = async (
    name: string,
    change: (whole: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer> | Promise<Uint8Array<ArrayBuffer>>,
    expected: { generate?: RegExp; resume?: RegExp },
  ) => {
    const path = join(checkpoint, name);
    const whole = await Deno.readFile(path);
    await Deno.writeFile(path, await change(whole));
    if (expected.generate) refused(await runTask("generate", generate), 1, expected.generate);
    if (expected.resume) refused(await runTask("train-lm", resume), 1, expected.resume);
    await Deno.writeFile(path, whole);
    equal(await Deno.readTextFile(join(out, "run.json")), runFile, "the run must stay as it was");
    equal(await Deno.readTextFile(join(out, "metrics.jsonl")), metrics, "the metrics must stay as they were");
    deepEqual(await filesIn(join(out, "checkpoints")), ["step-00000004"]);
  };
  const cut = (whole: Uint8Array<ArrayBuffer>) => whole.slice(0, Math.floor(whole.length / 2));
  const replaced = (from: string, to: string) => (whole: Uint8Array<ArrayBuffer>) =>
    new TextEncoder().encode(new TextDecoder().decode(whole).replace(from, to));

  await withFile("model.safetensors", cut, { generate: /cut short/, resume: /cut short/ });
  await withFile("optimizer.safetensors", cut, { resume: /optimizer\.safetensors.*cut short/ });
  await withFile("training_state.json", cut, { resume: /training_state\.json/ });
  await withFile("tokenizer.json", cut, { generate: /tokenizer\.json/, resume: /tokenizer\.json/ });
  await withFile("config.json", cut, { generate: /config\.json/, resume: /config\.json/ });
  const otherWidth = /checkpoint of another model: .*wte\.weight \[300, 32\]/;
  await withFile("config.json", replaced('"n_embd": 32', '"n_embd": 64'), { generate: otherWidth });
  const otherType = /model_type must be one of gpt2, llama, openai-gpt, got "bert"/;
  await withFile("config.json", replaced('"gpt2"', '"bert"'), { generate: otherType });

  const other = join(tiny.dir, "other");
  const config = { model_type: "gpt2", n_positions: 32, n_embd: 16, n_layer: 1, n_head: 2 };
  await Deno.writeTextFile(join(tiny.dir, "config.json"), JSON.stringify(config));
  equal((await runTask("train-lm", [...train, "--out", other])).code, 0);
  const weightsOfOther = () => Deno.readFile(join(other, "checkpoints/step-00000004/model.safetensors"));
  const another = /another model/;
  await withFile("model.safetensors", weightsOfOther, { generate: another, resume: another });

  refused(await runTask("generate", ["--checkpoint", join(tiny.dir, "cache")]), 1, /is not a model folder/);
  refused(await runTask("generate", ["--checkpoint", join(tiny.dir, "none")]), 1, /none/);
  refused(await runTask("generate", []), 2, /--checkpoint/);
  refused(await runTask("generate", [...generate, "--top-p", "0"]), 2, /--top-p/);
  equal((await runTask("generate", generate)).code, 0);
});

Deno.test("every task lists all its options with --help", async () => {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(file, '{"no-such-option": 1}');
    for (const task of taskNames) {
      const { code, stdout, stderr } = await runTask(task, ["--help"]);
      equal(code, 0, stderr);
      match(stdout, new RegExp(`^Usage: deno task ${task} `));
      const listed = [...stdout.matchAll(/^ {2}--(?:\[no-\])?([a-z-]+)/gm)].map(([, name]) => name);
      // The refusal of an unknown key names all options that there are.
      const { stderr: refusal } = await runTask(task, ["--config", file]);
      const there = /there are ([a-z, -]+)$/m.exec(refusal)?.[1].split(", ") ?? [];
      ok(there.includes("json"), refusal);
      deepEqual(listed.sort(), [...there, "config", "debug", "help"].sort());
    }
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("doctor reports the adapter as JSON", async () => {
  const { code, stdout, stderr } = await runTask("doctor", ["--json"]);
  equal(code, 0, stderr);
  const report = JSON.parse(stdout);
  equal(report.self_test, "passed");
  ok(report.adapter.length > 0 && report.limits.max_buffer_bytes > 0 && report.advice.length > 0);
});
