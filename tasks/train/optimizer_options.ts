/**
 * The options of the optimizer and its learning rate, and what they say in a configuration.
 *
 * @module
 */
import { SCHEDULE_KINDS } from "../../optim/schedule.ts";
import { checkSameRun, type RunConfig } from "../../training/run/config.ts";
import {
  defaultWords,
  type HyperValue,
  type HyperValues,
  type NamedHyperParameter,
  type Purpose,
} from "../../training/run/hyper_parameters.ts";
import { hyperParameters, resolveOptimizer } from "../../training/run/optimizer.ts";
import { OPTIMIZERS, SCOPE } from "../../training/run/optimizer_table.ts";
import { type OptionValues, UsageError } from "../command/command_line.ts";
import { camelCase, type Option } from "../command/option_table.ts";
import { clipOption, type NamedOptimizer, parseOptimizer, takes } from "./optimizer_syntax.ts";

const OPTIM = "Optimizer";

/** Options that are short for a hyper-parameter of the optimizer. */
const SHORTCUTS = {
  "koala-scope": "koala-scope",
  "lr": "lr",
  "adamw-lr": "adamw.lr",
  "weight-decay": "weight-decay",
  "momentum": "momentum",
  "sigma": "sigma",
  "q": "q",
  "r": "r",
  "symmetric": "symmetric",
  "orthogonal": "orthogonal",
} as const;

/** The optimizers that take a hyper-parameter, and what they say of it. */
function takersOf(key: string): (readonly [optimizer: string, p: NamedHyperParameter])[] {
  return Object.keys(OPTIMIZERS).flatMap((optimizer) =>
    hyperParameters(optimizer).filter((p) => p.name === key || p.also === key).map((p) =>
      [optimizer, p] as const
    )
  );
}

/** Which defaults optimizers have for one purpose: of each, unless all have the same. */
function defaultsFor(purpose: Purpose, takers: ReturnType<typeof takersOf>): string {
  const words = takers.flatMap(([optimizer, { defaults }]) => {
    const standard = defaults[purpose];
    return standard === undefined ? [] : [[defaultWords(standard), optimizer]];
  });
  const groups = Map.groupBy(words, ([standard]) => standard);
  if (groups.size === 1 && words.length === Object.keys(OPTIMIZERS).length) return words[0][0];
  return [...groups].map(([standard, members]) => `${members.map(([, name]) => name).join(", ")} ${standard}`)
    .join("; ");
}

/** An option as the table has it: one of `--help`. */
function shortcut(key: string): Option {
  const takers = takersOf(key);
  const [[, { defaults: _, name: __, also: ___, ...option }]] = takers;
  const group = OPTIM;
  if (option.type === "boolean") return { ...option, group, default: true };
  const others = [["when fine-tuning", "tuning"], ["of a LoRA", "lora"]] as const;
  const notes = others.map(([words, purpose]) => [words, defaultsFor(purpose, takers)])
    .filter(([, defaults]) => defaults !== "").map(([words, defaults]) => `; ${words}: ${defaults}`);
  const description = `${option.description} (default: ${defaultsFor("scratch", takers)}${notes.join("")})`;
  return { ...option, group, description } as Option;
}

/** What each optimizer takes that no other option is short for, with its defaults. */
function furtherKeys(): string {
  const short = new Set<string>(Object.values(SHORTCUTS));
  return Object.keys(OPTIMIZERS).map((optimizer) => {
    const further = hyperParameters(optimizer).filter((p) =>
      !short.has(p.name) && !p.name.startsWith("adamw.") && !(p.also !== undefined && short.has(p.also))
    );
    return [optimizer, further] as const;
  }).filter(([, further]) => further.length > 0).map(([optimizer, further]) =>
    `${optimizer} ${further.map((p) => `${p.name}=${defaultWords(p.defaults.scratch)}`).join(" ")}`
  ).join("; ");
}

/** The optimizer. */
export const optimizerOptions = {
  "optimizer": {
    type: "string",
    placeholder: "NAME[:KEY=VALUE,...]",
    group: OPTIM,
    description: `one of ${Object.keys(OPTIMIZERS).join(", ")} (default: koala++, of a LoRA adamw), with ` +
      "hyper-parameters where they differ from the defaults: koala++:q=0.05,adamw.beta2=0.99; adamw. goes before those " +
      "of AdamW beside an optimizer of hidden weight matrices. Keys are the options below and, with their defaults: " +
      furtherKeys(),
  },
  ...Object.fromEntries(Object.entries(SHORTCUTS).map(([option, key]) => [option, shortcut(key)])) as {
    readonly [Name in keyof typeof SHORTCUTS]: Option;
  },
  "clip": { ...clipOption, default: 1, group: OPTIM },
} as const;

