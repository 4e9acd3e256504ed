import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { readModelFolder } from "../../checkpoint/hugging_face.ts";
import { requestGpu } from "../../gpu/device.ts";
import { tinyRun } from "../cli.ts";
import { goldenPath } from "../golden.ts";
import { type Logits, logitsHere, PROMPTS, run, worst } from "./logits.ts";
import { runPython, whyNoPython } from "./python.ts";

const SCRIPT = new URL("hugging_face_folders.py", import.meta.url);

const ignore = await whyNoPython() !== null;

/** What Python finds in a folder that we wrote. */
interface Opened {
  readonly logits: Logits;
  readonly own: Logits;
  readonly dtype: string;
  readonly dtypes: string[];
  readonly tensors: number;
  readonly parameters: number;
  readonly eos: string;
  readonly decoded: string;
  readonly eos_id: number;
}

/** The folders that transformers saves, made once for all tests, and their logits. */
let making: Promise<{ dir: string; logits: Record<string, Logits> }> | undefined;
function made(): NonNullable<typeof making> {
  return making ??= (async () => {
    const dir = await Deno.makeTempDir();
    const logits = JSON.parse(await runPython(SCRIPT, ["make", dir, JSON.stringify(PROMPTS)]));
    const tokenizer = goldenPath("tokenizer/tokenizer.json")!;
    for (const name of Object.keys(logits)) await Deno.copyFile(tokenizer, join(dir, name, "tokenizer.json"));
    return { dir, logits };
  })();
}

async function open(...paths: string[]): Promise<Record<string, Opened>> {
  return JSON.parse(await runPython(SCRIPT, ["open", JSON.stringify(PROMPTS), ...paths]));
}

