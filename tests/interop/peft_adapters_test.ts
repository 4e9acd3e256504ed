/** LoRA adapters go both ways between this toolkit and Python's PEFT. */
import { equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { readAdapterFolder } from "../../checkpoint/adapter/folder.ts";
import { requestGpu } from "../../gpu/device.ts";
import { tinyRun } from "../cli.ts";
import { goldenPath } from "../golden.ts";
import { type Logits, logitsHere, PROMPTS, run, worst } from "./logits.ts";
import { runPython, whyNoPackage } from "./python.ts";

const SCRIPT = new URL("peft_adapters.py", import.meta.url);

const ignore = await whyNoPackage("peft") !== null;

/** What PEFT finds in an adapter: logits with it beside the weights, merged into them, and without it. */
type Opened = Readonly<Record<"beside" | "alone" | "merged" | "base", Logits>>;

/** The adapters that PEFT saves, made once for all tests, and their logits. */
let making: Promise<{ dir: string; logits: Record<string, Logits> }> | undefined;
function made(): NonNullable<typeof making> {
  return making ??= (async () => {
    const dir = await Deno.makeTempDir();
    const logits = JSON.parse(await runPython(SCRIPT, ["make", dir, JSON.stringify(PROMPTS)]));
    for (const model of ["gpt2", "gpt", "llama"]) {
      await Deno.copyFile(goldenPath("tokenizer/tokenizer.json")!, join(dir, model, "tokenizer.json"));
    }
    return { dir, logits };
  })();
}

async function open(base: string, ...paths: string[]): Promise<Record<string, Opened>> {
  return JSON.parse(await runPython(SCRIPT, ["open", JSON.stringify(PROMPTS), base, ...paths]));
}

/** Options that train an adapter for some steps. */
function training(dir: string, initFrom: string, out: string): string[] {
  const paths = { "init-from": initFrom, data: join(dir, "corpus.txt"), cache: join(dir, "cache"), out };
  return [
    ...Object.entries(paths).flatMap(([option, path]) => [`--${option}`, path]),
    ..."--steps 20 --seq-len 16 --batch-size 4 --sample-tokens 0 --no-autotune --json".split(" "),
  ];
}

Deno.test({
  name: "adapters that PEFT saves give its logits within 1e-4, as they are and exported",
  ignore,
  async fn() {
    const { dir, logits } = await made();
    const gpu = await requestGpu();
    for (const [name, wanted] of Object.entries(logits)) {
      const own = worst(await logitsHere(gpu, join(dir, name)), wanted);
      ok(own <= 1e-4, `the logits of ${name} differ by ${own}`);
      const out = join(dir, "exports", name);
      await run("export-hf", ["--checkpoint", join(dir, name), "--out", out]);
      const exported = worst(await logitsHere(gpu, out), wanted);
      ok(exported <= 1e-4, `the logits of ${name}, exported, differ by ${exported}`);
    }
    gpu.destroy();
  },
});

for (const [base, targets] of [["gpt2", "c_attn,c_fc"], ["gpt", "c_attn,c_fc"], ["llama", "q_proj,v_proj"]]) {
  Deno.test({
    name:
      `PEFT opens adapters of ${base} that were trained here, also from its own, with our logits within 1e-4`,
    ignore,
    async fn() {
      const { dir, logits } = await made();
      await using tiny = await tinyRun();
      const model = join(dir, base);
      const lora = ["--lora-rank", "4", "--lora-targets", targets];
      const fresh = JSON.parse(
        await run("train-lm", [...training(tiny.dir, model, join(tiny.dir, "fresh")), ...lora]),
      ).checkpoint;
      const from = join(dir, `${base}-default`);
      const { checkpoint: on } = JSON.parse(
        await run("train-lm", training(tiny.dir, from, join(tiny.dir, "on"))),
      );
      using adapter = await readAdapterFolder(on);
      equal(adapter.adapter.r, 8);

      const opened = await open(model, fresh, on);
      const gpu = await requestGpu();
      for (const path of [fresh, on]) {
        const { beside, alone, merged, base: without } = opened[path];
        const here = await logitsHere(gpu, path);
        for (const [how, theirs] of Object.entries({ beside, alone, merged })) {
          const distance = worst(here, theirs);
          ok(distance <= 1e-4, `${path}: our logits and PEFT's (${how}) differ by ${distance}`);
        }
        ok(worst(here, without) > 1e-2, `${path}: training must have changed something`);
      }
      ok(worst(await logitsHere(gpu, on), logits[`${base}-default`]) > 1e-3, "training must have gone on");
      const out = join(dir, "exports", `${base}-fresh`);
      await run("export-hf", ["--checkpoint", fresh, "--out", out]);
      const distance = worst(await logitsHere(gpu, out), opened[fresh].merged);
      ok(distance <= 1e-4, `the merged export and PEFT's merge_and_unload differ by ${distance}`);
      gpu.destroy();
    },
  });
}

Deno.test({
  name: "what PEFT saved is cleared away",
  ignore,
  fn: async () => await Deno.remove((await made()).dir, { recursive: true }),
});
