import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { readMetricsFile } from "../../checkpoint/run/metrics_file.ts";
import { latestCheckpoint, readRunFile } from "../../checkpoint/run/run_folder.ts";
import { readSafetensors } from "../../checkpoint/safetensors/safetensors.ts";
import { readTrainingState } from "../../checkpoint/run/training_state.ts";
import { Batches, type DataCursor } from "../../data/batches.ts";
import { createHash } from "node:crypto";
import { prepareTokens } from "../../data/tokens/dataset.ts";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import type { RunConfig } from "../../training/run/config.ts";
import { runTask, type TinyRun, tinyRun } from "../cli.ts";
import { runPython, whyNoPython } from "./python.ts";

const SCRIPT = new URL("continue_training.py", import.meta.url);
const ignore = await whyNoPython() !== null;

/** Small models: the GPTs with a tied head, the Llama with one of its own. */
const MODELS: Readonly<Record<string, Record<string, unknown>>> = {
  gpt2: { model_type: "gpt2", n_positions: 32, n_embd: 32, n_layer: 2, n_head: 2 },
  gpt: { model_type: "openai-gpt", n_positions: 32, n_embd: 32, n_layer: 2, n_head: 2 },
  llama: {
    model_type: "llama",
    max_position_embeddings: 32,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
  },
};

/** Runs a task, which must succeed. */
async function run(task: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await runTask(task, args);
  equal(code, 0, stderr);
}

/** Trains six steps, then two more from the checkpoint. */
async function trainAndResume(tiny: TinyRun, runDir: string, options: readonly string[]) {
  const same = "--schedule constant --warmup 0 --log-every 1 --keep 9 --sample-tokens 0 --no-autotune".split(
    " ",
  );
  const args = [...tiny.options, ...same, ...options];
  await run("train-lm", [...args, "--steps", "6", "--out", runDir]);
  const { path } = (await latestCheckpoint(runDir))!;
  await run("train-lm", [...args, "--steps", "8", "--resume", runDir]);
  const records = await readMetricsFile(join(runDir, "metrics.jsonl"));
  const losses = [7, 8].map((step) =>
    records.find((record) => record.step === step && "loss" in record)!.loss
  );
  return { checkpoint: path, losses: losses as number[] };
}

/** The next two batches of a run, as its checkpoint tells. */
async function nextBatches(runDir: string, checkpoint: string, cacheDir: string) {
  const { config } = await readRunFile(runDir) as unknown as { config: RunConfig };
  const { data, validationFraction, batchSize, seqLen, seed } = config;
  const tokenizer = await loadTokenizer(join(checkpoint, "tokenizer.json"));
  using dataset = await prepareTokens({ sources: data, tokenizer, validationFraction, cacheDir });
  const { dataCursor } = await readTrainingState(checkpoint);
  const cursor = dataCursor as unknown as DataCursor;
  const batches = new Batches(dataset.train, { batchSize, seqLen, seed, cursor });
  const rows = (ids: Uint32Array) =>
    Array.from({ length: batchSize }, (_, row) => [...ids.subarray(row * seqLen, (row + 1) * seqLen)]);
  return [1, 2].map(() => {
    const { tokens, targets } = batches.next();
    return { tokens: rows(tokens), targets: rows(targets) };
  });
}

Deno.test({
  name:
    "PyTorch goes on from our checkpoints: its first loss is our next one, and with AdamW the one after too",
  ignore,
  async fn() {
    await using tiny = await tinyRun();
    const jobs: Record<string, unknown>[] = [];
    const expected: number[][] = [];
    const names: string[] = [];
    for (const [name, model] of Object.entries(MODELS)) {
      for (const optimizer of ["adamw", "koala++"]) {
        await Deno.writeTextFile(join(tiny.dir, "config.json"), JSON.stringify(model));
        const runDir = join(tiny.dir, `${name}-${optimizer}`);
        const { checkpoint, losses } = await trainAndResume(tiny, runDir, ["--optimizer", optimizer]);
        const batches = await nextBatches(runDir, checkpoint, join(tiny.dir, "cache"));
        // The defaults of train-lm.
        const adamw = { lr: 0.003, betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0.1 };
        const withAdamW = optimizer === "adamw";
        jobs.push(
          withAdamW ? { checkpoint, batches, adamw, clip: 1 } : { checkpoint, batches: batches.slice(0, 1) },
        );
        expected.push(withAdamW ? losses : losses.slice(0, 1));
        names.push(`${name} with ${optimizer}`);
      }
    }
    await Deno.writeTextFile(join(tiny.dir, "jobs.json"), JSON.stringify(jobs));
    const found: number[][] = JSON.parse(await runPython(SCRIPT, ["train", join(tiny.dir, "jobs.json")]));
    for (const [i, losses] of expected.entries()) {
      equal(found[i].length, losses.length);
      losses.forEach((loss, step) => {
        const off = Math.abs(found[i][step] - loss);
        console.log(`${names[i]}, step ${7 + step}: loss ${loss.toFixed(6)}, off by ${off.toExponential(1)}`);
        ok(
          off <= 1e-4,
          `${names[i]}, step ${7 + step}: PyTorch's loss must be our ${loss}, got ${found[i][step]}`,
        );
      });
    }
  },
});

Deno.test({
  name: "safe_open reads every safetensors file that we write: names, shapes, formats, metadata and bytes",
  ignore,
  async fn() {
    await using tiny = await tinyRun();
    const at = (name: string) => join(tiny.dir, name);
    await run("train-lm", [...tiny.options, "--steps", "4", "--sample-tokens", "0", "--out", at("run")]);
    const folders = [(await latestCheckpoint(at("run")))!.path];
    for (const dtype of ["f32", "f16", "bf16"]) {
      folders.push(at(dtype), at(`${dtype}-shards`));
      const args = ["--checkpoint", at("run"), "--dtype", dtype];
      await run("export-hf", [...args, "--out", at(dtype)]);
      await run("export-hf", [...args, "--out", at(`${dtype}-shards`), "--max-shard-size", "20KB"]);
    }
    const files: string[] = [];
    for (const folder of folders) {
      const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
      const found = names.filter((name) => name.endsWith(".safetensors")).sort();
      equal(found.length > 2, folder.endsWith("shards"), `${found}`);
      files.push(...found.map((name) => join(folder, name)));
    }
    ok(files.some((file) => file.endsWith("optimizer.safetensors")));
    const opened: { metadata: unknown; tensors: Record<string, unknown> }[] = JSON.parse(
      await runPython(SCRIPT, ["files", ...files]),
    );
    const torchTypes: Readonly<Record<string, string>> = { F32: "float32", F16: "float16", BF16: "bfloat16" };
    for (const [i, path] of files.entries()) {
      using file = await readSafetensors(path);
      const tensors: Record<string, unknown> = {};
      for (const [name, { dtype, shape }] of file.tensors) {
        const digest = createHash("sha256").update(await file.read(name)).digest("hex");
        tensors[name] = { dtype: `torch.${torchTypes[dtype]}`, shape: [...shape], sha256: digest };
      }
      deepEqual(opened[i], { metadata: { format: "pt" }, tensors }, path);
      ok(file.tensors.size > 0);
    }
  },
});
