/**
 * The optimizers of a run: which hyper-parameters they take, what they are by default, and how they are made.
 *
 * @module
 */
import { adamw } from "../../optim/adamw.ts";
import { hiddenMatrices, type OptimizerPartition, partition } from "../../optim/partition.ts";
import {
  factoryOptions,
  type HyperValues,
  named,
  type NamedHyperParameter,
  type OptimizerChoice,
  type OptimizerConfig,
  type Purpose,
  withDefaults,
} from "./hyper_parameters.ts";
import { BESIDE, OPTIMIZERS, SCOPE } from "./optimizer_table.ts";

/** Goes before the names of the hyper-parameters of AdamW beside another optimizer. */
const PREFIX = "adamw.";

/**
 * The hyper-parameters of an optimizer.
 *
 * @param name The optimizer's name.
 * @param scope Its `koala-scope`, where it has one; with `all` there is no AdamW beside it. Default: `hidden`.
 * @throws {RangeError} If there is no such optimizer.
 */
export function hyperParameters(name: string, scope: unknown = "hidden"): readonly NamedHyperParameter[] {
  const { trains, options } = optimizerNamed(name);
  return [
    ...(trains === "koala-scope" ? [SCOPE] : []),
    ...named(options),
    ...(hasAdamWBeside({ name, [SCOPE.name]: String(scope) }) ? named(BESIDE, PREFIX) : []),
  ];
}

/**
 * The name of the hyper-parameter that is meant.
 *
 * @param name The optimizer's name.
 * @param key The hyper-parameter's name, or its second one.
 * @param scope See {@linkcode hyperParameters}.
 * @throws {RangeError} If the optimizer does not take it, or there is no such optimizer.
 */
export function hyperParameterNamed(name: string, key: string, scope?: unknown): NamedHyperParameter {
  const all = hyperParameters(name, scope);
  const found = all.find((p) => p.name === key || p.also === key);
  if (found) return found;
  const taken = all.map((p) => p.also === undefined ? p.name : `${p.name} (or ${p.also})`).join(", ");
  const where = scope === "all" && all.includes(SCOPE) ? ` with ${SCOPE.name}=all` : "";
  throw new RangeError(`${name}${where} takes ${taken}, got ${key}; leave it out`);
}

/**
 * An optimizer with all its hyper-parameters.
 *
 * @param name The optimizer's name.
 * @param given Values by the names of hyper-parameters.
 * @param purpose What the run starts from; default random weights.
 * @throws {RangeError} If there is no such optimizer, or it does not take what is given.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const config = resolveOptimizer("koala++", { "adamw.beta2": 0.99 });
 * equal(config.lr, 0.02);
 * equal(config["adamw.beta2"], 0.99);
 * ```
 */
export function resolveOptimizer(
  name: string,
  given: HyperValues = {},
  purpose: Purpose = "scratch",
): OptimizerConfig {
  const scope = given[SCOPE.name];
  const values = Object.fromEntries(
    Object.entries(given).map(([key, value]) => [hyperParameterNamed(name, key, scope).name, value]),
  );
  return { name, ...withDefaults(hyperParameters(name, scope), values, purpose) } as OptimizerConfig;
}

/**
 * The optimizers of a run.
 *
 * @throws {RangeError} If the optimizer is unknown, does not take a hyper-parameter, or one is out of range.
 */
export function runOptimizer(
  { optimizer: config }: { readonly optimizer: OptimizerConfig },
): OptimizerPartition {
  const { name, ...values } = config;
  for (const key of Object.keys(values)) hyperParameterNamed(name, key, values[SCOPE.name]);
  const { make, options } = optimizerNamed(name);
  const optimizer = make(factoryOptions(options, values));
  if (!hasAdamWBeside(config)) return partition([{ optimizer }]);
  const beside = adamw(factoryOptions(BESIDE, values, PREFIX));
  return partition([{ owns: hiddenMatrices, optimizer }, { optimizer: beside }]);
}

/** Whether an optimizer trains the hidden weight matrices alone and AdamW the rest. */
export function hasAdamWBeside(config: { readonly name: string } & HyperValues): boolean {
  const { trains } = optimizerNamed(config.name);
  return trains === "hidden" || (trains === "koala-scope" && config[SCOPE.name] === "hidden");
}

function optimizerNamed(name: string): OptimizerChoice {
  if (Object.hasOwn(OPTIMIZERS, name)) return OPTIMIZERS[name];
  throw new RangeError(`The optimizer must be one of ${Object.keys(OPTIMIZERS).join(", ")}, got ${name}`);
}
