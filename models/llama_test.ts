import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { gpt2, gpt2Presets } from "./gpt2.ts";
import { llama, llamaConfig, llamaPresets } from "./llama.ts";
import { dropoutKeys, modelFromConfig, modelPresets } from "./load.ts";
import type { LanguageModel } from "./model.ts";

const profile = { subgroupSize: 0, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 2 ** 31 };
const nano = { ...llamaPresets["llama-nano"], vocab_size: 300 };

/** Records without a GPU: shapes and names need none. */
function record(model: LanguageModel, options: { training?: boolean; recompute?: boolean } = {}) {
  const g = new Graph({ profile, ...options });
  const hidden = model.hidden(g, g.input("tokens", [1, 4], "u32"));
  model.head(g);
  return { g, hidden };
}

const parametersOf = (config: Record<string, unknown>) => record(llama(config)).g.parameters;

Deno.test("the smollm2-135m preset has SmolLM2's 134,515,008 parameters under Hugging Face's names", () => {
  const store = parametersOf({ ...llamaPresets["smollm2-135m"], vocab_size: 49_152 });
  equal(store.count, 134_515_008);
  deepEqual(store.get("model.layers.29.self_attn.k_proj.weight")?.shape, [192, 576]);
  deepEqual(store.get("model.layers.0.mlp.gate_proj.weight")?.shape, [1536, 576]);
  equal(store.get("lm_head.weight"), undefined);
});

Deno.test("the Llama presets are counterparts of GPT-2's: as many hidden weights, 3% fewer parameters at most", () => {
  for (const size of ["nano", "mini", "small"]) {
    const ours = parametersOf({ ...llamaPresets[`llama-${size}`], vocab_size: 2048 });
    const theirs = record(gpt2({ ...gpt2Presets[`gpt2-${size}`], vocab_size: 2048 })).g.parameters;
    const hidden = (store: typeof ours) =>
      store.all.filter(({ role }) => role === "matrix").reduce((sum, { tensor }) => sum + tensor.size, 0);
    equal(hidden(ours), hidden(theirs));
    ok(ours.count <= theirs.count && ours.count > 0.97 * theirs.count, `${ours.count}, ${theirs.count}`);
  }
});

Deno.test("biases, an untied head and a head size of its own are parameters where the configuration asks", () => {
  const store = parametersOf({
    ...nano,
    tie_word_embeddings: false,
    attention_bias: true,
    mlp_bias: true,
    head_dim: 48,
  });
  const shape = (name: string) => store.get(`model.layers.3.${name}`)?.shape;
  deepEqual(store.get("lm_head.weight")?.shape, [300, 128]);
  deepEqual(shape("self_attn.q_proj.weight"), [192, 128]);
  deepEqual(shape("self_attn.v_proj.bias"), [96]);
  deepEqual(shape("self_attn.o_proj.weight"), [128, 192]);
  deepEqual([shape("mlp.up_proj.bias"), shape("mlp.down_proj.bias")], [[384], [128]]);
  deepEqual(parametersOf(nano).all.filter(({ name }) => name.endsWith("bias")), []);
});

Deno.test("weights start with initializer_range, norms at 1", () => {
  const store = parametersOf({ ...nano, initializer_range: 0.05 });
  const start = (name: string) => {
    const { init, tensor } = store.get(name)!;
    const values = new Float32Array(tensor.size);
    init(values, 1);
    return values;
  };
  for (const name of ["model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight"]) {
    const values = start(name);
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
    ok(Math.abs(deviation - 0.05) < 1e-3, `${name}: ${deviation}`);
  }
  ok(start("model.norm.weight").every((v) => v === 1));
});

Deno.test("the rotary table is uploaded once, whether blocks are recorded once or twice", () => {
  for (const recompute of [false, true]) {
    const { g, hidden } = record(llama(nano), { training: true, recompute });
    g.gradientTarget(hidden);
    g.backward();
    equal(g.constants.filter(({ tensor }) => tensor.label === "rotary").length, 1);
    const forward = g.microKernels.filter(({ label }) => label === "rotary_forward").length;
    equal(forward, recompute ? 16 : 8);
  }
});

