/**
 * Records training and generation of models in full width for adapters that are not at hand: `Graph.dispatch` holds every
 * kernel to the adapter's limits.
 */
import { deepEqual, doesNotThrow, match } from "node:assert/strict";
import type { Gpu, Profile } from "../../gpu/device.ts";
import { allocateStorage, ParameterStore } from "../../gpu/parameters.ts";
import type { Storage } from "../../gpu/tensor.ts";
import { gpt2, gpt2Presets } from "../../models/gpt2.ts";
import { llama } from "../../models/llama.ts";
import type { LanguageModel } from "../../models/model.ts";
import { PROFILES } from "../../tests/profiles.ts";
import { recordGeneration } from "../generate/recording.ts";
import { recordStep, type TrainerOptions } from "../step/recording.ts";
import { languageModelLoss } from "../step/trainer.ts";
import type { HyperValues } from "./hyper_parameters.ts";
import { resolveOptimizer, runOptimizer } from "./optimizer.ts";
import { OPTIMIZERS } from "./optimizer_table.ts";

const profiles: Readonly<Record<string, Profile>> = PROFILES;

const gpt2Layers = (preset: string, layers = 1) =>
  gpt2({ ...gpt2Presets[preset], vocab_size: 50_257, n_layer: layers });
const llamaLayer = (width: number, inner: number, heads: number, config: Record<string, unknown> = {}) =>
  llama({
    vocab_size: 128_256,
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: 1,
    num_attention_heads: heads,
    num_key_value_heads: 8,
    max_position_embeddings: 4096,
    tie_word_embeddings: true,
    ...config,
  });

/** One layer of each, since the limits are about a layer's sizes. */
const models: Readonly<Record<string, LanguageModel>> = {
  "GPT-2 124M": gpt2Layers("gpt2"),
  "GPT-2 355M": gpt2Layers("gpt2-medium"),
  "GPT-2 774M": gpt2Layers("gpt2-large"),
  "GPT-2 1.5B": gpt2Layers("gpt2-xl"),
  "Llama 1B": llamaLayer(2048, 8192, 32),
  "Llama 3B": llamaLayer(3072, 8192, 24),
  "Llama 8B": llamaLayer(4096, 14_336, 32, { tie_word_embeddings: false }),
};

/** What is too large whatever the kernels do: for which models, profiles and optimizers, and what they are told. */
const refusals: readonly {
  readonly models: readonly string[];
  readonly profiles?: readonly string[];
  readonly optimizers?: readonly string[];
  readonly message: RegExp;
}[] = [
  {
    models: ["Llama 8B"],
    profiles: ["WebGPU's guarantees", "lavapipe", "lavapipe without subgroups"],
    message:
      /mlp.gate_proj.weight\S* has 234881024 bytes, but this adapter binds at most 134217728; use a smaller/,
  },
  {
    models: ["Llama 3B", "Llama 8B"],
    optimizers: ["soap"],
    message: /^soap: a matrix must have at most 2560 rows or columns, got .*; give it to another optimizer$/,
  },
  {
    models: ["GPT-2 1.5B", "Llama 1B", "Llama 3B"], // token embeddings
    profiles: ["WebGPU's guarantees"],
    message: /needs \d+ bytes, but a buffer of .* holds at most 268435456; use a smaller model or batch$/,
  },
];

/** What a profile's adapter says of a recording, once everything has a buffer; undefined where it runs it. */
function refusal(name: string, record: (profile: Profile) => Iterable<Storage>): string | undefined {
  const profile = profiles[name];
  try {
    const gpu = { profile, description: name } as Gpu;
    for (const storage of record(profile)) {
      // A buffer that is too large is refused before there is any need of a device.
      if (storage.byteLength > profile.maxBufferBytes) allocateStorage(gpu, storage);
    }
  } catch (error) {
    return (error as Error).message;
  }
}

/** Records a training step and gives the storages that need buffers of their own. */
function trainingStorages(
  profile: Profile,
  model: LanguageModel,
  optimizer: TrainerOptions["optimizer"],
  { batchSize = 1, masked = false, ...options }:
    & { batchSize?: number; masked?: boolean }
    & Partial<TrainerOptions> = {},
): Storage[] {
  const record = languageModelLoss(model, batchSize, 1024, masked);
  const { graph } = recordStep(profile, { record, optimizer, clip: 1, ...options });
  return [...graph.parameters.all.map((p) => p.tensor.storage), ...graph.persistent];
}

