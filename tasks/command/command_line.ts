/**
 * Runs a command-line task: options, help, words for people and for programs, exit codes.
 *
 * @module
 */

import { withoutSecrets } from "../../files/address.ts";
import { asTyped, COMMANDS, isCommand, isInstalled } from "./commands.ts";
import { helpText } from "./help_text.ts";
import type { BooleanOption, OptionTable, OptionValues } from "./option_table.ts";
import { parseOptions, UsageError } from "./options.ts";
import { quietDriver } from "./quiet_driver.ts";

export type * from "./option_table.ts";
export * from "./options.ts";

/** A command-line task. */
export interface Task<Table extends OptionTable> {
  /** The task's name, as in `deno task NAME`. */
  name: string;
  /** What the task does, in a sentence or two. */
  summary: string;
  /** The options. With {@linkcode jsonOption} under the name `json`, results come as JSON when asked. */
  options: Table;
  /** Commands worth showing in the help, most useful first. Default: none. */
  examples?: readonly string[];
  /** Changes the command line before it is parsed. Default: it stays as it is. */
  rewrite?(args: readonly string[]): readonly string[];
  /** Does the work. A {@linkcode UsageError} from it means wrong usage, any other error failure. */
  main(options: OptionValues<Table>, context: TaskContext): void | Promise<void>;
}

/** What a task's `main` gets besides its options. */
export interface TaskContext {
  /** The camelCase names of options that the command line or the config file gave. */
  given: ReadonlySet<string>;
  /** Where the task's words and results go. */
  output: TaskOutput;
}

/** Words for people and a result for programs, each in its place. */
export interface TaskOutput {
  /** Whether `--json` was given. */
  readonly json: boolean;
  /** Prints a line for people: on standard output, or with `--json` on standard error. */
  say(line: string): void;
  /**
   * Gives the task's result, once: `text` for people, or with `--json` the document as one line of JSON, then
   * the only thing on standard output.
   *
   * @throws {Error} If a result was given before.
   */
  result(document: unknown, text?: string): void;
}

/** Where a task runs; tests put their own in place of the process's. */
export interface TaskEnvironment {
  /** The arguments after the task's name. Default: `Deno.args`. */
  args?: readonly string[];
  /** Prints a line on standard output. Default: `console.log`. */
  stdout?: (line: string) => void;
  /** Prints a line on standard error. Default: `console.error`. */
  stderr?: (line: string) => void;
  /** Reads the config file. Default: `Deno.readTextFileSync`. */
  readTextFile?: (path: string) => string;
}

/** The `json` option of tasks that report something. */
export const jsonOption = {
  type: "boolean",
  description: "print the result as one JSON document on standard output, alone there",
  group: "General",
} as const satisfies BooleanOption;

/**
 * Runs a task on the process's own arguments and ends the process. Exit codes: 0 done (or what `main` put into
 * `Deno.exitCode`), 1 failed, 2 called wrongly.
 *
 * @param task The task.
 * @param args The command line. Default: the process's own.
 * @returns Never; the process exits.
 */
export async function runTask<const Table extends OptionTable>(
  task: Task<Table>,
  args: readonly string[] = Deno.args,
): Promise<never> {
  quietDriver();
  Deno.exit(await executeTask(task, { args }) || Deno.exitCode);
}

/**
 * Runs a task and says how it went, without ending the process.
 *
 * Errors become one `error: message` on standard error, with the messages of their causes; stack traces appear
 * only with `--debug`.
 *
 * @param task The task.
 * @param environment Arguments and outputs. Default: the process's own.
 * @returns The exit code: 0 done, 1 failed, 2 called wrongly.
 */
