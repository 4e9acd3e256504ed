/**
 * Hyper-parameters as a table names them: what a row of `optimizer.ts` says of each, and how values that are given
 * become those of a run.
 *
 * @module
 */
import type { Optimizer } from "../../optim/optimizer.ts";

/** A value of a hyper-parameter. */
export type HyperValue = number | string | boolean;

/** Values by the names of hyper-parameters, such as `weight-decay` or `adamw.lr`. */
export type HyperValues = Readonly<Record<string, HyperValue>>;

/** What a run starts from, on which defaults depend: random weights, a model's, or a model's that stay beside a LoRA. */
export type Purpose = "scratch" | "tuning" | "lora";

/** A default: a value, or what follows from the hyper-parameters before it in the row, and the same in words. */
export type Default = HyperValue | {
  readonly of: (earlier: HyperValues) => HyperValue;
  readonly words: string;
};

/** The values that are allowed. */
export type HyperRange =
  | { readonly type: "boolean" }
  | { readonly type: "choice"; readonly choices: readonly string[] }
  | {
    readonly type: "number" | "integer";
    readonly min?: number;
    readonly max?: number;
    readonly above?: number;
    readonly below?: number;
    /** Words allowed besides numbers. */
    readonly choices?: readonly string[];
  };

/** What the table says of a hyper-parameter. */
export type HyperParameter = HyperRange & {
  /** A phrase without a final period. */
  readonly description: string;
  /** Defaults of `train-lm`, which need not be the factory's; those that are absent are that of `scratch`. */
  readonly defaults: { readonly scratch: Default } & Partial<Record<Purpose, Default>>;
  /** Its name; default the factory's option in kebab-case. */
  readonly name?: string;
  /** A second name, under which it may be given too. */
  readonly also?: string;
};

/** A hyper-parameter and its name. */
export type NamedHyperParameter = HyperParameter & { readonly name: string };

/** A row of the table of optimizers. */
export interface OptimizerChoice {
  /** Makes it from the factory's options. */
  readonly make: (options: Readonly<Record<string, unknown>>) => Optimizer;
  /**
   * Which parameters it trains: all, the hidden weight matrices with AdamW for the rest, or what its hyper-parameter
   * `koala-scope` says.
   */
  readonly trains: "all" | "hidden" | "koala-scope";
  /** Its hyper-parameters by the factory's options, in the order in which defaults follow from each other. */
  readonly options: Readonly<Record<string, HyperParameter>>;
}

/** An optimizer of a run with all its hyper-parameters by name, as run.json records it. */
export interface OptimizerConfig {
  /** A name of the table. */
  readonly name: string;
  /** Peak learning rate. */
  readonly lr: number;
  /** The others; those of AdamW beside an optimizer of hidden matrices are called `adamw.lr` and so on. */
  readonly [hyperParameter: string]: HyperValue;
}

/**
 * A row of the table.
 *
 * @param make The factory.
 * @param trains See {@linkcode OptimizerChoice}.
 * @param options A line for each of the factory's options; one that is missing does not compile.
 */
export function optimizerChoice<Options>(
  make: (options: Options) => Optimizer,
  trains: OptimizerChoice["trains"],
  options: { readonly [Option in keyof Required<Options>]: HyperParameter },
): OptimizerChoice {
  return { make: make as OptimizerChoice["make"], trains, options };
}

/**
 * The hyper-parameters of a row by name, in its order.
 *
 * @param options The row's.
 * @param prefix Goes before each name; default nothing.
 */
export function named(options: OptimizerChoice["options"], prefix = ""): NamedHyperParameter[] {
  return Object.entries(options).map(([option, p]) => ({
    ...p,
    name: prefix + nameOf(option, p),
    ...(p.also === undefined ? {} : { also: prefix + p.also }),
  }));
}

/**
 * The factory's options from the values of a run; what is absent is left to the factory.
 *
 * @param options The row's.
 * @param values By name.
 * @param prefix Goes before each name; default nothing.
 */
export function factoryOptions(
  options: OptimizerChoice["options"],
  values: HyperValues,
  prefix = "",
): Record<string, HyperValue | undefined> {
  return Object.fromEntries(
    Object.entries(options).map(([option, p]) => [option, values[prefix + nameOf(option, p)]]),
  );
}

/**
 * Completes values with defaults.
 *
 * @param parameters What there is, in order.
 * @param given Values by name, all of them of `parameters`.
 * @param purpose What the run starts from.
 */
export function withDefaults(
  parameters: readonly NamedHyperParameter[],
  given: HyperValues,
  purpose: Purpose,
): HyperValues {
  const values: Record<string, HyperValue> = {};
  for (const { name, defaults } of parameters) {
    const standard = defaults[purpose] ?? defaults.scratch;
    values[name] = given[name] ?? (typeof standard === "object" ? standard.of(values) : standard);
  }
  return values;
}

/** A default in words. */
export function defaultWords(standard: Default): string {
  return typeof standard === "object" ? standard.words : String(standard);
}

function nameOf(option: string, { name }: HyperParameter): string {
  return name ?? option.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