Deno.test("both of transformers' spellings of rotary positions are read, and both are written", () => {
  const scaling = {
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 64,
  };
  const v4 = { ...nano, rope_theta: 5e5, rope_scaling: { ...scaling, rope_type: "llama3" } };
  const v5 = { ...nano, rope_parameters: { ...scaling, rope_type: "llama3", rope_theta: 5e5 } };
  deepEqual(llamaConfig(v4), llamaConfig(v5));
  deepEqual(llamaConfig(v4).rope_parameters, { rope_type: "llama3", rope_theta: 5e5, ...scaling });
  const { config } = llama(v5);
  deepEqual([config.rope_theta, config.rope_scaling], [5e5, { rope_type: "llama3", ...scaling }]);
  deepEqual(llama(config).config, config);

  const plain = { rope_type: "default", rope_theta: 1e4 };
  for (const rope_scaling of [undefined, null, {}, { type: "default" }]) {
    const { config } = llama({ ...nano, rope_scaling });
    deepEqual([config.rope_parameters, config.rope_theta, config.rope_scaling], [plain, 1e4, null]);
  }
  const { original_max_position_embeddings: _, ...rest } = scaling;
  const short = llamaConfig({ ...nano, rope_scaling: { ...rest, type: "llama3" } });
  equal(short.rope_parameters.original_max_position_embeddings, 128);
});

Deno.test("impossible and unsupported rotary positions are refused by key", () => {
  const llama3 = { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
  const refused = (keys: Record<string, unknown>, message: RegExp) =>
    throws(() => llama({ ...nano, ...keys }), { name: "RangeError", message });
  refused({ rope_scaling: { type: "linear", factor: 2 } }, /rope_type is supported as .*, got "linear"/);
  refused({ rope_parameters: { rope_type: "yarn" } }, /rope_type is supported as default or llama3 only/);
  refused({ rope_parameters: [1] }, /rope_parameters must be an object, got \[1\]/);
  refused({ rope_theta: 0 }, /rope_theta must be a positive number, got 0/);
  refused({ rope_theta: "1e4" }, /rope_theta must be a positive number, got "1e4"/);
  refused(
    { rope_theta: 1e4, rope_parameters: { rope_theta: 5e5 } },
    /rope_theta must be the same .*, got rope_theta 10000 and rope_parameters\.rope_theta 500000/,
  );
  refused(
    { rope_parameters: { partial_rotary_factor: 0.5 } },
    /partial_rotary_factor is supported as 1 only/,
  );
  refused({ rope_scaling: { rope_type: "llama3" } }, /factor must be a positive number, got undefined/);
  refused({ rope_scaling: { ...llama3, factor: 0.5 } }, /factor of rope_type llama3 must be at least 1/);
  refused({ rope_scaling: { ...llama3, low_freq_factor: 4 } }, /low_freq_factor must be below high_freq/);
});

Deno.test("impossible and unsupported configurations are refused by key", () => {
  const refused = (keys: Record<string, unknown>, message: RegExp) =>
    throws(() => llama({ ...nano, ...keys }), { name: "RangeError", message });
  refused({ vocab_size: undefined }, /vocab_size must be a positive integer, got undefined/);
  refused({ num_hidden_layers: 0 }, /num_hidden_layers must be a positive integer, got 0/);
  refused({ num_attention_heads: 5 }, /hidden_size must be a multiple of num_attention_heads 5, got 128/);
  refused({ num_key_value_heads: 3 }, /num_attention_heads must be a multiple of num_key_value_heads 3/);
  refused({ head_dim: 5 }, /head_dim must be even, .* got 5/);
  refused({ hidden_act: "gelu" }, /hidden_act is supported as silu only, got "gelu"/);
  refused({ attention_dropout: 1 }, /attention_dropout must be in \[0, 1\), got 1/);
  refused({ rms_norm_eps: -1 }, /rms_norm_eps must be in \[0, 1\), got -1/);
  refused({ attention_bias: 1 }, /attention_bias must be true or false, got 1/);
  refused({ quantization_config: { bits: 4 } }, /quantization_config is not supported/);
});

Deno.test("presets of every architecture build by name", () => {
  for (const [name, preset] of Object.entries(modelPresets)) {
    const model = modelFromConfig({ ...preset, vocab_size: 256 });
    const type = ["gpt2", "openai-gpt", "llama"].find((type) => name.startsWith(type)) ?? "llama";
    equal(model.config.model_type, type);
    for (const key of dropoutKeys(preset)) equal(model.config[key], 0, `${name} must have ${key}`);
  }
});