/** The learning rate over a run. */
export const scheduleOptions = {
  "schedule": {
    type: "choice",
    choices: SCHEDULE_KINDS,
    default: "warmup-cosine",
    group: OPTIM,
    description: "learning rate over the run",
  },
  "warmup": {
    type: "integer",
    min: 0,
    group: OPTIM,
    description: "steps of warm-up (default: 5% of the steps)",
  },
  "min-lr-ratio": {
    type: "number",
    min: 0,
    max: 1,
    default: 0.1,
    group: OPTIM,
    description: "last learning rate as a share of the peak",
  },
} as const;

/** Values that decide an optimizer. */
export type OptimizerValues = OptionValues<typeof optimizerOptions>;

/** The part of a configuration that is the optimizer's. */
export type ChosenOptimizer = Pick<RunConfig, "optimizer" | "clip">;

/**
 * The optimizer that the options ask for.
 *
 * @param values The options' values.
 * @param given The names of those that were given.
 * @param purpose What the run starts from; default random weights.
 * @throws {UsageError} If an option does not apply to the optimizer, or says what `--optimizer` says too.
 */
export function chosenOptimizer(
  values: OptimizerValues,
  given: ReadonlySet<string>,
  purpose: Purpose = "scratch",
): ChosenOptimizer {
  // Adapters learn faster with AdamW than with KOALA++, each at its best rate (measured on gpt2-nano and llama-nano).
  const asked = askedOptimizer(values, given, { name: purpose === "lora" ? "adamw" : "koala++" });
  return { optimizer: resolveOptimizer(asked.name, asked.values, purpose), clip: asked.clip ?? values.clip };
}

/**
 * Holds what the options ask of a run's optimizer against what the run has recorded.
 *
 * @throws {UsageError} As {@linkcode chosenOptimizer}.
 * @throws {RangeError} If they differ, see `checkSameRun`.
 */
export function checkSameOptimizer(
  values: OptimizerValues,
  given: ReadonlySet<string>,
  { optimizer: recorded, clip }: ChosenOptimizer,
): void {
  const named = values.optimizer === undefined ? recorded : parseOptimizer("--optimizer", values.optimizer);
  // Which options another optimizer takes is of no use.
  const asked = named.name === recorded.name
    ? askedOptimizer(values, given, recorded)
    : { values: {}, clip: undefined };
  checkSameRun({ ...recorded, optimizer: recorded.name, clip }, {
    optimizer: named.name,
    ...asked.values,
    ...(asked.clip === undefined ? {} : { clip: asked.clip }),
  });
}

/** What the options say of an optimizer before any default; of that in `standard` without `--optimizer`. */
function askedOptimizer(
  values: OptimizerValues,
  given: ReadonlySet<string>,
  standard: { readonly name: string } & HyperValues,
): NamedOptimizer {
  const asked = values.optimizer === undefined
    ? { name: standard.name, values: {} }
    : parseOptimizer("--optimizer", values.optimizer);
  const shortcuts = givenShortcuts(values, given);
  const scope = { ...standard, ...shortcuts, ...asked.values }[SCOPE.name];
  const all: Record<string, HyperValue> = { ...asked.values };
  for (const [key, value] of Object.entries(shortcuts)) {
    const option = shortcutOf(key);
    const { name } = takes(option, asked.name, key, scope);
    if (Object.hasOwn(asked.values, name)) throw saidTwice(option, name);
    all[name] = value;
  }
  for (const key of Object.keys(asked.values)) takes("--optimizer", asked.name, key, scope);
  if (asked.clip !== undefined && given.has("clip")) throw saidTwice("--clip", "clip");
  return { ...asked, values: all, ...(given.has("clip") ? { clip: values.clip } : {}) };
}

/** The hyper-parameters for which a shortcut was given. */
export function givenShortcuts(
  values: Readonly<Record<string, unknown>>,
  given: ReadonlySet<string>,
): HyperValues {
  return Object.fromEntries(
    Object.entries(SHORTCUTS).filter(([option]) => given.has(camelCase(option)))
      .map(([option, key]) => [key, values[camelCase(option)] as HyperValue]),
  );
}

/** The option that is short for a hyper-parameter. */
export function shortcutOf(key: string): string {
  return `--${Object.entries(SHORTCUTS).find(([, name]) => name === key)![0]}`;
}

function saidTwice(option: string, key: string): UsageError {
  return new UsageError(`${option} and the ${key} of --optimizer say the same; give one of them`);
}
