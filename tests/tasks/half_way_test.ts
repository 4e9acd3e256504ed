/** Tasks that are killed, or whose disk is full, leave no folder or file that looks finished. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readModelFolder, writeModelFolder } from "../../checkpoint/hugging_face.ts";
import { matchTensors } from "../../checkpoint/tensor_names.ts";
import { readCheckpoint } from "../../checkpoint/run/training_state.ts";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import { modelFromConfig } from "../../models/load.ts";
import { uniform } from "../../ops/random.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import {
  exists,
  filesIn,
  refused,
  runTask,
  runWithFullDisk,
  signalTask,
  taskCommand,
  tinyRun,
  zeros,
} from "../cli.ts";

/** Large enough that writing it takes a while: 19 MB. */
const config = { model_type: "gpt2", n_positions: 64, n_embd: 256, n_layer: 6, n_head: 4, vocab_size: 300 };
const sharded = ["--max-shard-size", "4MB"];
const ignore = Deno.build.os === "windows";

/** What a reader sees in a folder: all but what is being written. */
async function visible(dir: string): Promise<string[]> {
  return (await filesIn(dir)).filter((name) => !name.startsWith("."));
}

/** Holds an exported folder to be all there. */
async function checkExport(dir: string): Promise<void> {
  using folder = await readModelFolder(dir);
  matchTensors(declareParameters(modelFromConfig(folder.config)).all, folder.tensors);
  for (const name of folder.tensors.keys()) await folder.readF32(name);
  ok(await exists(join(dir, "README.md")));
}

/** Holds a checkpoint to be all there. */
async function checkCheckpoint(path: string, step: number): Promise<void> {
  using checkpoint = await readCheckpoint(path);
  equal(checkpoint.state.step, step);
  for (const file of [checkpoint.model, checkpoint.optimizer]) {
    ok(file.tensors.size > 0);
    for (const name of file.tensors.keys()) await file.readF32(name);
  }
}

Deno.test("export-hf killed at any moment leaves the whole folder or none, and can be run again", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  await writeModelFolder(at("model"), { config, tensors: zeros(modelFromConfig(config)) });
  const seed = Date.now() % 2 ** 31;
  for (let i = 0; i < 5; i++) {
    // The folder above appears together with the one that is being written.
    const [exports, out] = [at(`exports${i}`), join(at(`exports${i}`), "mine")];
    const args = ["--checkpoint", at("model"), "--out", out, ...sharded];
    const delay = 800 * uniform(seed, i);
    const { code, stderr } = await signalTask("export-hf", args, { path: exports, delay, signal: "SIGKILL" });
    ok(code === 0 || code === (Deno.build.os === "windows" ? 1 : 137), stderr);
    const left = await visible(exports);
    const what = code === 0 ? "done before" : `killed, leaving ${left.join() || "nothing to see"}`;
    console.log(`export-hf: ${what} ${delay.toFixed(1)} ms after it began to write (seed ${seed})`);
    if (left.length > 0) await checkExport(out);
    else equal((await runTask("export-hf", args)).code, 0);
    deepEqual(await visible(exports), ["mine"]);
    await checkExport(out);
  }
});

Deno.test("export-hf on a full disk says so and leaves nothing", { ignore }, async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  await writeModelFolder(at("model"), { config, tensors: zeros(modelFromConfig(config)) });
  const args = ["--checkpoint", at("model"), "--out", at("mine")];
  const before = await filesIn(tiny.dir);
  // Nothing but the configuration fits, then all but the last of one file's bytes, then all but the largest shards.
  const size = (await Deno.stat(join(at("model"), "model.safetensors"))).size;
  for (const [kibibytes, more] of [[2, []], [Math.floor(size / 1024), []], [3000, sharded]] as const) {
    refused(
      await runWithFullDisk(taskCommand("export-hf", [...args, ...more]), kibibytes),
      1,
      /Cannot write .*File too large/,
    );
    deepEqual(await filesIn(tiny.dir), before);
  }
});

Deno.test("a checkpoint that does not fit on the disk leaves nothing, and the one before stays good", {
  ignore,
}, async () => {
  const dir = await Deno.makeTempDir();
  const script = fileURLToPath(new URL("../write_checkpoint.ts", import.meta.url));
  const write = (step: number, kibibytes: number) => {
    const permissions = ["--no-check", "--allow-read", "--allow-write"];
    return runWithFullDisk([Deno.execPath(), "run", ...permissions, script, dir, String(step)], kibibytes);
  };
  try {
    equal((await write(1, 1 << 20)).code, 0);
    const checkpoints = join(dir, "checkpoints");
    const first = join(checkpoints, "step-00000001");
    const size = (await Deno.stat(join(first, "model.safetensors"))).size;
    // A part of the weights fits; all of the weights, but not of the optimizer; step 1 would be replaced.
    for (const [step, share] of [[2, 0.5], [2, 1.5], [1, 1.5]]) {
      refused(
        await write(step, Math.floor(share * size / 1024)),
        1,
        /Cannot write .*safetensors: File too large/,
      );
      deepEqual(await filesIn(checkpoints), ["step-00000001"]);
      await checkCheckpoint(first, 1);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("train-lm killed at any moment leaves only whole checkpoints", async () => {
  await using tiny = await tinyRun();
  const out = join(tiny.dir, "run");
  const seed = Date.now() % 2 ** 31;
  const checkpoints = join(out, "checkpoints");
  const options = [
    ...tiny.options,
    "--save-every",
    "1",
    "--keep",
    "99",
    "--eval-every",
    "0",
    "--no-autotune",
  ];
  const args = [...options, "--steps", "200", "--sample-tokens", "0", "--out", out];
  const delay = 1000 * uniform(seed, 0);
  const third = join(checkpoints, "step-00000003");
  const { code, stderr } = await signalTask("train-lm", args, { path: third, delay, signal: "SIGKILL" });
  ok(code === 0 || code === (Deno.build.os === "windows" ? 1 : 137), stderr);
  const names = await visible(checkpoints);
  console.log(
    `train-lm: killed after ${delay.toFixed(1)} ms with ${names.length} checkpoints (seed ${seed})`,
  );
  ok(names.length >= 3);
  for (const [i, name] of names.entries()) {
    equal(name, `step-${String(i + 1).padStart(8, "0")}`);
    await checkCheckpoint(join(checkpoints, name), i + 1);
    await loadTokenizer(join(checkpoints, name, "tokenizer.json"));
  }
});

Deno.test("train-tokenizer killed or on a full disk leaves a whole file or none", { ignore }, async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const args = ["--data", at("corpus.txt"), "--vocab-size", "600", "--out", at("tokenizer.json")];
  refused(
    await runWithFullDisk(taskCommand("train-tokenizer", args), 4),
    1,
    /Cannot write .*tokenizer\.json: File too large/,
  );
  ok(!(await filesIn(tiny.dir)).some((name) => /tokenizer/.test(name)));
  const seed = Date.now() % 2 ** 31;
  for (let i = 0; i < 3; i++) {
    const delay = 1500 * uniform(seed, i);
    await signalTask("train-tokenizer", args, { path: at("corpus.txt"), delay, signal: "SIGKILL" });
    const written = await exists(at("tokenizer.json"));
    console.log(
      `train-tokenizer: ${written ? "a file" : "none"} after ${delay.toFixed(1)} ms (seed ${seed})`,
    );
    if (!written) continue;
    equal((await loadTokenizer(at("tokenizer.json"))).vocabSize > 256, true);
    await Deno.remove(at("tokenizer.json"));
  }
});
