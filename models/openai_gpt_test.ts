import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { declareParameters } from "../training/run/load_weights.ts";
import { openaiGpt, openaiGptPresets } from "./openai_gpt.ts";

const parametersOf = (config: Record<string, unknown>) => declareParameters(openaiGpt(config));
const nano = { ...openaiGptPresets["openai-gpt-nano"], vocab_size: 300 };

Deno.test("the openai-gpt preset has OpenAI's 116,534,784 parameters under Hugging Face's names", () => {
  const store = parametersOf({ ...openaiGptPresets["openai-gpt"], vocab_size: 40_478 });
  equal(store.count, 116_534_784);
  deepEqual(store.get("transformer.tokens_embed.weight")?.shape, [40_478, 768]);
  deepEqual(store.get("transformer.positions_embed.weight")?.shape, [512, 768]);
  deepEqual(store.get("transformer.h.11.mlp.c_fc.weight")?.shape, [768, 3072]);
  equal(store.get("transformer.ln_f.weight"), undefined);
  equal(store.get("lm_head.weight"), undefined);
});

Deno.test("four blocks of width 768 have the 28,351,488 parameters of KOALA++'s paper", () => {
  const store = parametersOf({ n_layer: 4, n_positions: 256, vocab_size: 40_478 });
  const blocks = store.all.filter(({ role }) => role !== "embedding");
  equal(blocks.reduce((sum, { tensor }) => sum + tensor.size, 0), 28_351_488);
});

Deno.test("c_attn is three matrices to optimizers, and all matrices start with initializer_range", () => {
  const matrices = parametersOf({ ...nano, initializer_range: 0.03 }).all.filter((p) => p.role === "matrix");
  equal(matrices.length, 4 * 4);
  for (const { name, parts, layout, init, tensor } of matrices) {
    deepEqual([parts, layout], [name.includes("c_attn") ? 3 : 1, "in-out"], name);
    const values = new Float32Array(tensor.size);
    init(values, 1);
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
    ok(Math.abs(deviation - 0.03) < 1e-3, `${name}: ${deviation}`);
  }
});

Deno.test("an untied head is a parameter of its own", () => {
  const store = parametersOf({ ...nano, tie_word_embeddings: false });
  const { shape, role } = store.get("lm_head.weight")!;
  deepEqual([shape, role], [[300, 128], "head"]);
});

Deno.test("impossible and unsupported configurations are refused by key", () => {
  throws(() => openaiGpt({ ...nano, n_head: 5 }), /GPT's n_embd must be a multiple of n_head, got 128 and 5/);
  throws(() => openaiGpt({ ...nano, n_layer: 0 }), /GPT's n_layer must be a positive integer, got 0/);
  throws(() => openaiGpt({ ...nano, afn: "relu" }), /GPT's afn must be one of gelu, got relu/);
  throws(() => openaiGpt({ ...nano, embd_pdrop: 1 }), /GPT's embd_pdrop must be in \[0, 1\), got 1/);
});
