import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { latestCheckpoint } from "../../checkpoint/run/run_folder.ts";
import { runTask, tinyRun } from "../cli.ts";
import { runPython, whyNoPython } from "./python.ts";

const SCRIPT = new URL("evaluation.py", import.meta.url);
const ignore = await whyNoPython() !== null;

/** Runs a task, which must succeed. */
async function run(task: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask(task, args);
  equal(code, 0, stderr);
  return stdout;
}

Deno.test({
  name: "evaluate gives PyTorch's loss, perplexity and bits per byte, with sequences that overlap and not",
  ignore,
  async fn() {
    await using tiny = await tinyRun();
    const at = (name: string) => join(tiny.dir, name);
    await run(
      "train-lm",
      ...tiny.options,
      "--steps",
      "8",
      "--sample-tokens",
      "0",
      "--no-autotune",
      "--out",
      at("run"),
    );
    for (const dtype of ["f16", "bf16"]) {
      await run("export-hf", "--checkpoint", at("run"), "--dtype", dtype, "--out", at(dtype));
    }
    await runPython(SCRIPT, ["make", at("llama")]);
    await Deno.copyFile(join(at("f16"), "tokenizer.json"), join(at("llama"), "tokenizer.json"));
    const tokenizerConfig = "tokenizer_config.json";
    await Deno.copyFile(join(at("f16"), tokenizerConfig), join(at("llama"), tokenizerConfig));

    // Two documents, with characters of two to four bytes and of more than one token.
    const texts = [(await Deno.readTextFile(at("corpus.txt"))).slice(0, 1200), "Où est le café – 東京 😀?\n"];
    const files = texts.map((_, i) => at(`text${i}.txt`));
    for (const [i, file] of files.entries()) await Deno.writeTextFile(file, texts[i]);
    const data = ["--data", ...files, "--batch-size", "7", "--json"];

    const checkpoint = (await latestCheckpoint(at("run")))!.path;
    const cases: [name: string, args: string[], job: { folder: string; seqLen: number; stride: number }][] = [
      // The length that the run was trained with.
      ["run", [], { folder: checkpoint, seqLen: 16, stride: 16 }],
      ["run", ["--stride", "5"], { folder: checkpoint, seqLen: 16, stride: 5 }],
      ["f16", ["--seq-len", "16"], { folder: at("f16"), seqLen: 16, stride: 16 }],
      ["bf16", ["--seq-len", "20", "--stride", "1"], { folder: at("bf16"), seqLen: 20, stride: 1 }],
      // The model's longest.
      ["llama", [], { folder: at("llama"), seqLen: 24, stride: 24 }],
      ["llama", ["--stride", "12"], { folder: at("llama"), seqLen: 24, stride: 12 }],
    ];
    await Deno.writeTextFile(at("jobs.json"), JSON.stringify(cases.map(([, , job]) => ({ ...job, texts }))));
    const expected = JSON.parse(await runPython(SCRIPT, ["evaluate", at("jobs.json")]));
    const losses: number[] = [];
    for (const [i, [name, args, job]] of cases.entries()) {
      const found = JSON.parse(await run("evaluate", "--checkpoint", at(name), ...data, ...args));
      const { checkpoint, seq_len, stride, tokens } = found;
      deepEqual({ folder: checkpoint, seqLen: seq_len, stride, tokens }, {
        ...job,
        tokens: expected[i].tokens,
      });
      for (const key of ["loss", "perplexity", "bits_per_byte"]) {
        const off = Math.abs(found[key] / expected[i][key] - 1);
        console.log(
          `${name} ${args.join(" ")}: ${key} ${found[key].toFixed(6)}, off by ${off.toExponential(1)}`,
        );
        // Both compute in f32 on the same weights, in other orders.
        ok(off <= 1e-5, `${name} ${args}: ${key} must be PyTorch's ${expected[i][key]}, got ${found[key]}`);
      }
      losses.push(found.loss);
    }
    notEqual(losses[1], losses[0], "the stride must show in the loss");
  },
});
