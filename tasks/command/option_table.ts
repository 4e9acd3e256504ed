/**
 * The table of options that a task has: what an option may be, which values it allows, and which TypeScript
 * type its value has.
 *
 * @module
 */

/** What every option has. */
export interface OptionBase {
  /** A short description for the help: a phrase without a final period. */
  description: string;
  /** What stands for the value in the help. Default: by type (`N`, `X`, `TEXT`, `NAME`). */
  placeholder?: string;
  /** The heading under which the help lists the option. Default: `Options`. */
  group?: string;
}

/** An option that takes a value. */
export interface ValueBase<Value> extends OptionBase {
  /** The value when none is given. Without it the value is `undefined`, or `[]` if `multiple`. */
  default?: Value;
  /** May be given more than once, or with several values (`--data a.txt b.txt`): the value is an array. */
  multiple?: boolean;
  /** A run without it is refused. */
  required?: boolean;
}

/** A text option. */
export interface StringOption extends ValueBase<string> {
  /** Any text. */
  type: "string";
  /** Whether the empty text is a value; by default it is taken for a slip, such as an unset shell variable. */
  allowEmpty?: boolean;
}

/** A numeric option. */
export interface NumberOption extends ValueBase<number | string> {
  /** Whole numbers only, or any finite number. */
  type: "integer" | "number";
  /** The least value allowed. */
  min?: number;
  /** The greatest value allowed. */
  max?: number;
  /** The value must be greater than this. */
  above?: number;
  /** The value must be less than this. */
  below?: number;
  /** Words allowed besides numbers, such as `auto`. */
  choices?: readonly string[];
}

/** A switch: `--name` and `--no-name`. */
export interface BooleanOption extends OptionBase {
  /** On or off. */
  type: "boolean";
  /** Default: false. */
  default?: boolean;
}

/** One of several words. */
export interface ChoiceOption extends ValueBase<string> {
  /** One of `choices`. */
  type: "choice";
  /** The words allowed. */
  choices: readonly string[];
}

/** Any option. */
export type Option = StringOption | NumberOption | BooleanOption | ChoiceOption;

/** A task's options by name; names are kebab-case, without the leading `--`. */
export type OptionTable = Readonly<Record<string, Option>>;

/** `"batch-size"` to `"batchSize"`. */
export type CamelCase<Name extends string> = Name extends `${infer Head}-${infer Tail}`
  ? `${Head}${Capitalize<CamelCase<Tail>>}`
  : Name;

/** The type of one value of an option. */
export type SingleValue<O extends Option> = O extends BooleanOption ? boolean
  : O extends StringOption ? string
  : O extends ChoiceOption ? O["choices"][number]
  : O extends { choices: readonly (infer Word)[] } ? number | Word
  : number;

/** The type of what an option gives: one value, several, or perhaps none. */
export type OptionValue<O extends Option> = O extends BooleanOption ? boolean
  : O extends { multiple: true } ? readonly SingleValue<O>[]
  : O extends { required: true } | { default: number | string } ? SingleValue<O>
  : SingleValue<O> | undefined;

/** The parsed values of a table of options, under camelCase names. */
export type OptionValues<Table extends OptionTable> = {
  -readonly [Name in keyof Table & string as CamelCase<Name>]: OptionValue<Table[Name]>;
};

/**
 * Whether a value of the right JavaScript type is allowed.
 *
 * @param option The option.
 * @param value One value: a number where the option is numeric, not its text.
 * @returns Whether the option allows it.
 */
export function isAllowed(option: Option, value: unknown): boolean {
  switch (option.type) {
    case "boolean":
      return typeof value === "boolean";
    case "string":
      return typeof value === "string" && (value !== "" || option.allowEmpty === true);
    case "choice":
      return typeof value === "string" && option.choices.includes(value);
    default: {
      if (typeof value === "string") return option.choices?.includes(value) ?? false;
      const { min = -Infinity, max = Infinity, above = -Infinity, below = Infinity, type } = option;
      return typeof value === "number" &&
        (type === "integer" ? Number.isSafeInteger(value) : isFinite(value)) &&
        value >= min && value <= max && value > above && value < below;
    }
  }
}

/**
 * The values an option allows, in words.
 *
 * @param option The option.
 * @returns Such as `an integer of at least 1` or `one of koala++, adamw`.
 */
export function allowed(option: Option): string {
  switch (option.type) {
    case "boolean":
      return "true or false";
    case "string":
      return option.allowEmpty ? "a text" : "a text that is not empty";
    case "choice":
      return `one of ${option.choices.join(", ")}`;
    default: {
      const { min, max, above, below } = option;
      const range = min !== undefined && max !== undefined ? `from ${min} to ${max}` : [
        min !== undefined && `of at least ${min}`,
        above !== undefined && `greater than ${above}`,
        max !== undefined && `of at most ${max}`,
        below !== undefined && `less than ${below}`,
      ].filter(Boolean).join(" and ");
      const number = `${option.type === "integer" ? "an integer" : "a number"}${range && ` ${range}`}`;
      return [number, ...option.choices ?? []].join(" or ");
    }
  }
}

/**
 * The name under which an option's value is found.
 *
 * @param name A kebab-case name, such as `batch-size`.
 * @returns The camelCase one, such as `batchSize`.
 */
export function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
