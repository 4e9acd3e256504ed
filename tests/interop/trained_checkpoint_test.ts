import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { openCorpus } from "../../data/corpus/corpus.ts";
import { prepareTokens, trainOrLoadTokenizer } from "../../data/tokens/dataset.ts";
import { requestGpu } from "../../gpu/device.ts";
import { modelFromConfig, modelPresets } from "../../models/load.ts";
import { Generator } from "../../training/generate/generation.ts";
import {
  type SamplingOptions,
  type TokenDistribution,
  tokenDistribution,
} from "../../training/generate/sampling.ts";
import { resolveOptimizer } from "../../training/run/optimizer.ts";
import { startRun } from "../../training/run/run.ts";
import { goldenPath } from "../golden.ts";
import { runPython, whyNoPython } from "./python.ts";

const ignore = await whyNoPython() !== null;

const PENALTIES = [1, 1.2];

/** Ways to choose tokens: in transformers' spelling, which the tests turn into ours. */
const SAMPLING: Readonly<Record<string, number>>[] = [
  { temperature: 0.7 },
  { temperature: 1.3, top_k: 7 },
  { temperature: 1, top_p: 0.6 },
  { temperature: 1, min_p: 0.2 },
  { temperature: 0.9, top_k: 60, top_p: 0.9, min_p: 0.05, repetition_penalty: 1.3 },
  { temperature: 0.5, top_p: 0.99, min_p: 0.01, repetition_penalty: 0.8 },
];

/** Small models, one of them with everything that a Llama may have. */
const models: Readonly<Record<string, Record<string, unknown>>> = {
  "a GPT-2": { model_type: "gpt2", n_positions: 128, n_embd: 36, n_layer: 2, n_head: 3 },
  "a GPT": { model_type: "openai-gpt", n_positions: 128, n_embd: 36, n_layer: 2, n_head: 3 },
  "llama-nano": modelPresets["llama-nano"],
  "a Llama with biases, its own head and head size, and Llama 3.1's rotary positions": {
    model_type: "llama",
    hidden_size: 36,
    intermediate_size: 50,
    num_hidden_layers: 2,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: 10,
    max_position_embeddings: 128,
    attention_bias: true,
    mlp_bias: true,
    rope_theta: 100,
    rope_scaling: {
      rope_type: "llama3",
      factor: 4,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
  },
};

for (const [name, config] of Object.entries(models)) {
  Deno.test({
    name: `transformers opens ${name} that we trained, without options: our logits, texts and token ids`,
    ignore,
    fn: () => check(config),
  });
}

/** The beginning of the default corpus, a little of each book. */
async function defaultText(length: number): Promise<string> {
  const texts = await Array.fromAsync(openCorpus(), ({ text }) => text);
  return texts.map((text) => text.slice(0, Math.ceil(length / texts.length))).join("");
}

async function check(modelConfig: Record<string, unknown>): Promise<void> {
  const dir = await Deno.makeTempDir();
  const gpu = await requestGpu();
  try {
    const cases: { text: string }[] = JSON.parse(
      await Deno.readTextFile(goldenPath("tokenizer/cases.json")!),
    );
    const corpus = join(dir, "corpus.txt");
    await Deno.writeTextFile(corpus, cases.map((c) => c.text).join("\n\n").repeat(60));
    const tokenizer = await trainOrLoadTokenizer({ sources: [corpus], vocabSize: 400 });
    const dataset = await prepareTokens({ sources: [corpus], tokenizer });
    const model = modelFromConfig({ ...modelConfig, vocab_size: tokenizer.vocabSize });
    using run = await startRun({
      gpu,
      runDir: dir,
      model,
      tokenizer,
      dataset,
      intervals: { logEvery: 5, evalEvery: 0, evalBatches: 1, saveEvery: 0, keep: 1 },
      config: {
        data: [corpus],
        validationFraction: 0.05,
        tokenizer: null,
        vocabSize: 400,
        model: { ...model.config },
        seqLen: 32,
        batchSize: 4,
        gradAccum: 1,
        steps: 20,
        optimizer: resolveOptimizer("koala++", { orthogonal: "none" }),
        schedule: "warmup-cosine",
        warmup: 2,
        minLrRatio: 0.1,
        clip: 1,
        seed: 0,
      },
    });
    let checkpoint = "";
    for await (const event of run.train()) if (event.kind === "end") checkpoint = event.checkpoint;
    const { parameters } = run.trainer;
    const prompts = [
      [5],
      [7, 300, 12, 44],
      Array.from({ length: 24 }, (_, i) => (i * 37) % tokenizer.vocabSize),
    ];
    const texts = [...cases.map((c) => c.text), await defaultText(100_000)];
    const input = join(dir, "cases.json");
    const output = join(dir, "python.json");
    await Deno.writeTextFile(
      input,
      JSON.stringify({ prompts, texts, penalties: PENALTIES, sampling: SAMPLING }),
    );
    await runPython(new URL("trained_checkpoint.py", import.meta.url), [checkpoint, input, output]);
    const python = JSON.parse(await Deno.readTextFile(output));

    equal(python.parameters, parameters.count);
    const generator = await Generator.create(gpu, model, parameters, {
      batchSize: prompts.length,
    });
    for (const [i, prompt] of prompts.entries()) {
      const ours = await generator.logits(prompt);
      const worst = ours.reduce((m, z, v) => Math.max(m, Math.abs(z - python.logits[i][v])), 0);
      ok(worst <= 1e-4, `the logits of prompt ${i} differ by ${worst}`);
      for (const [j, options] of SAMPLING.entries()) {
        const expected: Record<string, number> = python.drawn_from[i][j];
        checkDistribution(tokenDistribution(python.logits[i], named(options), prompt), expected, options);
      }
    }
    const stopIds = tokenizer.eosId === null ? [] : [tokenizer.eosId];
    for (const [i, repetitionPenalty] of PENALTIES.entries()) {
      const greedy = { temperature: 0, maxTokens: 100, repetitionPenalty, stopIds };
      const ours = await generator.generateAll(prompts.map((prompt) => ({ prompt, ...greedy })));
      deepEqual(ours, python.greedy[i], `repetition penalty ${repetitionPenalty}`);
      ok(ours.some((ids) => ids.length === 100), "some texts must be long");
    }
    generator.destroy();
    texts.forEach((text, i) => {
      const ids = tokenizer.encode(text);
      deepEqual(ids, python.ids[i], `token ids of ${JSON.stringify(text.slice(0, 40))}`);
      equal(tokenizer.decode(ids), python.decoded[i]);
    });
  } finally {
    gpu.destroy();
    await Deno.remove(dir, { recursive: true });
  }
}

/** `top_k` as `topK`. */
function named(options: Readonly<Record<string, number>>): SamplingOptions {
  return Object.fromEntries(
    Object.entries(options).map((
      [key, value],
    ) => [key.replace(/_(.)/, (_, c: string) => c.toUpperCase()), value]),
  );
}

/** The same tokens with the same probabilities, which transformers computes in f32. */
function checkDistribution(
  { ids, probabilities }: TokenDistribution,
  expected: Readonly<Record<string, number>>,
  options: SamplingOptions,
): void {
  const label = JSON.stringify(options);
  deepEqual([...ids].sort((a, b) => a - b).map(String), Object.keys(expected), label);
  ids.forEach((id, i) => {
    const difference = Math.abs(probabilities[i] - expected[id]);
    ok(
      difference <= 1e-5 * expected[id] + 1e-9,
      `${label}: token ${id} has ${probabilities[i]}, not ${expected[id]}`,
    );
  });
}
