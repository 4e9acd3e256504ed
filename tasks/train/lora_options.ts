/**
 * The options of LoRA fine-tuning, and the adapter that they ask for.
 *
 * @module
 */
import { type AdapterConfig, isTargetModule } from "../../checkpoint/adapter/config.ts";
import { linearLayers } from "../../checkpoint/tensor_names.ts";
import { defaultLoraTargets, modelFromConfig } from "../../models/load.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import { type OptionValues, UsageError } from "../command/command_line.ts";
import { camelCase } from "../command/option_table.ts";
import { baseOption } from "../model/open_checkpoint.ts";

const GROUP = "LoRA, which trains small matrices beside the weights of --init-from";
const ALL_LINEAR = "all-linear";

/** The options. */
export const loraOptions = {
  "lora-rank": {
    type: "integer",
    min: 1,
    group: GROUP,
    description: "rank of the adapters, such as 8; the weights stay as they are",
  },
  "lora-alpha": {
    type: "number",
    above: 0,
    group: GROUP,
    description: "what the adapters add is multiplied with alpha / rank (default: twice the rank)",
  },
  "lora-dropout": {
    type: "number",
    min: 0,
    below: 1,
    default: 0,
    group: GROUP,
    description: "dropout on what goes into the adapters",
  },
  "lora-targets": {
    type: "string",
    multiple: true,
    placeholder: "NAME",
    group: GROUP,
    description:
      `layers that get one, or ${ALL_LINEAR} (default: c_attn of a GPT or GPT-2, q_proj and v_proj of a Llama)`,
  },
  "base": { ...baseOption, group: GROUP, description: `${baseOption.description}; may move when resuming` },
} as const;

/** The values of {@linkcode loraOptions}. */
export type LoraValues = OptionValues<typeof loraOptions>;
type Config = Readonly<Record<string, unknown>>;

/** Options that a new adapter is made by, and the keys that they set. */
const KEYS: Readonly<Record<string, keyof AdapterConfig>> = {
  loraRank: "r",
  loraAlpha: "lora_alpha",
  loraDropout: "lora_dropout",
  loraTargets: "target_modules",
};

/** The first option that is given and needs another one, as it is written. */
export function givenLoraOption(given: ReadonlySet<string>): string | undefined {
  const names = Object.keys(loraOptions);
  return names.map((name) => `--${name}`).find((_, i) => given.has(camelCase(names[i])));
}

/**
 * The adapter that the options ask for.
 *
 * @param config The model's `config.json`.
 * @param base The model's folder.
 * @returns The adapter, or nothing without `--lora-rank`.
 * @throws {UsageError} If other options are given without it, or `--lora-targets` names no layer.
 */
export function newAdapter(
  values: LoraValues,
  given: ReadonlySet<string>,
  config: Config,
  base: string,
): AdapterConfig & { base_model_name_or_path: string } | undefined {
  const { loraRank: r } = values;
  const other = givenLoraOption(given);
  if (given.has("base")) {
    throw new UsageError(
      `--base says where the model of an adapter is, but ${base} is a model; leave it out`,
    );
  }
  if (r === undefined) {
    if (other) {
      throw new UsageError(`${other} is of use with --lora-rank only; give both, such as --lora-rank 8`);
    }
    return undefined;
  }
  return {
    r,
    lora_alpha: values.loraAlpha ?? 2 * r,
    lora_dropout: values.loraDropout,
    use_rslora: false,
    target_modules: targetModules(values.loraTargets, config),
    base_model_name_or_path: base,
  };
}

/** What the options ask of a run's adapter, where they are given; `config` is that of its model. */
export function askedAdapter(
  values: LoraValues,
  given: ReadonlySet<string>,
  config: Config,
): Record<string, unknown> {
  const asked: Record<string, unknown> = {};
  for (const [option, key] of Object.entries(KEYS)) {
    if (given.has(option)) asked[key] = values[option as keyof LoraValues];
  }
  if (given.has("loraTargets")) asked.target_modules = targetModules(values.loraTargets, config);
  return asked;
}

/** Names of layers, each of which the model has, in alphabetical order. */
function targetModules(asked: readonly string[], config: Config): string[] {
  const names = asked.flatMap((text) => text.split(",")).map((name) => name.trim()).filter(Boolean);
  if (names.length === 0) return [...defaultLoraTargets(config)].sort();
  const tensors = new Map(declareParameters(modelFromConfig(config)).all.map((p) => [p.name, p]));
  const modules = linearLayers(tensors, config).map(({ module }) => module);
  const kinds = [...new Set(modules.map((module) => module.split(".").at(-1)!))].sort();
  if (names.length === 1 && names[0] === ALL_LINEAR) return kinds;
  const wrong = names.find((name) => !modules.some((module) => isTargetModule(module, [name])));
  if (wrong === undefined) return [...new Set(names)].sort();
  throw new UsageError(
    `--lora-targets must name linear layers of the model (${
      kinds.join(", ")
    }), or be ${ALL_LINEAR}, got ${wrong}`,
  );
}
