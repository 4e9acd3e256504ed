import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { openCorpus } from "../../data/corpus.ts";
import { prepareTokens, trainOrLoadTokenizer } from "../../data/token_dataset.ts";
import { requestGpu } from "../../gpu/device.ts";
import { modelFromConfig, modelPresets } from "../../models/load.ts";
import { Generator } from "../../training/generation.ts";
import { trainRun } from "../../training/run.ts";
import { goldenPath } from "../golden.ts";
import { runPython, whyNoPython } from "./python.ts";

const ignore = await whyNoPython() !== null;

/** Small models, one of them with everything that a Llama may have. */
const models: Readonly<Record<string, Record<string, unknown>>> = {
  "a GPT-2": { model_type: "gpt2", n_positions: 32, n_embd: 36, n_layer: 2, n_head: 3 },
  "llama-nano": modelPresets["llama-nano"],
  "a Llama with biases, its own head and head size, and Llama 3.1's rotary positions": {
    model_type: "llama",
    hidden_size: 36,
    intermediate_size: 50,
    num_hidden_layers: 2,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: 10,
    max_position_embeddings: 64,
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
    name:
      `transformers opens ${name} that we trained, without options: our logits, greedy text and token ids`,
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
    const result = await trainRun({
      gpu,
      runDir: dir,
      model,
      tokenizer,
      dataset,
      progress: { update() {}, log() {} },
      interrupted: () => false,
      rhythm: { logEvery: 5, evalEvery: 0, evalBatches: 1, saveEvery: 0, keep: 1 },
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
        optimizer: "koala++",
        koalaScope: "hidden",
        lr: 0.02,
        adamwLr: 0.006,
        weightDecay: 0,
        sigma: 0.1,
        q: 0.1,
        r: "variance",
        symmetric: true,
        schedule: "warmup-cosine",
        warmup: 2,
        minLrRatio: 0.1,
        clip: 1,
        seed: 0,
      },
    });
    const prompts = [
      [5],
      [7, 300, 12, 44],
      Array.from({ length: 24 }, (_, i) => (i * 37) % tokenizer.vocabSize),
    ];
    const texts = [...cases.map((c) => c.text), await defaultText(100_000)];
    const input = join(dir, "cases.json");
    const output = join(dir, "python.json");
    await Deno.writeTextFile(input, JSON.stringify({ prompts, texts }));
    await runPython(new URL("trained_checkpoint.py", import.meta.url), [result.checkpoint, input, output]);
    const python = JSON.parse(await Deno.readTextFile(output));

    equal(python.parameters, result.trainer.parameters.count);
    const generator = await Generator.create(gpu, model, result.trainer.parameters);
    for (const [i, prompt] of prompts.entries()) {
      const ours = await generator.logits(prompt);
      const worst = ours.reduce((m, z, v) => Math.max(m, Math.abs(z - python.logits[i][v])), 0);
      ok(worst <= 1e-4, `the logits of prompt ${i} differ by ${worst}`);
    }
    const greedy = await generator.generate(prompts[0], { temperature: 0, maxTokens: 8 });
    deepEqual([...prompts[0], ...greedy], python.greedy);
    generator.destroy();
    result.trainer.destroy();
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
