/**
 * The configuration that a run.json has recorded, whichever version of it this is.
 *
 * @module
 */
import { withoutSecrets } from "../../files/address.ts";
import { RUN_VERSION, type RunConfig } from "./config.ts";
import type { HyperValue, OptimizerConfig } from "./hyper_parameters.ts";
import { hyperParameters, resolveOptimizer } from "./optimizer.ts";

/** Hyper-parameters by the keys of version 1, which stood beside the others of a configuration. */
const VERSION_1: Readonly<Record<string, string>> = {
  koalaScope: "koala-scope",
  lr: "lr",
  adamwLr: "adamw.lr",
  weightDecay: "weight-decay",
  momentum: "momentum",
  sigma: "sigma",
  q: "q",
  r: "r",
  symmetric: "symmetric",
  orthogonal: "orthogonal",
};

/**
 * Reads a configuration.
 *
 * @param run What run.json holds.
 * @param path Where it is, for the message.
 * @returns The configuration as this version writes it, with no secret of an address; it makes the same optimizers.
 * @throws {RangeError} If it is of a version that this code does not know.
 */
export function recordedConfig(run: Readonly<Record<string, unknown>>, path: string): RunConfig {
  const { version } = run;
  if (!(typeof version === "number" && Number.isInteger(version) && version >= 1 && version <= RUN_VERSION)) {
    throw new RangeError(`${path} must be of a version from 1 to ${RUN_VERSION}, got ${version}`);
  }
  const config = run.config as Readonly<Record<string, unknown>>;
  const kept = Object.entries(config).filter(([key]) => !Object.hasOwn(VERSION_1, key)).map(
    ([key, value]) => {
      const isSources = (key === "data" || key === "validationData") && Array.isArray(value);
      return [key, isSources ? value.map((source) => withoutSecrets(String(source))) : value];
    },
  );
  return { ...Object.fromEntries(kept), optimizer: recordedOptimizer(config) } as unknown as RunConfig;
}

/**
 * The optimizer of a recorded configuration.
 *
 * @param config Of any version.
 * @throws {RangeError} If there is no such optimizer.
 */
export function recordedOptimizer(config: Readonly<Record<string, unknown>>): OptimizerConfig {
  if (typeof config.optimizer === "object") return config.optimizer as OptimizerConfig;
  const name = String(config.optimizer);
  // What version 1 left to the factory of KOALA++ has other defaults now.
  const before: Record<string, HyperValue> = name === "koala++"
    ? { orthogonal: "none", momentum: 0, covariance: "none" }
    : {};
  const recorded = Object.entries(VERSION_1).filter(([key]) => config[key] !== undefined)
    .map(([key, hyperParameter]) => [hyperParameter, config[key] as HyperValue] as const);
  // It recorded the values of every optimizer.
  const taken = hyperParameters(name, config.koalaScope).flatMap((p) => [p.name, p.also]);
  const own = Object.entries({ ...before, ...Object.fromEntries(recorded) });
  return resolveOptimizer(name, Object.fromEntries(own.filter(([key]) => taken.includes(key))));
}