export async function executeTask<const Table extends OptionTable>(
  task: Task<Table>,
  environment: TaskEnvironment = {},
): Promise<0 | 1 | 2> {
  const { args: written = Deno.args, stdout = console.log, stderr = console.error, readTextFile } =
    environment;
  const args = task.rewrite?.(written) ?? written;
  try {
    // Help wins over every mistake on the same line: who asks for help must get it.
    const end = args.indexOf("--");
    if ((end < 0 ? args : args.slice(0, end)).some((arg) => arg === "--help" || arg === "-h")) {
      const permissions = isCommand(task.name) ? COMMANDS[task.name].permissions : undefined;
      stdout(helpText({ ...task, permissions }, (text) => paint("1", text, Deno.stdout)));
      return 0;
    }
    const { values, given } = parseOptions(task.options, args, readTextFile);
    const json = (values as { json?: unknown }).json === true;
    await task.main(values, { given, output: taskOutput(json, stdout, stderr) });
    return 0;
  } catch (error) {
    stderr(`${paint("1;31", "error:", Deno.stderr)} ${explainError(error)}`);
    if (args.includes("--debug")) {
      stderr(withoutSecrets(error instanceof Error ? error.stack ?? "" : Deno.inspect(error)));
    }
    if (!(error instanceof UsageError)) return 1;
    stderr(asTyped(`See all options with: deno task ${task.name} --help`));
    return 2;
  }
}

/**
 * Reads a value that the command line gave, whose mistakes are wrong usage.
 *
 * @param option The option, such as `--size`, for the message.
 * @param read Reads it.
 * @returns What `read` returns.
 * @throws {UsageError} Where `read` throws a `RangeError`.
 */
export function usage<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(`${option}: ${error.message}`) : error;
  }
}

function taskOutput(
  json: boolean,
  stdout: (line: string) => void,
  stderr: (line: string) => void,
): TaskOutput {
  let hasResult = false;
  const print = json ? stderr : stdout;
  return {
    json,
    say(line) {
      try {
        print(line);
      } catch {
        // The terminal is gone, or nobody reads on: what is being done goes on, and is saved.
      }
    },
    result(document, text) {
      if (hasResult) throw new Error("a task must give one result, received a second");
      hasResult = true;
      if (json) stdout(JSON.stringify(document));
      else if (text !== undefined) stdout(text);
    },
  };
}

/**
 * An error in one message: its own, then those of its causes and of the errors it gathers.
 *
 * @param error Anything thrown.
 * @returns The message, with what to do where Deno's permissions stand in the way.
 */
export function explainError(error: unknown): string {
  const messages: string[] = [];
  const seen = new Set<unknown>();
  const collect = (error: unknown) => {
    if (error === undefined || seen.has(error)) return;
    seen.add(error);
    const message = messageOf(error);
    // Wrappers often quote their cause; saying it twice helps nobody.
    if (message !== "" && !messages.some((earlier) => earlier.includes(message))) messages.push(message);
    if (error instanceof AggregateError) error.errors.forEach(collect);
    if (error instanceof Error) collect(error.cause);
  };
  collect(error);
  return withoutSecrets(messages.join(": ")) || "unknown error";
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error === "string" ? error : Deno.inspect(error);
  if (error instanceof Deno.errors.NotCapable) {
    const [, access, flag] = /^Requires (.*), run again with the (--allow-[a-z]+) flag/.exec(error.message) ??
      [];
    const host = /^net access to "([^"]+)"$/.exec(access ?? "")?.[1];
    if (host !== undefined) {
      return `Deno did not allow net access to ${host}, as tasks have no network: ` +
        (isInstalled ? "run or install it" : "run the command that `deno task` prints first,") +
        ` with --allow-net=${host} added`;
    }
    if (flag !== undefined) {
      return `Deno did not allow ${access}: ` +
        (isInstalled
          ? `run or install it with ${flag} added; koala-lm --help lists what each command needs`
          : `the task's line in deno.json must have ${flag} for it, or run the file under tasks/ yourself with ` +
            `\`deno run ${flag} ...\``);
    }
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return `the system did not allow it: ${error.message}; check the owner and mode of the file or folder`;
  }
  return error.message || error.name;
}

/** Colour on a terminal, unless the environment has `NO_COLOR`. */
function paint(code: string, text: string, stream: { isTerminal(): boolean }): string {
  return !Deno.noColor && stream.isTerminal() ? `\x1b[${code}m${text}\x1b[0m` : text;
}
