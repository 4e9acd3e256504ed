import { deepEqual, equal } from "node:assert/strict";
import { join } from "node:path";
import { tinyRun } from "../cli.ts";
import { ENDS, writeInstructModel } from "../instruct_model.ts";
import { run } from "./logits.ts";
import { runPython, whyNoPython } from "./python.ts";

const ignore = await whyNoPython() !== null;

Deno.test({
  name:
    "transformers finds in checkpoints, exports and merges of an instruct model what it finds in the model",
  ignore,
  async fn() {
    await using tiny = await tinyRun();
    const at = (name: string) => join(tiny.dir, name);
    await writeInstructModel(at("base"), at("corpus.txt"));
    const options = [
      ...["--init-from", at("base"), "--data", at("corpus.txt"), "--cache", at("cache")],
      ..."--seq-len 16 --batch-size 4 --sample-tokens 0 --no-autotune --steps 2".split(" "),
    ];
    await run("train-lm", [...options, "--out", at("tuned")]);
    await run("train-lm", [...options, "--out", at("adapter"), "--lora-rank", "2"]);
    await run("export-hf", ["--checkpoint", at("tuned"), "--out", at("export")]);
    await run("export-hf", ["--checkpoint", at("adapter"), "--out", at("merge")]);

    const made = [at("tuned/checkpoints/step-00000002"), at("export"), at("merge")];
    const script = new URL("instruct_model.py", import.meta.url);
    const found = JSON.parse(await runPython(script, [at("base"), ...made]));
    const base = found[at("base")];
    equal(base.chat, "user: the sun<|eot_id|>assistant: rose<|eot_id|>");
    deepEqual([base.ends, base.generation.eos_token_id], [[1, 4, 1, ENDS], ENDS]);
    equal(base.generation.temperature, 0.6);
    for (const path of made) deepEqual(found[path], base, path);
  },
});
