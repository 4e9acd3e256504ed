/**
 * Tokens per second of generation with random weights: the generator, and a forward pass over the whole context for
 * every token, which must give the same tokens before it is timed.
 *
 * deno run --allow-read bench/generation.ts --model gpt2-nano --model llama-nano
 */
import { deepEqual } from "node:assert/strict";
import { type Gpu, requestGpu } from "../gpu/device.ts";
import { Graph } from "../gpu/graph.ts";
import type { ParameterStore } from "../gpu/parameters.ts";
import { compileProgram } from "../gpu/program.ts";
import { modelFromConfig, modelPresets } from "../models/load.ts";
import type { LanguageModel } from "../models/model.ts";
import { headLogits } from "../ops/cross_entropy/cross_entropy.ts";
import { elementwise } from "../ops/elementwise.ts";
import { jsonOption, type OptionValues, runTask, type TaskContext } from "../tasks/command/command_line.ts";
import { Generator } from "../training/generate/generation.ts";
import { declareParameters } from "../training/run/load_weights.ts";
import { sampleToken } from "../training/generate/sampling.ts";

const options = {
  "model": {
    type: "choice",
    choices: Object.keys(modelPresets),
    multiple: true,
    description: "presets to measure",
  },
  "vocab-size": { type: "integer", min: 64, default: 2048, description: "tokens in the vocabulary" },
  "prompt-tokens": { type: "integer", min: 1, default: 32, description: "length of each prompt" },
  "tokens": { type: "integer", min: 1, default: 64, description: "tokens that the generator adds" },
  "full-tokens": { type: "integer", min: 1, default: 16, description: "tokens by whole forward passes" },
  "batch": { type: "integer", min: 1, max: 32, default: 8, description: "sequences side by side" },
  "json": jsonOption,
} as const;

/** Greedy tokens, each by a forward pass over `maxSeqLen` positions. */
async function wholePasses(gpu: Gpu, model: LanguageModel, parameters: ParameterStore) {
  const g = new Graph({ profile: gpu.profile, parameters });
  const length = model.maxSeqLen; // T
  const hidden = model.hidden(g, g.input("tokens", [1, length], "u32")); // [1, T, C]
  const channels = hidden.shape[2];
  const last = g.activation("last", [1, channels]);
  elementwise(g, {
    label: "select_last",
    out: last,
    extra: { hidden, position: g.input("position", [1], "u32") },
    functions: `fn at(c: u32) -> f32 { return hidden[position[0] * ${channels}u + min(c, ${
      channels - 1
    }u)]; }`,
    statements: "out[i] = vec4f(at(4u * i), at(4u * i + 1u), at(4u * i + 2u), at(4u * i + 3u));",
  });
  const logits = headLogits(g, last, model.head(g)).map((block) => g.collect(block));
  const program = await compileProgram(gpu, g);
  return {
    async generate(prompt: readonly number[], maxTokens: number): Promise<number[]> {
      const ids = [...prompt];
      for (let i = 0; i < maxTokens; i++) {
        const tokens = new Uint32Array(length);
        tokens.set(ids);
        program.write("tokens", tokens);
        program.write("position", Uint32Array.of(ids.length - 1));
        program.run();
        const blocks = await program.read(...logits);
        ids.push(sampleToken(blocks.flatMap((block) => [...block]), { temperature: 0 }, 0, i));
      }
      return ids.slice(prompt.length);
    },
    destroy: () => program.destroy(),
  };
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

async function measure(gpu: Gpu, name: string, values: OptionValues<typeof options>) {
  const { vocabSize, promptTokens, tokens, fullTokens, batch } = values;
  const model = modelFromConfig({ ...modelPresets[name], vocab_size: vocabSize });
  const parameters = declareParameters(model);
  await parameters.allocate(gpu, 0);
  const prompts = Array.from(
    { length: batch },
    (_, p) => Array.from({ length: promptTokens }, (_, i) => (p * 31 + i * 17) % vocabSize),
  );
  const greedy = { temperature: 0 };
  const whole = await wholePasses(gpu, model, parameters);
  const one = await Generator.create(gpu, model, parameters);
  const many = await Generator.create(gpu, model, parameters, { batchSize: batch });
  const requests = prompts.map((prompt) => ({ prompt, maxTokens: tokens, ...greedy }));
  // Also compiles every kernel.
  const expected = await whole.generate(prompts[0], fullTokens);
  const alone = await one.generate(prompts[0], { ...greedy, maxTokens: tokens });
  deepEqual(alone.slice(0, fullTokens), expected.slice(0, tokens), "the cache must not change the tokens");
  deepEqual((await many.generateAll(requests))[0], alone, "other sequences must not change the tokens");
  const best = async (count: number, work: () => Promise<unknown>) =>
    count / Math.min(await seconds(work), await seconds(work));
  const result = {
    model: name,
    parameters: parameters.count,
    whole_pass_per_token: await best(fullTokens, () => whole.generate(prompts[0], fullTokens)),
    prompt: await best(promptTokens, () => one.logits(prompts[0])),
    one: await best(tokens, () => one.generate(prompts[0], { ...greedy, maxTokens: tokens })),
    batch: await best(tokens * batch, () => many.generateAll(requests)),
  };
  for (const made of [whole, one, many, parameters]) made.destroy();
  return result;
}

async function main(values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  const gpu = await requestGpu();
  try {
    output.say(`${gpu.description}; tokens per second, the better of two runs`);
    const rows = [];
    for (const name of values.model.length > 0 ? values.model : ["gpt2-nano"]) {
      const row = await measure(gpu, name, values);
      rows.push(row);
      const n = (x: number) => Number(x.toPrecision(3));
      output.say(
        `${name}, ${(row.parameters / 1e6).toFixed(1)} M parameters: a whole pass per token ${
          n(row.whole_pass_per_token)
        }, one sequence ${n(row.one)}, ${values.batch} side by side ${n(row.batch)}, reading a prompt ${
          n(row.prompt)
        }`,
      );
    }
    output.result({ adapter: gpu.description, rows });
  } finally {
    gpu.destroy();
  }
}

if (import.meta.main) {
  await runTask({
    name: "bench/generation.ts",
    summary: "Measures generation with random weights, with and without a cache of keys and values.",
    options,
    main,
  });
}
