/**
 * The commands: what each does, and what Deno must allow it.
 *
 * @module
 */

/** A command as the list of commands has it. */
export interface Command {
  /** What it does, in a line. */
  readonly summary: string;
  /** The least that Deno must allow for all of its options, as flags of `deno run`; no command needs the network. */
  readonly permissions: readonly string[];
}

const [READ, WRITE] = ["--allow-read", "--allow-write"];
/** Whatever opens a graphics driver: see `quietDriver` and `openGpu`. */
const DRIVER = "--allow-env=XDG_RUNTIME_DIR,VK_DRIVER_FILES,VK_ICD_FILENAMES,DENO_WEBGPU_BACKEND";

/** The commands by name, the most used first. Each is the file of its name in `tasks/`. */
export const COMMANDS = {
  "train-lm": {
    summary: "train a language model on text",
    permissions: [READ, WRITE, DRIVER],
  },
  "generate": {
    summary: "continue prompts with a trained model",
    permissions: [READ, DRIVER],
  },
  "evaluate": {
    summary: "measure loss, perplexity and bits per byte of a model on text",
    permissions: [READ, DRIVER],
  },
  "export-hf": {
    summary: "write a checkpoint as a Hugging Face folder to share, and push it",
    // The Hub alone knows which hosts large files go to. Without --push-to-hub the command gives both up.
    permissions: [READ, WRITE, "--allow-net", "--allow-env=HF_TOKEN,HF_ENDPOINT"],
  },
  "train-tokenizer": {
    summary: "train a byte-level BPE tokenizer",
    permissions: [READ, WRITE],
  },
  "inspect-data": {
    summary: "show what is in a corpus",
    permissions: [READ],
  },
  "compare-optimizers": {
    summary: "train with several optimizers and write a report",
    permissions: [READ, WRITE, DRIVER],
  },
  "doctor": {
    summary: "show the graphics adapter, test it and say what to do",
    // A report lands in the folder where it is started.
    permissions: [READ, `${WRITE}=.`, DRIVER],
  },
  "profile": {
    summary: "show where the time of a training step goes",
    permissions: [READ, DRIVER],
  },
} as const satisfies Readonly<Record<string, Command>>;

/** The name of a command. */
export type CommandName = keyof typeof COMMANDS;

/** Whether a command has this name. */
export function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}

/** How commands are typed: by `deno task` in a clone, else by the name under which `cli.ts` is installed. */
const PREFIX = Deno.mainModule.endsWith("/cli.ts") ? "koala-lm" : "deno task";

/** Whether the commands were started without a clone, by `cli.ts`. */
export const isInstalled: boolean = PREFIX === "koala-lm";

/**
 * A text as someone must read it who has started a command in another way than by `deno task`.
 *
 * @param text A text in which commands stand as in a clone, such as `go on with: deno task generate`.
 * @returns The text with the commands as they are typed here, such as `go on with: koala-lm generate`.
 */
export function asTyped(text: string): string {
  return text.replaceAll(/\bdeno task (?=[a-z])/g, `${PREFIX} `);
}
