/**
 * Parses a command line and a `--config` file by a task's table of options.
 *
 * @module
 */

import { parseArgs } from "node:util";
import {
  allowed,
  camelCase,
  isAllowed,
  type Option,
  type OptionTable,
  type OptionValues,
} from "./option_table.ts";
import { closest } from "./spelling.ts";

/** The task was called wrongly: exit code 2. Its message says what must hold and what was received. */
export class UsageError extends Error {
  /** Always `"UsageError"`. */
  override name = "UsageError";
}

/** Options that every task has. */
export const commonOptions = {
  config: {
    type: "string",
    placeholder: "FILE",
    description: 'read options from a JSON file, such as {"steps": 300}; the command line wins',
    group: "General",
  },
  debug: { type: "boolean", description: "show stack traces of errors", group: "General" },
  help: { type: "boolean", description: "show this help (also -h)", group: "General" },
} as const satisfies OptionTable;

/** A parsed command line. */
export interface ParsedOptions<Table extends OptionTable> {
  /** The values, defaults filled in. */
  values: OptionValues<Table>;
  /** The camelCase names that the command line or the config file gave. */
  given: ReadonlySet<string>;
}

/**
 * Parses a command line by a table.
 *
 * @param table The task's options; {@linkcode commonOptions} are understood besides.
 * @param args The arguments after the task's name.
 * @param readTextFile Reads the config file. Default: `Deno.readTextFileSync`.
 * @returns The values under camelCase names. The last of repeated values wins, unless the option is `multiple`.
 * @throws {UsageError} If an option is unknown, a value is not allowed, a required option is missing, or the
 * config file cannot be read.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 *
 * const table = { "batch-size": { type: "integer", min: 1, default: 8, description: "sequences" } } as const;
 * equal(parseOptions(table, ["--batch-size=16"]).values.batchSize, 16);
 * ```
 */
export function parseOptions<const Table extends OptionTable>(
  table: Table,
  args: readonly string[],
  readTextFile: (path: string) => string = Deno.readTextFileSync,
): ParsedOptions<Table> {
  const all: OptionTable = { ...table, ...commonOptions };
  const texts = textsByName(all, args);
  const config = texts.get("config");
  const fromConfig = config === undefined
    ? new Map<string, unknown>()
    : readConfig(table, parseValue("config", all.config, config) as string, readTextFile);

  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const [name, option] of Object.entries(table)) {
    const key = camelCase(name);
    const text = texts.get(name);
    if (text !== undefined) values[key] = parseValue(name, option, text);
    else if (fromConfig.has(name)) values[key] = fromConfig.get(name);
    if (values[key] !== undefined) given.add(key);
    else if (option.type !== "boolean" && option.required) {
      throw new UsageError(`option --${name} is required`);
    } else values[key] = defaultOf(option);
  }
  return { values: values as OptionValues<Table>, given };
}

function defaultOf(option: Option): unknown {
  if (option.type === "boolean") return option.default ?? false;
  if (!option.multiple) return option.default;
  return option.default === undefined ? [] : [option.default];
}

