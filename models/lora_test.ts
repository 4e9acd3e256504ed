import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { loraLayers, type LoraOptions } from "./lora.ts";
import { modelFromConfig } from "./load.ts";

const profile = { subgroupSize: 0, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 1 << 31 };
const configs = {
  gpt2: { model_type: "gpt2", n_positions: 8, n_embd: 16, n_layer: 2, n_head: 2, vocab_size: 40 },
  gpt: { model_type: "openai-gpt", n_positions: 8, n_embd: 16, n_layer: 2, n_head: 2, vocab_size: 40 },
  llama: {
    model_type: "llama",
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 8,
    vocab_size: 40,
  },
} as const;

function record(config: Record<string, unknown>, options: Partial<LoraOptions>) {
  const isTarget = (module: string) => /c_attn|q_proj|down_proj/.test(module);
  const model = modelFromConfig(config, loraLayers({ rank: 4, scale: 2, isTarget, ...options }));
  const g = new Graph({ profile, training: true });
  const hidden = model.hidden(g, g.input("tokens", [1, 4], "u32"));
  return { g, hidden, head: model.head(g) };
}

Deno.test("only the adapters of the chosen layers are trainable", () => {
  const trainable = (config: Record<string, unknown>) =>
    record(config, {}).g.parameters.all.filter((p) => p.trainable).map((p) => `${p.name} ${p.shape}`);
  deepEqual(trainable(configs.gpt2).slice(0, 2), [
    "transformer.h.0.attn.c_attn.lora_A.weight 4,16",
    "transformer.h.0.attn.c_attn.lora_B.weight 48,4",
  ]);
  equal(trainable(configs.gpt2).length, 4);
  deepEqual(trainable(configs.gpt), trainable(configs.gpt2));
  deepEqual(trainable(configs.llama).slice(2, 4), [
    "model.layers.0.mlp.down_proj.lora_A.weight 4,24",
    "model.layers.0.mlp.down_proj.lora_B.weight 16,4",
  ]);
  equal(trainable(configs.llama).length, 8);
});

Deno.test("A starts uniform in +-1 / sqrt(in), B at 0", () => {
  const { parameters } = record(configs.llama, { rank: 200 }).g;
  const start = (name: string) => {
    const { init, tensor } = parameters.get(`model.layers.1.mlp.down_proj.${name}.weight`)!;
    const values = new Float32Array(tensor.size).fill(9);
    init(values, 3);
    return values;
  };
  ok(start("lora_B").every((value) => value === 0));
  const a = start("lora_A"); // [200, 24]
  const bound = 1 / Math.sqrt(24);
  ok(a.every((value) => Math.abs(value) <= bound));
  const variance = a.reduce((sum, value) => sum + value * value, 0) / a.length;
  // That of the uniform distribution is bound^2 / 3; of 4800 values it is off by 1.3% on average.
  ok(Math.abs(variance / (bound * bound / 3) - 1) < 0.05, `${variance}`);
  ok(Math.abs(a.reduce((sum, value) => sum + value, 0) / a.length) < bound / 20);
});

Deno.test("no kernel computes a gradient of a frozen weight, and none of what comes before the first adapter", () => {
  for (const recompute of [false, true]) {
    const isTarget = (module: string) => module.endsWith(".1.self_attn.v_proj");
    const model = modelFromConfig(configs.llama, loraLayers({ rank: 4, scale: 2, isTarget }));
    const g = new Graph({ profile, training: true, recompute });
    const hidden = model.hidden(g, g.input("tokens", [1, 4], "u32"));
    const forward = g.microKernels.length;
    g.gradientTarget(hidden);
    g.backward();
    const frozen = g.parameters.all.filter((p) => !p.trainable);
    equal(frozen.length, 20);
    for (const { name, tensor } of frozen) equal(g.gradientOf(tensor), undefined, name);
    // In block 1: back through the norm, the MLP, the output projection, attention to v, and the adapter's products.
    const backward = g.microKernels.slice(forward).map((k) => k.label);
    equal(backward.filter((label) => label === "attention_backward_kv").length, 1);
    equal(backward.filter((label) => label === "swiglu_backward").length, 1);
    // The final norm and that of the MLP; not that before attention, since no adapter is below it.
    equal(backward.filter((label) => label === "rms_norm_backward").length, 2);
    equal(backward.filter((label) => label === "rotary_backward").length, 0);
    const written = g.microKernels.flatMap((k) => k.bindings.filter((b) => b.access === "write"));
    ok(written.every(({ tensor }) => tensor.storage.kind !== "parameter"));
  }
});

Deno.test("impossible options are refused", () => {
  throws(() => record(configs.gpt2, { rank: 0 }), /rank must be a positive integer, got 0/);
  throws(() => record(configs.gpt2, { scale: Infinity }), /scale must be finite, got Infinity/);
  throws(() => record(configs.gpt2, { dropout: 1 }), /dropout must be in \[0, 1\), got 1/);
});
