import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import type { Gpu } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import { compileProgram } from "../../gpu/program.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { llama } from "../../models/llama.ts";
import { openaiGpt } from "../../models/openai_gpt.ts";
import type { LanguageModel } from "../../models/model.ts";
import { headLogits } from "../../ops/cross_entropy/cross_entropy.ts";
import { closeTo, objectsMade, testGpu, testProfiles } from "../../tests/check_op.ts";
import { type GenerateRequest, Generator } from "./generation.ts";
import type { GeneratorOptions } from "./recording.ts";
import { declareParameters } from "../run/load_weights.ts";

const VOCAB = 70;

// Large weights, so that logits differ and what came before matters.
const models: Readonly<Record<string, LanguageModel>> = {
  "GPT-2": gpt2({
    vocab_size: VOCAB,
    n_positions: 96,
    n_embd: 24,
    n_layer: 2,
    n_head: 3,
    initializer_range: 0.3,
  }),
  "GPT": openaiGpt({
    vocab_size: VOCAB,
    n_positions: 96,
    n_embd: 24,
    n_layer: 2,
    n_head: 2,
    initializer_range: 0.3,
  }),
  "Llama with shared keys": llama({
    vocab_size: VOCAB,
    max_position_embeddings: 96,
    hidden_size: 24,
    intermediate_size: 40,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    initializer_range: 0.3,
  }),
};

const prompt = (length: number, first = 0) =>
  Array.from({ length }, (_, i) => (first + i * i * 7 + i * 3) % VOCAB);

/** A generator of a model with random weights, on one of the test profiles. */
async function make(model: LanguageModel, options: GeneratorOptions = {}, profile?: string) {
  const gpu = await testGpu();
  const own = { ...gpu, profile: profile ? (await testProfiles())[profile] : gpu.profile };
  const parameters = declareParameters(model);
  await parameters.allocate(gpu, 5);
  const generator = await Generator.create(own, model, parameters, options);
  const destroy = () => [generator, parameters].forEach((made) => made.destroy());
  return { gpu: own, generator, parameters, destroy };
}

/** Logits [T, V] of a pass over a whole prompt. */
async function wholePass(gpu: Gpu, model: LanguageModel, parameters: ParameterStore, length: number) {
  const g = new Graph({ profile: gpu.profile, parameters });
  const hidden = model.hidden(g, g.input("tokens", [1, length], "u32"));
  const [logits] = headLogits(g, hidden.reshape(length, hidden.shape[2]), model.head(g)); // [T, V]
  const out = g.collect(logits);
  const program = await compileProgram(gpu, g);
  program.write("tokens", Uint32Array.from(prompt(length)));
  program.run();
  const [all] = await program.read(out);
  program.destroy();
  return all;
}

for (const [name, model] of Object.entries(models)) {
  for (const profile of Object.keys(await testProfiles())) {
    Deno.test(`${name}: logits through the cache are those of a whole pass, on ${profile}`, async () => {
      const { gpu, generator, parameters, destroy } = await make(model, {}, profile);
      const length = 71;
      const all = await wholePass(gpu, model, parameters, length);
      for (const end of [1, 2, 32, 33, 34, length]) {
        const expected = all.subarray((end - 1) * VOCAB, end * VOCAB);
        // f32 sums in another order, over two blocks.
        closeTo(await generator.logits(prompt(end)), expected, 2e-5, `${end} tokens`);
      }
      destroy();
    });
  }

  Deno.test(`${name}: a sequence becomes what it would alone, greedy and drawn`, async () => {
    const requests: GenerateRequest[] = [1, 40, 5, 33, 2, 64, 7].map((length, i) => ({
      prompt: prompt(length, i),
      maxTokens: [30, 5, 17][i % 3],
      temperature: i < 3 ? 0 : 1,
      topK: i % 2 === 0 ? 0 : 9,
      repetitionPenalty: i === 1 ? 1.3 : 1,
      seed: i,
      stopIds: i === 4 ? [1, 2, 3, 4, 5, 6, 7, 8] : [],
    }));
    const results: number[][][] = [];
    for (const batchSize of [1, 3, 9]) {
      const { generator, destroy } = await make(model, { batchSize });
      results.push(
        batchSize > 1
          ? await generator.generateAll(requests)
          // Called at once; the generator takes them one after the other.
          : await Promise.all(requests.map((request) => generator.generate(request.prompt, request))),
      );
      destroy();
    }
    deepEqual(results[1], results[0]);
    deepEqual(results[2], results[0]);
    equal(new Set(results[0].map((ids) => ids.join())).size, requests.length);
    results[0].forEach((ids, i) => {
      const stopped = requests[i].stopIds!.includes(ids[ids.length - 1]);
      equal(ids.length === requests[i].maxTokens || stopped, true, `sequence ${i}: ${ids}`);
      equal(ids.slice(0, -1).some((id) => requests[i].stopIds!.includes(id)), false);
    });
  });

  Deno.test(`${name}: a sequence that outgrows the context goes on from its last half`, async () => {
    const [whole, small] = [await make(model), await make(model, { contextLength: 12 })];
    for (const length of [3, 12, 20]) {
      const ids = prompt(length);
      let dropped = Math.max(0, length - 12);
      for (let i = 0; i < 20; i++) {
        if (ids.length - dropped > 12) dropped = ids.length - 6;
        const logits = await whole.generator.logits(ids.slice(dropped));
        ids.push(logits.indexOf(Math.max(...logits)));
      }
      const got = await small.generator.generate(prompt(length), { temperature: 0, maxTokens: 20 });
      deepEqual(got, ids.slice(length));
    }
    whole.destroy();
    small.destroy();
  });
}