/** What the command line says of each option, before its type is looked at: texts, or true and false. */
function textsByName(table: OptionTable, args: readonly string[]): Map<string, (string | boolean)[]> {
  // parseArgs must know which options take a value; everything else is checked here for better messages.
  const options = Object.fromEntries(
    Object.entries(table).map(([name, { type }]) => {
      return [name, { type: type === "boolean" ? "boolean" as const : "string" as const }];
    }),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const found = new Map<string, (string | boolean)[]>();
  let mayContinue: string | undefined; // The multiple option to which further bare values belong.
  for (const token of tokens) {
    if (token.kind === "positional" && mayContinue !== undefined) {
      found.get(mayContinue)!.push(token.value);
      continue;
    }
    if (token.kind !== "option") {
      const what = token.kind === "positional" ? token.value : "--";
      throw new UsageError(
        `unexpected argument ${JSON.stringify(what)}; values follow an option: --name value`,
      );
    }
    const negated = !Object.hasOwn(table, token.name) && token.name.startsWith("no-");
    const name = token.rawName === "-h" ? "help" : negated ? token.name.slice(3) : token.name;
    const option = Object.hasOwn(table, name) ? table[name] : undefined;
    if (option === undefined || (token.rawName !== "-h" && !token.rawName.startsWith("--"))) {
      throw new UsageError(
        `unknown option ${token.rawName}${didYouMean(token.name, Object.keys(table), "--")}`,
      );
    }
    if (negated && (option.type !== "boolean" || token.value !== undefined)) {
      const remedy = option.type === "boolean" ? `--no-${name} takes no value` : `--${name} takes a value`;
      throw new UsageError(`option ${token.rawName} is not a switch: ${remedy}`);
    }
    // `--out --steps 9` forgot the value of --out; parseArgs would take "--steps" for it.
    const swallowed = token.inlineValue === false && /^--[a-z][a-z0-9-]*(=|$)/i.test(token.value ?? "");
    if (option.type !== "boolean" && (token.value === undefined || swallowed)) {
      const hint = swallowed
        ? `, received ${token.value}; a value of that shape is written --${name}=VALUE`
        : "";
      throw new UsageError(`option --${name} must have a value, ${allowed(option)}${hint}`);
    }
    const multiple = option.type !== "boolean" && option.multiple === true;
    const value = token.value ?? !negated;
    found.set(name, multiple ? [...found.get(name) ?? [], value] : [value]);
    mayContinue = multiple ? name : undefined;
  }
  return found;
}

function parseValue(name: string, option: Option, texts: readonly (string | boolean)[]): unknown {
  const values = texts.map((text) => {
    const isNumber = typeof text === "string" && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
    const isNumeric = option.type === "integer" || option.type === "number";
    const isSwitch = option.type === "boolean" && (text === "true" || text === "false");
    const value = isNumeric && isNumber ? Number(text) : isSwitch ? text === "true" : text;
    if (!isAllowed(option, value)) {
      throw new UsageError(`option --${name} must be ${allowed(option)}, received ${JSON.stringify(text)}`);
    }
    return value;
  });
  return option.type !== "boolean" && option.multiple ? values : values[values.length - 1];
}

function readConfig(
  table: OptionTable,
  path: string,
  readTextFile: (path: string) => string,
): Map<string, unknown> {
  let content: unknown;
  try {
    content = JSON.parse(readTextFile(path));
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new UsageError(`config file ${path} must be JSON: ${error.message}`);
    }
    if (error instanceof Deno.errors.NotFound) {
      throw new UsageError(`cannot read config file ${path}: there is no such file`);
    }
    throw new UsageError(`cannot read config file ${path}`, { cause: error });
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new UsageError(`config file ${path} must hold a JSON object of options, such as {"steps": 300}`);
  }
  const found = new Map<string, unknown>();
  for (const [key, value] of Object.entries(content)) {
    const names = Object.keys(table);
    const name = names.find((name) => name === key || camelCase(name) === key);
    const where = `config file ${path}: key ${JSON.stringify(key)}`;
    if (name === undefined) {
      throw new UsageError(
        `${where} is not an option${didYouMean(key, names, "")}; there are ${names.join(", ")}`,
      );
    }
    if (found.has(name)) {
      throw new UsageError(`${where} is given twice, as ${name} and as ${camelCase(name)}`);
    }
    const option = table[name];
    const multiple = option.type !== "boolean" && option.multiple === true;
    const parts = multiple && Array.isArray(value) ? value : [value];
    if (!parts.every((part) => isAllowed(option, part))) {
      const list = multiple ? ", or an array of such" : "";
      throw new UsageError(`${where} must be ${allowed(option)}${list}, received ${JSON.stringify(value)}`);
    }
    found.set(name, multiple ? parts : value);
  }
  return found;
}

function didYouMean(received: string, names: readonly string[], prefix: string): string {
  const name = closest(received, names);
  return name === undefined ? "" : `; did you mean ${prefix}${name}?`;
}