const optimizerOf = (name: string, given: HyperValues = {}) =>
  runOptimizer({ optimizer: resolveOptimizer(name, given) });

for (const [modelName, model] of Object.entries(models)) {
  Deno.test(`a training step of ${modelName} keeps to every adapter's limits with every optimizer, or says why it cannot`, () => {
    for (const name of Object.keys(profiles)) {
      for (const optimizer of Object.keys(OPTIMIZERS)) {
        const got = refusal(name, (profile) => trainingStorages(profile, model, optimizerOf(optimizer)));
        const expected = refusals.find((r) =>
          r.models.includes(modelName) && (r.profiles?.includes(name) ?? true) &&
          (r.optimizers?.includes(optimizer) ?? true)
        );
        if (expected) match(got ?? "nothing", expected.message, `${name}, ${optimizer}`);
        else deepEqual(got, undefined, `${name}, ${optimizer}`);
      }
    }
  });

  Deno.test(`generation with ${modelName} keeps to every adapter's limits, or says why it cannot`, () => {
    for (const name of Object.keys(profiles)) {
      const got = refusal(name, (profile) => {
        const parameters = new ParameterStore();
        const options = { batchSize: 4, contextLength: 1024 };
        const { prefill, decode } = recordGeneration(profile, model, parameters, options);
        const own = parameters.all.map((p) => p.tensor.storage);
        const graphs = [...prefill.values(), decode];
        return [...own, ...graphs.flatMap(({ persistent }) => persistent)];
      });
      const expected = refusals.find((r) =>
        r.models.includes(modelName) && (r.profiles?.includes(name) ?? true) && !r.optimizers
      );
      if (expected) match(got ?? "nothing", expected.message, name);
      else deepEqual(got, undefined, name);
    }
  });
}

Deno.test("all 12 layers of GPT-2 124M with 8 sequences of 1,024 tokens keep to every adapter's limits", () => {
  const model = gpt2Layers("gpt2", 12);
  for (const profile of Object.values(profiles)) {
    const precisions = profile.halfPrecision ? ["f32", "f16"] as const : ["f32"] as const;
    for (const precision of precisions) {
      doesNotThrow(() =>
        trainingStorages(profile, model, optimizerOf("koala++"), { batchSize: 8, precision })
      );
    }
  }
});

Deno.test("steps with f16 keep to the limits of WebGPU's guarantees with f16", () => {
  const profile = { ...PROFILES["WebGPU's guarantees"], halfPrecision: true };
  const llama = llamaLayer(512, 2048, 16, { vocab_size: 128_256 });
  for (const model of [models["GPT-2 124M"], models["GPT-2 774M"], llama]) {
    for (const optimizer of ["koala++", "adamw", "muon"]) {
      doesNotThrow(() => trainingStorages(profile, model, optimizerOf(optimizer), { precision: "f16" }));
    }
  }
});

Deno.test("a step with every option at once keeps to WebGPU's guarantees", () => {
  const biases = { attention_bias: true, mlp_bias: true, attention_dropout: 0.1, head_dim: 64 };
  const model = llamaLayer(512, 2048, 16, { ...biases, vocab_size: 4096 });
  const options = { masked: true, recompute: true, gradAccum: 2, batchSize: 2 };
  const { "WebGPU's guarantees": profile } = PROFILES;
  for (const scope of ["hidden", "all"]) {
    for (const orthogonal of ["none", "gain", "unit"]) {
      const optimizer = optimizerOf("koala++", {
        "koala-scope": scope,
        orthogonal,
        momentum: 0.9,
        "weight-decay": 0.1,
        symmetric: false,
      });
      doesNotThrow(() => trainingStorages(profile, model, optimizer, options), `${scope}, ${orthogonal}`);
    }
  }
  for (const name of ["koala-v", "koala-m", "sgd", "muon"]) {
    const optimizer = optimizerOf(name, { "weight-decay": 0.1 });
    doesNotThrow(() => trainingStorages(profile, model, optimizer, options), name);
  }
});
