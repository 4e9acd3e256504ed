import { deepEqual } from "node:assert/strict";
import type { Precision } from "../../gpu/precision/precision.ts";
import { modelFromConfig } from "../../models/load.ts";
import { adamw } from "../../optim/adamw.ts";
import { CARDS } from "../../gpu/measure/cards.ts";
import { leastBytes } from "./least_bytes.ts";
import { recordStep } from "./recording.ts";
import { languageModelLoss } from "./trainer.ts";

function least(config: Record<string, unknown>, gradAccum: number, precision: Precision = "f32") {
  const model = modelFromConfig(config);
  const { graph, state } = recordStep(CARDS.h100.profile, {
    record: languageModelLoss(model, 2, 8),
    optimizer: adamw({ lr: 1e-3 }),
    gradAccum,
    precision,
  });
  return leastBytes(model, graph.parameters, state, { batchSize: 2, seqLen: 8, gradAccum, precision });
}

Deno.test("leastBytes() counts GPT-2's layers: 3 inputs and 2 outputs of each", () => {
  const [C, V, T, L] = [32, 300, 8, 2];
  const config = { model_type: "gpt2", n_positions: T, n_embd: C, n_layer: L, n_head: 2, vocab_size: V };
  // Norms 5 C each, q, k and v 9, attention 11, projection 5, up 11, GELU 20, down 14, two residual sums 2.
  const block = (2 * 5 + 9 + 11 + 5 + 11 + 20 + 14 + 2) * C;
  const perToken = L * block + 5 * C + (3 * C + 2 * V) + 3 * V + 2 * C;
  const parameters = L * (12 * C * C + 13 * C) + 2 * C + V * C + T * C;
  // Forward, backward, gradient; then gradient, weight twice, and AdamW's two moments twice.
  deepEqual(least(config, 1), {
    activations: 4 * 2 * T * perToken,
    weights: 4 * parameters * (3 + 3 + 4),
  });
  deepEqual(least(config, 3), {
    activations: 3 * 4 * 2 * T * perToken,
    weights: 4 * parameters * (3 * 3 + 3 + 4),
  });
  // With f16 activations and the weights that products read take half.
  deepEqual(least(config, 1, "f16"), {
    activations: 2 * 2 * T * perToken,
    weights: 4 * parameters * (2 * 0.5 + 1 + 3 + 4),
  });
});

Deno.test("leastBytes() counts Llama's layers: fewer keys and values, a gated MLP", () => {
  const [C, V, F] = [32, 300, 48];
  const config = {
    model_type: "llama",
    hidden_size: C,
    intermediate_size: F,
    num_hidden_layers: 1,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 8,
    vocab_size: V,
    tie_word_embeddings: true,
  };
  const layer = (input: number, output: number) => 3 * input + 2 * output;
  const block = 2 * layer(C, C) + layer(C, C) + 2 * layer(C, C / 2) + layer(2 * C, C) + layer(C, C) +
    2 * layer(C, F) + layer(2 * F, F) + layer(F, C) + 2 * C;
  const perToken = block + layer(C, C) + layer(C, V) + layer(V, 0) + 2 * C;
  deepEqual(least(config, 1).activations, 4 * 2 * 8 * perToken);
});