for (const architecture of ["gpt2", "openai-gpt", "llama"]) {
  Deno.test({
    name: `every form in which transformers saves ${architecture} loads and gives its logits within 1e-4`,
    ignore,
    async fn() {
      const { dir, logits } = await made();
      const names = Object.keys(logits).filter((name) => name.startsWith(architecture));
      ok(names.length >= 9);
      const gpu = await requestGpu();
      for (const name of names) {
        const distance = worst(await logitsHere(gpu, join(dir, name)), logits[name]);
        ok(distance <= 1e-4, `the logits of ${name} differ by ${distance}`);
      }
      gpu.destroy();
    },
  });

  Deno.test({
    name:
      `transformers and safe_open read our exports of ${architecture}, whole and sharded, in every format`,
    ignore,
    async fn() {
      const { dir, logits } = await made();
      const source = join(dir, `${architecture}-shards`);
      const exported = (name: string) => join(dir, "exports", `${architecture}-${name}`);
      for (const dtype of ["f32", "f16", "bf16"]) {
        const args = ["--checkpoint", source, "--dtype", dtype];
        await run("export-hf", [...args, "--out", exported(dtype)]);
        await run("export-hf", [...args, "--out", exported(`${dtype}-shards`), "--max-shard-size", "40KB"]);
      }
      const kinds = ["f32", "f16", "bf16"].flatMap((dtype) => [dtype, `${dtype}-shards`]);
      const opened = await open(...kinds.map(exported));
      const original = logits[`${architecture}-shards`];
      const scale = worst(original, original.map((row) => row.map(() => 0)));
      const gpu = await requestGpu();
      for (const kind of kinds) {
        const path = exported(kind);
        const found = opened[path];
        const [short] = kind.split("-");
        const long = { f32: "torch.float32", f16: "torch.float16", bf16: "torch.bfloat16" }[short]!;
        deepEqual([found.dtypes, found.dtype], [[long], long]);
        deepEqual([found.eos, found.eos_id], ["<|endoftext|>", 0]);
        equal(found.decoded, "It was a dark and stormy night.");
        using folder = await readModelFolder(path);
        equal(found.tensors, folder.tensors.size);
        const files = await Array.fromAsync(Deno.readDir(path), (entry) => entry.name);
        equal(files.filter((name) => name.endsWith(".safetensors")).length > 1, kind.endsWith("shards"));
        match(await Deno.readTextFile(join(path, "README.md")), /^---\nlibrary_name: transformers\n/);

        const here = worst(await logitsHere(gpu, path), found.logits);
        ok(here <= 1e-4, `${kind}: we and PyTorch differ by ${here} on the same rounded weights`);
        // A weight in f16 is off by up to 2^-12 of itself, in bf16 by 2^-9; errors add up over two blocks, and where
        // PyTorch also computes in that format, activations are rounded at every step. In f32 nothing is rounded, but
        // two processes may add in another order.
        const [weights, all] = {
          f32: [1e-6, 1e-6],
          f16: [2 ** -9, 2 ** -8],
          bf16: [2 ** -6, 2 ** -5],
        }[short]!;
        const rounding = worst(found.logits, original) / scale;
        ok(
          rounding <= weights,
          `${kind}: rounding the weights moved the logits by ${rounding} of the largest`,
        );
        const computing = worst(found.own, original) / scale;
        ok(computing <= all, `${kind}: computing in ${long} moved the logits by ${computing} of the largest`);
        console.log(
          `${kind}: rounded weights ${rounding.toExponential(1)}, computed so ${computing.toExponential(1)}`,
        );
      }
      gpu.destroy();
    },
  });

  Deno.test({
    name: `train-lm --init-from goes on from a ${architecture} of transformers, which opens the result`,
    ignore,
    async fn() {
      const { dir, logits } = await made();
      await using tiny = await tinyRun();
      const source = join(dir, `${architecture}-bf16`);
      const common = [
        ...[
          "--init-from",
          source,
          "--data",
          join(tiny.dir, "corpus.txt"),
          "--cache",
          join(tiny.dir, "cache"),
        ],
        ..."--seq-len 16 --batch-size 4 --sample-tokens 0 --no-autotune --json".split(" "),
      ];
      // Steps of almost no size show where training starts.
      const still = "--steps 1 --optimizer sgd --lr 1e-12".split(" ");
      const start = JSON.parse(
        await run("train-lm", [...common, ...still, "--out", join(tiny.dir, "still")]),
      );
      const tuned = [..."--steps 40 --log-every 1 --dropout 0".split(" "), "--out", join(tiny.dir, "tuned")];
      const end = JSON.parse(await run("train-lm", [...common, ...tuned]));
      const fall = start.validation.loss - end.validation.loss;
      ok(fall > 1, `the loss must fall, got ${start.validation.loss} and then ${end.validation.loss}`);

      const { config } = JSON.parse(await Deno.readTextFile(join(tiny.dir, "tuned", "run.json")));
      equal(config.initFrom, source);
      match(config.initWeights, /^[0-9a-f]{64}$/);
      equal(config.model.vocab_size, 1100);

      const exported = join(dir, "exports", `${architecture}-tuned`);
      await run("export-hf", [
        "--checkpoint",
        join(tiny.dir, "tuned"),
        "--out",
        exported,
        "--license",
        "mit",
      ]);
      const opened = await open(start.checkpoint, end.checkpoint, exported);
      const distance = worst(opened[start.checkpoint].logits, logits[`${architecture}-bf16`]);
      ok(distance <= 1e-4, `the first checkpoint's logits differ from the folder's by ${distance}`);
      const gpu = await requestGpu();
      const here = await logitsHere(gpu, end.checkpoint);
      for (const path of [end.checkpoint, exported]) ok(worst(opened[path].logits, here) <= 1e-4, path);
      gpu.destroy();
      const card = await Deno.readTextFile(join(exported, "README.md"));
      match(card, new RegExp(`\\| Started from \\| ${architecture}-bf16 \\|`));
      match(card, /\| Perplexity \| [\d.]+ \|/);
      match(await Deno.readTextFile(join(exported, "loss_curve.svg")), /<polyline points="[\d. ,]+"/);
    },
  });
}

Deno.test({
  name: "what transformers saved is cleared away",
  ignore,
  fn: async () => await Deno.remove((await made()).dir, { recursive: true }),
});
