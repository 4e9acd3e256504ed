/**
 * The `--help` text of a task, made from its table of options.
 *
 * @module
 */

import { asTyped } from "./commands.ts";
import { allowed, type Option, type OptionTable } from "./option_table.ts";
import { commonOptions } from "./options.ts";

/** What a help text is made of. */
export interface HelpContent {
  /** The task's name, as in `deno task NAME`. */
  name: string;
  /** What the task does, in a sentence or two. */
  summary: string;
  /** The task's own options. */
  options: OptionTable;
  /** Commands worth showing, most useful first. Default: none. */
  examples?: readonly string[];
  /** The flags of `deno run` that it needs. Default: they are not mentioned. */
  permissions?: readonly string[];
}

/** Longest line of a help text. */
const COLUMNS = 100;
/** Longest option that still shares its line with its description. */
const WIDEST_LABEL = 30;

/**
 * Makes the help text of a task.
 *
 * @param content The task and its options.
 * @param bold Marks headings. Default: leaves them as they are.
 * @returns Lines of at most 100 characters, without a final newline: usage, summary, the options in columns
 * under their headings in the order of the table, examples and permissions. Only the last two may be longer: a
 * broken command cannot be copied.
 */
export function helpText(content: HelpContent, bold: (text: string) => string = (text) => text): string {
  const { name, summary, options, examples = [], permissions = [] } = content;
  const all: [string, Option][] = Object.entries({ ...options, ...commonOptions });
  const groups = Map.groupBy(all, ([, option]) => option.group ?? "Options");
  // A task may add to the general options, but they still come last.
  const general = groups.get("General")!;
  groups.delete("General");
  groups.set("General", general);
  const width = Math.min(WIDEST_LABEL, Math.max(...all.map((entry) => labelOf(...entry).length))) + 2;
  const lines = [
    `${bold("Usage:")} ${asTyped(`deno task ${name}`)} [options]`,
    "",
    ...wrap(summary, COLUMNS),
  ];
  for (const [group, entries] of groups) {
    lines.push("", bold(`${group}:`));
    for (const [name, option] of entries) {
      const label = labelOf(name, option);
      const [first, ...rest] = wrap(describe(option), COLUMNS - 2 - width);
      if (label.length + 2 <= width) lines.push(`  ${label.padEnd(width)}${first}`);
      else lines.push(`  ${label}`, " ".repeat(2 + width) + first);
      lines.push(...rest.map((line) => " ".repeat(2 + width) + line));
    }
  }
  if (examples.length > 0) {
    lines.push(
      "",
      bold("Examples:"),
      ...examples.map((example) => `  ${asTyped(example)}`),
    );
  }
  if (permissions.length > 0) lines.push("", `${bold("Deno's permissions:")} ${permissions.join(" ")}`);
  return lines.join("\n");
}

function labelOf(name: string, option: Option): string {
  if (option.type === "boolean") return option.default ? `--[no-]${name}` : `--${name}`;
  const placeholders = { string: "TEXT", integer: "N", number: "X", choice: "NAME" };
  return `--${name} ${option.placeholder ?? placeholders[option.type]}${option.multiple ? "..." : ""}`;
}

function describe(option: Option): string {
  if (option.type === "boolean") {
    return option.default ? `${option.description} (default: on)` : option.description;
  }
  const notes = [];
  if (option.type !== "string") {
    const words = allowed(option);
    // "an integer" alone says no more than the placeholder does.
    if (words !== "an integer" && words !== "a number") notes.push(words);
  }
  if (option.required) notes.push("required");
  if (option.default !== undefined) notes.push(`default: ${option.default === "" ? '""' : option.default}`);
  return notes.length === 0 ? option.description : `${option.description} (${notes.join("; ")})`;
}

/** Breaks text between words into lines of at most `width` characters; a longer word has its own line. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [""];
  for (const word of text.split(/\s+/).filter((word) => word !== "")) {
    const line = lines[lines.length - 1];
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
