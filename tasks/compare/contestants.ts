/**
 * Optimizers with options and learning rates, as a comparison's command line names them.
 *
 * @module
 */
import { OPTIMIZERS, runOptimizer } from "../../training/run/optimizer.ts";
import type { Contestant } from "../../training/compare/comparison.ts";
import { type OptionValues, parseOptions, UsageError } from "../command/command_line.ts";
import { closest } from "../command/spelling.ts";
import { optimizerOptions } from "../train/optimizer_options.ts";
import { type ConfigValues, newConfig } from "../train/train_lm_options.ts";

const { optimizer: _optimizer, lr: _lr, ...entryOptions } = optimizerOptions;

/** The options that an optimizer may carry in a comparison, and that hold for all where they stand alone. */
export { entryOptions };

/** An optimizer with options, as the command line names it. */
export interface AskedContestant {
  /** As it was written, such as `koala++:q=0.05,sigma=1`. */
  readonly name: string;
  /** A name of {@linkcode OPTIMIZERS}. */
  readonly optimizer: string;
  /** Its own options. */
  readonly options: Partial<OptionValues<typeof entryOptions>>;
  /** Its own learning rates, ascending, where it has any. */
  readonly rates?: readonly number[];
}

/**
 * Reads the optimizers of a comparison: names, separated by commas or as several words. Options follow a name
 * after a colon, and since they have an equals sign, commas may separate them too; learning rates are separated
 * by slashes.
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
 * deepEqual([koala.options, koala.rates], [{ q: 0.05 }, [0.01, 0.02]]);
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
    checkName(name);
    const full = fullNames[i];
    const rates = parts.filter((part) => part.startsWith("lr=")).at(-1);
    const others = parts.filter((part) => !part.startsWith("lr="));
    try {
      const { values, given } = parseOptions(entryOptions, others.map((part) => `--${part}`));
      const options = Object.fromEntries(Object.entries(values).filter(([key]) => given.has(key)));
      return {
        name: full,
        optimizer: name,
        options,
        ...(rates ? { rates: parseRates(rates.slice(3).split("/")) } : {}),
      };
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      throw new UsageError(`--optimizers ${full}: ${error.message}`);
    }
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
 * @throws {UsageError} If an option does not fit.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export async function contestantsFor(
  asked: readonly AskedContestant[],
  grids: ReadonlyMap<string, readonly number[]>,
  values: Omit<ConfigValues, "optimizer" | "lr" | "seed">,
): Promise<Contestant[]> {
  return await Promise.all(asked.map(async ({ name, optimizer, options, rates }) => {
    const lr = OPTIMIZERS[optimizer].lr;
    const grid = rates ?? grids.get(optimizer) ?? [0.5, 1, 2].map((factor) => factor * lr);
    const config = await newConfig({ ...values, ...options, optimizer, lr: grid[0], seed: 0 });
    runOptimizer(config); // hyper-parameters out of range are found before any work
    return { name, config, rates: grid };
  }));
}

function checkName(name: string): void {
  const names = Object.keys(OPTIMIZERS);
  if (names.includes(name)) return;
  const near = closest(name, names);
  throw new UsageError(
    `--optimizers must be names of ${names.join(", ")}, received ${JSON.stringify(name)}${
      near ? `; did you mean ${near}?` : ""
    }`,
  );
}

function parseRates(texts: readonly string[]): number[] {
  const rates = texts.map(Number);
  const bad = texts.find((text, i) => text.trim() === "" || !(rates[i] > 0 && Number.isFinite(rates[i])));
  if (bad !== undefined) {
    throw new UsageError(`learning rates must be numbers greater than 0, received ${JSON.stringify(bad)}`);
  }
  return [...new Set(rates)].sort((a, b) => a - b);
}
