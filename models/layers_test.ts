import { deepEqual, equal, ok } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { languageModelLoss } from "../training/step/trainer.ts";
import { frozenEmbeddings, type Layers, plainLayers } from "./layers.ts";
import { modelFromConfig } from "./load.ts";

const profile = { subgroupSize: 0, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 2 ** 31 };
const [B, T, C, V] = [2, 4, 16, 40];
const gpt = { n_positions: 8, n_embd: C, n_layer: 2, n_head: 2, vocab_size: V };
const llama = {
  model_type: "llama",
  hidden_size: C,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 8,
  vocab_size: V,
};

/** Records forward and backward pass of a model. */
function record(config: Record<string, unknown>, layers: Layers, recompute: boolean): Graph {
  const g = new Graph({ profile, training: true, recompute });
  languageModelLoss(modelFromConfig(config, layers), B, T)(g);
  g.backward();
  return g;
}

const flopsOf = (g: Graph) => g.microKernels.reduce((sum, { flops = 0 }) => sum + flops, 0);

/** With the columns of the products that are left out: a tied head's own gradient has V. */
const cases: readonly (readonly [config: Record<string, unknown>, frozen: string[], columns: number])[] = [
  [{ model_type: "gpt2", ...gpt }, ["transformer.wte.weight", "transformer.wpe.weight"], V],
  [
    { model_type: "openai-gpt", ...gpt },
    ["transformer.tokens_embed.weight", "transformer.positions_embed.weight"],
    // Only here nothing that is trained comes before the first block's q, k and v.
    V + 3 * C,
  ],
  [{ ...llama, tie_word_embeddings: true }, ["model.embed_tokens.weight"], V],
  [{ ...llama, tie_word_embeddings: false }, ["model.embed_tokens.weight"], 0],
];

for (const [config, frozen, columns] of cases) {
  const tied = config.tie_word_embeddings ?? true;
  Deno.test(`no kernel computes a gradient of frozen embeddings: ${config.model_type}, tied ${tied}`, () => {
    for (const recompute of [false, true]) {
      const [all, some] = [plainLayers, frozenEmbeddings].map((layers) => record(config, layers, recompute));
      deepEqual(some.parameters.all.filter((p) => !p.trainable).map((p) => p.name), frozen);
      for (const { name, trainable, tensor } of some.parameters.all) {
        // The hidden states' gradient comes through the head, whether it is trained or not.
        equal(some.gradientOf(tensor) !== undefined, trainable, name);
      }
      const labels = some.microKernels.map(({ label }) => label);
      ok(
        !labels.some((label) => /^(embedding|positions)_(link|backward)|clear_gradient/.test(label)),
        `${labels}`,
      );
      equal(flopsOf(all) - flopsOf(some), 2 * B * T * C * columns);
    }
  });
}
