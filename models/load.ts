/**
 * The model that a config.json describes, and the presets of all architectures.
 *
 * @module
 */
import { gpt2, gpt2Presets } from "./gpt2.ts";
import { llama, llamaPresets } from "./llama.ts";
import { openaiGpt, openaiGptPresets } from "./openai_gpt.ts";
import type { Layers } from "./layers.ts";
import type { LanguageModel } from "./model.ts";

type Config = Readonly<Record<string, unknown>>;

interface Architecture {
  readonly build: (config: Config, layers?: Layers) => LanguageModel;
  readonly presets: Readonly<Record<string, Config>>;
  /** Keys of config.json that are probabilities of dropping something. */
  readonly dropout: readonly string[];
  /** Linear layers that get a LoRA unless told otherwise; the same as in PEFT. */
  readonly lora: readonly string[];
}

const GPT_DROPOUT = ["resid_pdrop", "embd_pdrop", "attn_pdrop"];

/** Architectures by the `model_type` of config.json. */
const architectures: Readonly<Record<string, Architecture>> = {
  gpt2: {
    build: gpt2,
    presets: gpt2Presets,
    dropout: GPT_DROPOUT,
    lora: ["c_attn"],
  },
  llama: {
    build: llama,
    presets: llamaPresets,
    dropout: ["attention_dropout"],
    lora: ["q_proj", "v_proj"],
  },
  "openai-gpt": {
    build: openaiGpt,
    presets: openaiGptPresets,
    dropout: GPT_DROPOUT,
    lora: ["c_attn"],
  },
};

/** The presets of all architectures by name, as the content of config.json without `vocab_size`. */
export const modelPresets: Readonly<Record<string, Readonly<Record<string, unknown>>>> = Object.fromEntries(
  Object.entries(architectures).flatMap(([model_type, { presets }]) =>
    Object.entries(presets).map(([name, keys]) => [name, { model_type, ...keys }])
  ),
);

/**
 * Builds the model of a checkpoint.
 *
 * @param config The content of config.json.
 * @param layers How weights are declared and applied; default all are trained.
 * @throws {RangeError} If the architecture or one of its features is not supported; the message names it.
 */
export function modelFromConfig(
  config: Readonly<Record<string, unknown>>,
  layers?: Layers,
): LanguageModel {
  return architectureOf(config).build(config, layers);
}

/**
 * The keys of config.json by which a model drops values while training.
 *
 * @param config The content of config.json; `model_type` matters.
 * @throws {RangeError} If the architecture is not supported.
 */
export function dropoutKeys(config: Readonly<Record<string, unknown>>): readonly string[] {
  return architectureOf(config).dropout;
}

/**
 * The linear layers of a model that get a LoRA unless told otherwise, by the last parts of their names.
 *
 * @param config The content of config.json; `model_type` matters.
 * @throws {RangeError} If the architecture is not supported.
 */
export function defaultLoraTargets(config: Readonly<Record<string, unknown>>): readonly string[] {
  return architectureOf(config).lora;
}

function architectureOf({ model_type: type }: Config): Architecture {
  if (typeof type === "string" && Object.hasOwn(architectures, type)) return architectures[type];
  throw new RangeError(
    `config.json's model_type must be one of ${Object.keys(architectures).join(", ")}, got ${
      JSON.stringify(type)
    }`,
  );
}
