import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { gpt2, gpt2Presets } from "./gpt2.ts";
import { modelFromConfig } from "./load.ts";

const profile = { subgroupSize: 0, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 1 << 31 };

/** Records without a GPU: shapes and names need none. */
function parametersOf(config: Record<string, unknown>) {
  const g = new Graph({ profile });
  const model = gpt2(config);
  model.hidden(g, g.input("tokens", [1, 4], "u32"));
  model.head(g);
  return g.parameters;
}

Deno.test("the gpt2 preset has OpenAI's 124,439,808 parameters under Hugging Face's names", () => {
  const store = parametersOf({ ...gpt2Presets.gpt2, vocab_size: 50_257 });
  equal(store.count, 124_439_808);
  deepEqual(store.get("transformer.h.11.mlp.c_fc.weight")?.shape, [768, 3072]);
  equal(store.get("lm_head.weight"), undefined);
});

Deno.test("an untied head is a parameter of its own", () => {
  const store = parametersOf({ ...gpt2Presets["gpt2-nano"], vocab_size: 300, tie_word_embeddings: false });
  deepEqual(store.get("lm_head.weight")?.shape, [300, 128]);
});

Deno.test("the configuration keeps the order of its keys, since comparisons know their runs by its JSON", () => {
  const { config } = gpt2({ resid_pdrop: 0.1, vocab_size: 300, ...gpt2Presets["gpt2-nano"] });
  equal(
    JSON.stringify(config),
    '{"architectures":["GPT2LMHeadModel"],"model_type":"gpt2","n_positions":128,"n_embd":128,"n_layer":4,"n_head":4,' +
      '"n_inner":null,"activation_function":"gelu_new","resid_pdrop":0.1,"embd_pdrop":0,"attn_pdrop":0,' +
      '"layer_norm_epsilon":0.00001,"initializer_range":0.02,"tie_word_embeddings":true,"vocab_size":300,"n_ctx":128,' +
      '"dtype":"float32"}',
  );
});

Deno.test("residual projections start smaller by the square root of twice the depth", () => {
  const store = parametersOf({ ...gpt2Presets["gpt2-nano"], vocab_size: 300 });
  const deviation = (name: string) => {
    const { init, tensor } = store.get(name)!;
    const values = new Float32Array(tensor.size);
    init(values, 1);
    return Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
  };
  ok(Math.abs(deviation("transformer.h.0.attn.c_attn.weight") - 0.02) < 5e-4);
  ok(Math.abs(deviation("transformer.h.0.attn.c_proj.weight") - 0.02 / Math.sqrt(8)) < 2e-4);
});

Deno.test("impossible and unsupported configurations are refused by key", () => {
  const base = { ...gpt2Presets["gpt2-nano"], vocab_size: 300 };
  throws(() => gpt2({ ...base, n_head: 5 }), /n_embd must be a multiple of n_head, got 128 and 5/);
  throws(() => gpt2({ ...base, vocab_size: undefined }), /vocab_size must be a positive integer/);
  throws(() => gpt2({ ...base, activation_function: "relu" }), /activation_function must be one of/);
  throws(() => gpt2({ ...base, resid_pdrop: 1 }), /resid_pdrop must be in \[0, 1\)/);
  throws(
    () => gpt2({ ...base, add_cross_attention: true }),
    /add_cross_attention is supported as false only/,
  );
  throws(
    () => modelFromConfig({ model_type: "bert" }),
    /model_type must be one of gpt2, llama, openai-gpt, got "bert"/,
  );
});
