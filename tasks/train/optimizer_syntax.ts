/**
 * How the command line names an optimizer with hyper-parameters of its own: `koala++:q=0.05,adamw.beta2=0.99`.
 *
 * @module
 */
import type { HyperValue, HyperValues } from "../../training/run/hyper_parameters.ts";
import { hyperParameterNamed, hyperParameters } from "../../training/run/optimizer.ts";
import { OPTIMIZERS } from "../../training/run/optimizer_table.ts";
import { allowed, isAllowed, type Option } from "../command/option_table.ts";
import { UsageError } from "../command/options.ts";
import { closest } from "../command/spelling.ts";

/** The gradient clipping of a step, which may stand among the hyper-parameters of any optimizer. */
export const clipOption = {
  type: "number",
  min: 0,
  description: "largest gradient norm; 0 for none",
} as const;

/** An optimizer as the command line names it. */
export interface NamedOptimizer {
  /** A name of {@linkcode OPTIMIZERS}. */
  readonly name: string;
  /** The hyper-parameters that are given, by their first names. */
  readonly values: HyperValues;
  /** The gradient clipping, where it is given. */
  readonly clip?: number;
}

/**
 * Reads a name, and hyper-parameters after a colon.
 *
 * @param option The option, such as `--optimizer`, for messages.
 * @param text Such as `adamw` or `koala++:q=0.05,symmetric=false`.
 * @throws {UsageError} If the optimizer is unknown, does not take a hyper-parameter, or a value is not allowed.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 *
 * const { name, values } = parseOptimizer("--optimizer", "adamw:momentum=0.8,decay-all=true");
 * deepEqual([name, values], ["adamw", { "beta1": 0.8, "decay-all": true }]);
 * ```
 */
export function parseOptimizer(option: string, text: string): NamedOptimizer {
  const [name, ...rest] = text.split(":");
  const names = Object.keys(OPTIMIZERS);
  if (!names.includes(name)) {
    throw new UsageError(
      `${option} must be one of ${names.join(", ")}, got ${JSON.stringify(name)}${didYouMean(name, names)}`,
    );
  }
  const parts = rest.flatMap((part) => part.split(",")).map((part) => {
    const [, key, value] = /^([^=]+)=(.+)$/.exec(part) ?? [];
    if (value !== undefined) return [key, value] as const;
    throw new UsageError(
      `${option} ${text}: hyper-parameters must be written NAME=VALUE after the colon, got ${
        JSON.stringify(part)
      }`,
    );
  });
  // A scope decides whether there is an AdamW beside it.
  const scope = parts.findLast(([key]) => key === "koala-scope")?.[1];
  const values: Record<string, HyperValue> = {};
  let clip: number | undefined;
  for (const [key, value] of parts) {
    const where = `${option} ${text}: ${key}`;
    if (key === "clip") clip = parseValue(where, clipOption, value) as number;
    else {
      const found = takes(`${option} ${text}`, name, key, scope);
      values[found.name] = parseValue(where, found, value);
    }
  }
  return { name, values, ...(clip === undefined ? {} : { clip }) };
}

/**
 * The hyper-parameter of an optimizer that is meant, see {@linkcode hyperParameterNamed}.
 *
 * @param where Begins the message.
 * @throws {UsageError} If the optimizer does not take it; the message names what it takes.
 */
export function takes(
  where: string,
  name: string,
  key: string,
  scope?: unknown,
): { readonly name: string } & Option {
  try {
    return hyperParameterNamed(name, key, scope) as { readonly name: string } & Option;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const near = didYouMean(key, hyperParameters(name, scope).map((p) => p.name));
    throw new UsageError(`${where}: ${error.message}${near}`);
  }
}

function parseValue(where: string, option: Option, text: string): HyperValue {
  const isNumber = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
  const isSwitch = option.type === "boolean" && (text === "true" || text === "false");
  const value = option.type === "choice" ? text : isSwitch ? text === "true" : isNumber ? Number(text) : text;
  if (isAllowed(option, value)) return value;
  throw new UsageError(`${where} must be ${allowed(option)}, received ${JSON.stringify(text)}`);
}

function didYouMean(received: string, names: readonly string[]): string {
  const near = closest(received, names);
  return near === undefined ? "" : `; did you mean ${near}?`;
}