Deno.test("a long prompt is read in pieces of several lengths", async () => {
  const model = gpt2({
    vocab_size: VOCAB,
    n_positions: 700,
    n_embd: 16,
    n_layer: 2,
    n_head: 2,
    initializer_range: 0.3,
  });
  const { gpu, generator, parameters, destroy } = await make(model);
  const all = await wholePass(gpu, model, parameters, 700);
  // 512 + 128 + 32 and 27 of 32; 512; 511 of 512; 2 * 128 + 32 and 11 of 32; 96 of 128.
  for (const end of [700, 513, 512, 300, 97]) {
    const expected = all.subarray((end - 1) * VOCAB, end * VOCAB);
    // f32 sums of up to 700 terms in another order, over two blocks.
    closeTo(await generator.logits(prompt(end)), expected, 5e-5, `${end} tokens`);
  }
  destroy();
});

Deno.test("how many tokens are computed before they are read changes none of them", async () => {
  const requests: GenerateRequest[] = [30, 3, 50, 2].map((length, i) => ({
    prompt: prompt(length, i),
    maxTokens: [40, 70, 7, 33][i],
    temperature: i === 0 ? 0 : 1.2,
    topP: i === 1 ? 0.9 : 1,
    repetitionPenalty: i === 3 ? 1.2 : 1,
    seed: i,
    stopIds: i === 3 ? [11, 12, 13] : [],
  }));
  const results = [];
  // Two of the sequences outgrow the context meanwhile, and two wait for the places of others.
  for (const readEvery of [1, 5, 16]) {
    const { generator, destroy } = await make(models["GPT-2"], {
      readEvery,
      batchSize: 2,
      contextLength: 60,
    });
    const seen: number[][] = requests.map(() => []);
    const watched = requests.map((request, i) => ({
      ...request,
      onToken: (id: number) => void seen[i].push(id),
    }));
    const ids = await generator.generateAll(watched);
    deepEqual(seen, ids);
    results.push(ids);
    destroy();
  }
  deepEqual(results[1], results[0]);
  deepEqual(results[2], results[0]);
});

Deno.test("weights that are not numbers are an error, after which the generator goes on", async () => {
  const { gpu, generator, parameters, destroy } = await make(models["GPT-2"]);
  const ids = await generator.generate(prompt(4), { maxTokens: 9 });
  const name = "transformer.ln_f.bias";
  const values = (await parameters.read(gpu)).get(name)!;
  for (const [bad, message] of [[NaN, /numbers, got NaN/], [Infinity, /got/]] as const) {
    parameters.write(gpu, name, values.map((value, i) => i === 0 ? bad : value));
    await rejects(generator.generate(prompt(4), { maxTokens: 9 }), { name: "RangeError", message });
  }
  parameters.write(gpu, name, values);
  deepEqual(await generator.generate(prompt(4), { maxTokens: 9 }), ids);
  destroy();
});

Deno.test("no GPU object is made after the first token", async () => {
  const { gpu, generator, destroy } = await make(models["GPT-2"], { batchSize: 2 });
  await generator.generate(prompt(3), { maxTokens: 1 });
  const made = await objectsMade(gpu, async () => {
    await generator.generateAll([40, 3, 90].map((length) => ({ prompt: prompt(length), maxTokens: 12 })));
  });
  deepEqual(made, []);
  destroy();
});

Deno.test("a callback ends a sequence, and what fails leaves the generator usable", async () => {
  const { generator, destroy } = await make(models["GPT-2"]);
  const options = { temperature: 1, seed: 3, maxTokens: 9 };
  const ids = await generator.generate(prompt(4), options);
  equal(ids.length, 9);
  const seen: number[] = [];
  const onToken = (id: number) => seen.push(id) < 4;
  deepEqual(await generator.generate(prompt(4), { ...options, onToken }), ids.slice(0, 4));
  deepEqual(seen, ids.slice(0, 4));
  const fail = () => {
    throw new Error("no more");
  };
  await rejects(generator.generate(prompt(4), { ...options, onToken: fail }), /no more/);
  deepEqual(await generator.generate(prompt(4), options), ids);
  deepEqual(await generator.generate(prompt(4), { maxTokens: 0 }), []);
  deepEqual(await generator.generateAll([]), []);
  destroy();
});

Deno.test("a generator refuses sizes, prompts and options out of range", async () => {
  const model = models["GPT-2"];
  const { generator, destroy } = await make(model);
  await rejects(make(model, { batchSize: 0 }), /batch size .* from 1 to 32, got 0/);
  await rejects(make(model, { batchSize: 33 }), /from 1 to 32, got 33/);
  await rejects(make(model, { contextLength: 97 }), /context length .* from 1 to 96, got 97/);
  await rejects(make(model, { readEvery: 0 }), /before they are read .* from 1 to 1024, got 0/);
  await rejects(generator.generate([]), /at least one token, got none/);
  await rejects(generator.logits([0, VOCAB]), /from 0 to 69, got 70/);
  await rejects(generator.generate([0], { maxTokens: -1 }), /integer of at least 0, got -1/);
  let tokens = 0;
  const onToken = () => void tokens++;
  await rejects(generator.generateAll([{ prompt: [1], onToken }, { prompt: [1], minP: 2 }]), /min-p/);
  ok(tokens === 0, "nothing is generated before every request is checked");
  destroy();
});
