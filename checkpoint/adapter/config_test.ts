import { deepEqual, equal, throws } from "node:assert/strict";
import {
  type AdapterConfig,
  adapterScale,
  formatAdapterConfig,
  isTargetModule,
  parseAdapterConfig,
} from "./config.ts";

const adapter: AdapterConfig = {
  r: 4,
  lora_alpha: 12,
  lora_dropout: 0.1,
  use_rslora: true,
  target_modules: ["k_proj", "q_proj"],
  base_model_name_or_path: "models/a",
};

/** The keys that PEFT 0.21 writes for features that are not used. */
const unused = {
  ...{ alpha_pattern: {}, auto_mapping: null, bias: "none", corda_config: null, ensure_weight_tying: false },
  ...{ eva_config: null, exclude_modules: null, inference_mode: true, init_lora_weights: true },
  ...{ layers_pattern: null, layers_to_transform: null, loftq_config: {}, lora_bias: false },
  ...{ megatron_config: null, megatron_core: "megatron.core", modules_to_save: null, peft_type: "LORA" },
  ...{ peft_version: "0.21.0", qalora_group_size: 16, rank_pattern: {}, revision: null, task_type: null },
  ...{ target_parameters: null, trainable_token_indices: null, use_dora: false, use_qalora: false },
};

Deno.test("what formatAdapterConfig() writes is read again", () => {
  deepEqual(parseAdapterConfig(formatAdapterConfig(adapter, true), "x"), adapter);
  equal(formatAdapterConfig(adapter, true).fan_in_fan_out, true);
  equal(formatAdapterConfig(adapter, false).fan_in_fan_out, false);
});

Deno.test("a file of PEFT is read, with its defaults where it says nothing", () => {
  const { r, lora_alpha } = adapter;
  const file = { ...unused, r, lora_alpha, target_modules: ["v_proj", "q_proj"] };
  deepEqual(parseAdapterConfig(file, "x"), {
    ...{ r, lora_alpha, lora_dropout: 0, use_rslora: false, target_modules: ["q_proj", "v_proj"] },
    base_model_name_or_path: null,
  });
});

Deno.test("features that are not supported are refused by name, unknown ones too", () => {
  const refused = (keys: Record<string, unknown>, message: RegExp) =>
    throws(() => parseAdapterConfig({ ...unused, ...adapter, ...keys }, "dir/adapter_config.json"), {
      name: "RangeError",
      message,
    });
  refused(
    { use_dora: true },
    /adapter of dir\/adapter_config\.json: its use_dora must be unset, .* got true/,
  );
  refused({ layers_to_transform: [0] }, /layers_to_transform must be unset, .* got \[0\]/);
  refused({ alpha_pattern: { q_proj: 3 } }, /alpha_pattern must be unset/);
  refused({ use_of_tomorrow: { a: 1 } }, /use_of_tomorrow must be unset/);
  refused({ bias: "lora_only" }, /bias must be "none"; nothing else is supported, got "lora_only"/);
  refused({ task_type: "SEQ_CLS" }, /task_type must be "CAUSAL_LM" or null; .*got "SEQ_CLS"/);
  refused({ peft_type: undefined }, /peft_type must be "LORA"; .*got undefined/);
  refused({ r: 0 }, /r must be a positive integer, got 0/);
  refused({ lora_alpha: "8" }, /lora_alpha must be a positive number, got "8"/);
  refused({ lora_dropout: 1 }, /lora_dropout must be in \[0, 1\), got 1/);
  refused({ use_rslora: 1 }, /use_rslora must be true or false, got 1/);
  refused({ target_modules: [] }, /target_modules must be a list of names, got \[\]/);
  refused({ base_model_name_or_path: 3 }, /base_model_name_or_path must be a text or null, got 3/);
});

Deno.test("the scale is alpha / r, of a rank-stabilised LoRA alpha / sqrt(r)", () => {
  equal(adapterScale({ ...adapter, use_rslora: false }), 3);
  equal(adapterScale(adapter), 6);
});

Deno.test("a target is a whole name or its last parts", () => {
  const module = "model.layers.1.mlp.down_proj";
  for (const target of [module, "down_proj", "mlp.down_proj", "1.mlp.down_proj"]) {
    equal(isTargetModule(module, ["q_proj", target]), true, target);
  }
  for (const target of ["own_proj", "mlp", "layers.1", "up_proj"]) {
    equal(isTargetModule(module, [target]), false, target);
  }
});
