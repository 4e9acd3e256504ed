/**
 * `adapter_config.json`, by which Python's PEFT knows a LoRA (arXiv 2106.09685): which linear layers of which
 * model have thin matrices beside their weights, and how much these count.
 *
 * @module
 */

/** A LoRA under the keys of PEFT's `adapter_config.json`. */
export interface AdapterConfig {
  /** Rank of the adapters. */
  readonly r: number;
  /** What they add is multiplied with `lora_alpha / r`. */
  readonly lora_alpha: number;
  /** Probability of dropping an input of an adapter while training. */
  readonly lora_dropout: number;
  /** Whether what they add is multiplied with `lora_alpha / sqrt(r)` instead (arXiv 2312.03732). */
  readonly use_rslora: boolean;
  /** Names of the linear layers that have adapters, whole or their last parts, such as `q_proj`. */
  readonly target_modules: readonly string[];
  /** Folder (or name on the hub) of the model that they belong to; null if the file does not say. */
  readonly base_model_name_or_path: string | null;
}

type Keys = Readonly<Record<string, unknown>>;

/** Keys that say nothing about what the adapters compute once they are trained. */
const NO_MATTER = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "ensure_weight_tying", // matters for embeddings only, which are refused by their tensors
  "eva_config",
  "fan_in_fan_out", // what the model says, counts
  "inference_mode",
  "loftq_config",
  "lora_alpha",
  "lora_dropout",
  "megatron_core",
  "peft_version",
  "qalora_group_size",
  "r",
  "revision",
  "runtime_config",
  "target_modules",
  "use_rslora",
]);

/** Keys with the values that are supported; all others must be unset: null, false or empty. */
const SUPPORTED: Readonly<Record<string, readonly unknown[]>> = {
  peft_type: ["LORA"],
  task_type: ["CAUSAL_LM", null, undefined],
  bias: ["none", undefined],
  // Others change the model's own weights, and not these.
  init_lora_weights: [true, false, "gaussian", "orthogonal", null, undefined],
};

/**
 * Reads the content of an `adapter_config.json`.
 *
 * @param keys The parsed file.
 * @param path Where it comes from, for messages.
 * @throws {RangeError} If a value is impossible, or a feature is not supported (DoRA, trained biases, whole modules,
 * ranks by layer and the like); the message names the key.
 */
export function parseAdapterConfig(keys: Keys, path: string): AdapterConfig {
  const refuse = (key: string, must: string): never => {
    throw new RangeError(
      `Cannot use the adapter of ${path}: its ${key} must be ${must}, got ${JSON.stringify(keys[key])}`,
    );
  };
  for (const [key, values] of Object.entries(SUPPORTED)) {
    const words = values.filter((value) => value !== undefined).map((value) => JSON.stringify(value));
    if (!values.includes(keys[key])) refuse(key, `${words.join(" or ")}; nothing else is supported`);
  }
  for (const [key, value] of Object.entries(keys)) {
    if (NO_MATTER.has(key) || key in SUPPORTED || isUnset(value)) continue;
    refuse(key, "unset, since this feature of PEFT is not supported");
  }
  const { r, lora_alpha, lora_dropout = 0, use_rslora = false, target_modules } = keys;
  const base = keys.base_model_name_or_path ?? null;
  if (!Number.isSafeInteger(r) || r as number < 1) refuse("r", "a positive integer");
  if (!(typeof lora_alpha === "number" && lora_alpha > 0)) refuse("lora_alpha", "a positive number");
  if (!(typeof lora_dropout === "number" && lora_dropout >= 0 && lora_dropout < 1)) {
    refuse("lora_dropout", "in [0, 1)");
  }
  if (typeof use_rslora !== "boolean") refuse("use_rslora", "true or false");
  const isName = (name: unknown) => typeof name === "string" && name !== "";
  if (!(Array.isArray(target_modules) && target_modules.length > 0 && target_modules.every(isName))) {
    refuse("target_modules", "a list of names");
  }
  if (base !== null && typeof base !== "string") refuse("base_model_name_or_path", "a text or null");
  return {
    r,
    lora_alpha,
    lora_dropout,
    use_rslora,
    target_modules: [...target_modules as string[]].sort(),
    base_model_name_or_path: base,
  } as AdapterConfig;
}

/**
 * The content of the `adapter_config.json` that PEFT opens.
 *
 * @param adapter The LoRA.
 * @param inOut Whether the weights of the model's linear layers lie as [in, out], as GPT-2's do.
 */
export function formatAdapterConfig(adapter: AdapterConfig, inOut: boolean): Record<string, unknown> {
  return {
    ...adapter,
    bias: "none",
    fan_in_fan_out: inOut,
    inference_mode: true,
    init_lora_weights: true,
    modules_to_save: null,
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
  };
}

/** What an adapter's output is multiplied with. */
export function adapterScale({ r, lora_alpha, use_rslora }: AdapterConfig): number {
  return lora_alpha / (use_rslora ? Math.sqrt(r) : r);
}

/**
 * Whether a linear layer has an adapter, by PEFT's rule for lists.
 *
 * @param module Its name, such as `model.layers.0.self_attn.q_proj`.
 * @param targets Names, whole or their last parts.
 */
export function isTargetModule(module: string, targets: readonly string[]): boolean {
  return targets.some((target) => module === target || module.endsWith(`.${target}`));
}

function isUnset(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0;
  return value === null || value === undefined || value === false;
}
