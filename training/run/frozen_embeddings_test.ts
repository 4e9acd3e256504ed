import { equal, ok } from "node:assert/strict";
import { frozenEmbeddings, type Layers, plainLayers } from "../../models/layers.ts";
import { modelFromConfig } from "../../models/load.ts";
import { adamw } from "../../optim/adamw.ts";
import { sgd } from "../../optim/sgd.ts";
import { testGpu } from "../../tests/check_op.ts";
import { languageModelLoss, Trainer } from "../step/trainer.ts";

const [BATCH, LENGTH] = [2, 12];
const gpt = { vocab_size: 50, n_positions: 16, n_embd: 16, n_layer: 2, n_head: 2, initializer_range: 0.2 };
const models: Readonly<Record<string, Record<string, unknown>>> = {
  "GPT-2": { model_type: "gpt2", ...gpt },
  "GPT": { model_type: "openai-gpt", ...gpt },
  "Llama": {
    model_type: "llama",
    vocab_size: 50,
    max_position_embeddings: 16,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    initializer_range: 0.2,
    tie_word_embeddings: true,
  },
};
const inputs = [0, 1].map((micro) => {
  const tokens = Uint32Array.from({ length: BATCH * LENGTH }, (_, i) => (i * i + micro) % 50);
  return { tokens, targets: tokens.map((id) => (id * 3 + 1) % 50) };
});

/** Parameters after some steps with a weight decay that would move everything that is trained. */
async function trained(
  config: Record<string, unknown>,
  layers: Layers,
  steps: number,
  make: "adamw" | "sgd",
) {
  const gpu = await testGpu();
  const rates = { lr: 0.01, weightDecay: 0.5 };
  const trainer = await Trainer.create(gpu, {
    record: languageModelLoss(modelFromConfig(config, layers), BATCH, LENGTH),
    optimizer: make === "sgd" ? sgd(rates) : adamw({ ...rates, decayAll: true }),
    gradAccum: 2,
  });
  for (let step = 0; step < steps; step++) trainer.step(inputs);
  const losses = (await trainer.metrics()).map(({ loss }) => loss);
  const values = await trainer.parameters.read(gpu);
  const frozen = trainer.parameters.all.filter((p) => !p.trainable).map((p) => p.name);
  const state = trainer.state.map(({ name }) => name);
  trainer.destroy();
  return { values, frozen, losses, state };
}

for (const [name, config] of Object.entries(models)) {
  Deno.test(`${name}: frozen embeddings keep every bit, and the rest gets the gradients it would get anyway`, async () => {
    const start = await trained(config, frozenEmbeddings, 0, "sgd");
    const all = await trained(config, plainLayers, 1, "sgd");
    const some = await trained(config, frozenEmbeddings, 1, "sgd");
    const same = (a: Float32Array, b: Float32Array) => a.every((value, i) => Object.is(value, b[i]));
    equal(some.frozen.length, name === "Llama" ? 1 : 2);
    for (const [tensor, values] of some.values) {
      const isFrozen = some.frozen.includes(tensor);
      equal(same(values, start.values.get(tensor)!), isFrozen, tensor);
      equal(same(values, all.values.get(tensor)!), !isFrozen, tensor);
    }
  });

  Deno.test(`${name}: the blocks alone lower the loss, and no optimizer keeps state for the embeddings`, async () => {
    const { losses, state, frozen } = await trained(config, frozenEmbeddings, 12, "adamw");
    ok(losses[11] < losses[0] - 0.1, `${losses}`);
    ok(state.some((entry) => entry.includes("layernorm") || entry.includes(".ln_1.")));
    ok(!state.some((entry) => frozen.some((tensor) => entry.endsWith(tensor))), `${state}`);
  });
}
