/** The configurations of bench/paper. */
import { deepEqual, equal } from "node:assert/strict";
import { join } from "node:path";
import { writeModelFolder } from "../../checkpoint/hugging_face.ts";
import { modelFromConfig } from "../../models/load.ts";
import { comparisonOptions, contestantsOf } from "../../tasks/compare/comparison_options.ts";
import { parseOptions } from "../../tasks/command/options.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import { runModel } from "../../training/run/model.ts";
import { runTask, tinyRun, zeros } from "../cli.ts";

Deno.test("the paper's configuration is accepted, and trains 28,351,488 parameters by its protocol", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const train = { data: at("corpus.txt"), "vocab-size": "300", out: at("tokenizer.json") };
  const words = Object.entries(train).flatMap(([option, value]) => [`--${option}`, value]);
  equal((await runTask("train-tokenizer", words)).code, 0);
  // As OpenAI's, with another depth and vocabulary.
  const config = { model_type: "openai-gpt", n_layer: 1, vocab_size: 300 };
  const [model, tokenizerJson] = [modelFromConfig(config), await Deno.readTextFile(at("tokenizer.json"))];
  await writeModelFolder(at("gpt"), { config: model.config, tensors: zeros(model), tokenizerJson });
  const args = ["--config", "bench/paper/wikitext2.json", "--embeddings-from", at("gpt")];
  const { values, given } = parseOptions(comparisonOptions, args);
  const contestants = await contestantsOf(values, given);
  deepEqual(contestants.map(({ name }) => name), ["koala++:koala-scope=all", "adamw"]);
  deepEqual(contestants.map(({ rates }) => rates), [[0.01, 0.02, 0.04], [1e-5, 1e-4, 1e-3]]);
  deepEqual(contestants.map(({ config }) => config.optimizer["weight-decay"]), [0, 0.1]);
  // The paper's algorithm.
  const { "koala-scope": scope, orthogonal, momentum, r } = contestants[0].config.optimizer;
  deepEqual([scope, orthogonal, momentum, r], ["all", "none", 0, "variance"]);
  for (const { config } of contestants) {
    const { batchSize, seqLen, gradAccum, steps, schedule, warmup, clip } = config;
    deepEqual([batchSize, seqLen, gradAccum, steps], [32, 256, 1, 50 * Math.ceil(2_400_000 / (32 * 256))]);
    deepEqual([schedule, warmup, clip], ["constant", 0, 0]);
    const parameters = declareParameters(runModel(config, 300));
    equal(parameters.trainableCount, 28_351_488);
    equal(parameters.count - parameters.trainableCount, (300 + 256) * 768);
  }
});

Deno.test("the reduced configuration trains", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const { code, stdout, stderr } = await runTask("compare-optimizers", [
    ...[
      "--config",
      "bench/paper/reduced.json",
      "--data",
      at("corpus.txt"),
      "--cache",
      at("cache"),
      "--out",
      at("out"),
    ],
    ..."--vocab-size 300 --steps 2 --eval-points 1 --seeds 1 --extensions 0 --timing-rounds 0 --json".split(
      " ",
    ),
  ]);
  equal(code, 0, stderr);
  const { complete, setting } = JSON.parse(stdout);
  equal(complete, true);
  // Four blocks of width 128.
  equal(setting.trained_parameters, 4 * (12 * 128 ** 2 + 13 * 128));
});
