/**
 * Optimizers with options and learning rates, as a comparison's command line names them.
 *
 * @module
 */
import { hyperParameters, resolveOptimizer, runOptimizer } from "../../training/run/optimizer.ts";
import type { HyperValues } from "../../training/run/hyper_parameters.ts";
import type { Contestant } from "../../training/compare/comparison.ts";
import { UsageError } from "../command/command_line.ts";
import {
  givenShortcuts,
  optimizerOptions,
  type OptimizerValues,
  shortcutOf,
} from "../train/optimizer_options.ts";
import { type NamedOptimizer, parseOptimizer } from "../train/optimizer_syntax.ts";
import { type ConfigValues, configWith } from "../train/train_lm_options.ts";

const { optimizer: _optimizer, lr: _lr, ...entryOptions } = optimizerOptions;

/** The options that hold for all optimizers of a comparison which take them. */
export { entryOptions };

/** An optimizer with options, as the command line names it. */
export interface AskedContestant {
  /** As it was written, such as `koala++:q=0.05,sigma=1`. */
  readonly name: string;
  /** The optimizer, and what is its own. */
  readonly optimizer: NamedOptimizer;
  /** Its own learning rates, ascending, where it has any. */
  readonly rates?: readonly number[];
}

/**
 * Reads the optimizers of a comparison: names, separated by commas or as several words. Hyper-parameters follow a
 * name as they do in `--optimizer` of train-lm; several learning rates are separated by slashes.
 *
 * @param words Such as `["adamw,muon", "koala++:q=0.05,lr=0.01/0.02"]`.
 * @throws {UsageError} If a name or an option is unknown, a value is not allowed, or two are the same.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * const [adamw, koala] = parseContestants(["adamw,koala++:q=0.05,lr=0.01/0.02"]);
 * deepEqual([adamw.name, koala.name], ["adamw", "koala++:q=0.05,lr=0.01/0.02"]);
 * deepEqual([koala.optimizer.values, koala.rates], [{ q: 0.05 }, [0.01, 0.02]]);
 * ```
 */
export function parseContestants(words: readonly string[]): AskedContestant[] {
  const entries: { name: string; parts: string[] }[] = [];
  for (const part of words.flatMap((word) => word.split(",")).filter((part) => part !== "")) {
    const isOption = part.includes("=") && !part.includes(":");
    if (!isOption) {
      const [name, ...options] = part.split(":");
      entries.push({ name, parts: options });
    } else if (entries.length > 0) {
      entries[entries.length - 1].parts.push(part);
    } else {
      throw new UsageError(
        `--optimizers must begin with a name, received ${part}; options follow it: koala++:${part}`,
      );
    }
  }
  const fullNames = entries.map(({ name, parts }) => parts.length > 0 ? `${name}:${parts.join(",")}` : name);
  const twice = fullNames.find((full, i) => fullNames.indexOf(full) !== i);
  if (twice !== undefined) {
    throw new UsageError(`--optimizers must differ, received ${twice} twice; give one of them other options`);
  }
  return entries.map(({ name, parts }, i) => {
    const rates = parts.findLast((part) => part.startsWith("lr="));
    const others = parts.filter((part) => !part.startsWith("lr="));
    return {
      name: fullNames[i],
      optimizer: parseOptimizer("--optimizers", [name, ...others].join(":")),
      ...(rates ? { rates: parseRates(rates.slice(3).split("/")) } : {}),
    };
  });
}

/**
 * Reads learning rates of optimizers.
 *
 * @param words Such as `["adamw=0.001,0.003", "muon=0.02"]`.
 * @param optimizers Names that take part.
 * @throws {UsageError} If an optimizer does not take part, or a rate is none.
 */
export function parseGrids(
  words: readonly string[],
  optimizers: readonly string[],
): ReadonlyMap<string, readonly number[]> {
  return new Map(words.map((word) => {
    const at = word.lastIndexOf("=");
    const name = word.slice(0, Math.max(0, at));
    if (!optimizers.includes(name)) {
      throw new UsageError(
        `--lr must name an optimizer that takes part (${
          optimizers.join(", ")
        }) and its learning rates, such as --lr ${optimizers[0]}=0.001,0.003, received ${word}`,
      );
    }
    return [name, parseRates(word.slice(at + 1).split(","))];
  }));
}

/**
 * The contestants with their whole configuration.
 *
 * @param asked What {@linkcode parseContestants} read.
 * @param grids Learning rates by optimizer; those of an entry itself go first, and without any it is half the
 * optimizer's default, the default and twice that.
 * @param values What holds for all.
 * @param given The names of the options that were given; the hyper-parameters among them hold for the optimizers that
 * take them and have none of their own.
 * @throws {UsageError} If an option does not fit.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export async function contestantsFor(
  asked: readonly AskedContestant[],
  grids: ReadonlyMap<string, readonly number[]>,
  values: Omit<ConfigValues, "seed"> & Omit<OptimizerValues, "optimizer" | "lr">,
  given: ReadonlySet<string>,
): Promise<Contestant[]> {
  // Learning rates are those of the grids.
  const { lr: _, ...shared } = givenShortcuts(values, given);
  const resolved = asked.map(({ optimizer }) => ({ ...optimizer, values: withShared(optimizer, shared) }));
  const idle = Object.keys(shared).find((key) =>
    !resolved.some(({ name, values }) => isTaken(key, name, values))
  );
  if (idle !== undefined) {
    throw new UsageError(
      `${shortcutOf(idle)} must be a hyper-parameter of an optimizer that takes part (${
        asked.map(({ name }) => name).join(", ")
      }); leave it out`,
    );
  }
  return await Promise.all(resolved.map(async ({ name: optimizer, values: own, clip = values.clip }, i) => {
    const { name, rates } = asked[i];
    const standard = resolveOptimizer(optimizer, own);
    const grid = rates ?? grids.get(optimizer) ?? [0.5, 1, 2].map((factor) => factor * standard.lr);
    const chosen = { optimizer: { ...standard, lr: grid[0] }, clip };
    const config = await configWith({ ...values, seed: 0 }, chosen);
    runOptimizer(config); // hyper-parameters out of range are found before any work
    return { name, config, rates: grid };
  }));
}

/** An optimizer's own values, and of those that hold for all what it takes. */
function withShared({ name, values }: NamedOptimizer, shared: HyperValues): HyperValues {
  const all = { ...shared, ...values };
  return {
    ...Object.fromEntries(Object.entries(shared).filter(([key]) => isTaken(key, name, all))),
    ...values,
  };
}

function isTaken(key: string, optimizer: string, values: HyperValues): boolean {
  const scope = values["koala-scope"];
  return hyperParameters(optimizer, scope).some((p) => p.name === key || p.also === key);
}

function parseRates(texts: readonly string[]): number[] {
  const rates = texts.map(Number);
  const bad = texts.find((text, i) => text.trim() === "" || !(rates[i] > 0 && Number.isFinite(rates[i])));
  if (bad !== undefined) {
    throw new UsageError(`learning rates must be numbers greater than 0, received ${JSON.stringify(bad)}`);
  }
  return [...new Set(rates)].sort((a, b) => a - b);
}
