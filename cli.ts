/**
 * The commands, without a clone of the repository:
 *
 * ```sh
 * deno run --allow-read --allow-write --allow-env=XDG_RUNTIME_DIR,VK_DRIVER_FILES,VK_ICD_FILENAMES,DENO_WEBGPU_BACKEND \
 *   jsr:@koala-lm/koala-lm/cli train-lm --data my_texts/
 *
 * deno install --global --name koala-lm --allow-read --allow-write \
 *   --allow-env=XDG_RUNTIME_DIR,VK_DRIVER_FILES,VK_ICD_FILENAMES,DENO_WEBGPU_BACKEND jsr:@koala-lm/koala-lm/cli
 * koala-lm train-lm --data my_texts/
 * ```
 *
 * `koala-lm --help` lists them with the permissions that each needs, `koala-lm train-lm --help` the options of one.
 * The address may also be that of this file on any server that has the repository.
 *
 * @module
 */
import manifest from "./deno.json" with { type: "json" };
import { runTask, type Task } from "./tasks/command/command_line.ts";
import { type CommandName, COMMANDS, isCommand } from "./tasks/command/commands.ts";
import type { OptionTable } from "./tasks/command/option_table.ts";
import { closest } from "./tasks/command/spelling.ts";

/** Only what a command needs is loaded; the names are literal, so that Deno can cache and compile all of it. */
const LOAD: Readonly<Record<CommandName, () => Promise<{ readonly task: Task<OptionTable> }>>> = {
  "train-lm": () => import("./tasks/train_lm.ts"),
  "generate": () => import("./tasks/generate.ts"),
  "evaluate": () => import("./tasks/evaluate.ts"),
  "export-hf": () => import("./tasks/export_hf.ts"),
  "train-tokenizer": () => import("./tasks/train_tokenizer.ts"),
  "inspect-data": () => import("./tasks/inspect_data.ts"),
  "compare-optimizers": () => import("./tasks/compare_optimizers.ts"),
  "doctor": () => import("./tasks/doctor.ts"),
  "profile": () => import("./tasks/profile.ts"),
};

if (import.meta.main) await main(Deno.args);

async function main([name, ...args]: readonly string[]): Promise<void> {
  if (name === "--help" || name === "-h") console.log(help());
  else if (name === "--version" || name === "-V") console.log(`koala-lm ${manifest.version}`);
  else if (name !== undefined && isCommand(name)) await runTask((await LOAD[name]()).task, args);
  else {
    console.error(name === undefined ? help() : refusal(name));
    Deno.exitCode = 2;
  }
}

function help(): string {
  const commands = Object.entries(COMMANDS);
  const width = Math.max(...commands.map(([name]) => name.length));
  return [
    "Usage: koala-lm COMMAND [options]",
    "",
    "Trains small language models on WebGPU and hands them to Hugging Face's tools.",
    "",
    "Commands:",
    ...commands.map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "koala-lm COMMAND --help shows the options of a command, koala-lm --version the version.",
    "",
    "Install all of it with what most commands need:",
    `  deno install --global --name koala-lm ${
      COMMANDS["train-lm"].permissions.join(" ")
    } ${import.meta.url}`,
    "or start a command by itself, with deno run, this address and no more than it needs:",
    ...commands.map(([name, { permissions }]) => `  ${name.padEnd(width)}  ${permissions.join(" ")}`),
  ].join("\n");
}

function refusal(name: string): string {
  const meant = closest(name, Object.keys(COMMANDS));
  const what = name.startsWith("-") ? "the first word must be a command" : "there is no such command";
  return `error: ${what}, got ${name}${meant === undefined ? "" : `; did you mean ${meant}?`}\n` +
    "See all commands with: koala-lm --help";
}
