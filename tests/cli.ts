/** Runs tasks as a user does: in a process of their own, with exactly the permissions that deno.json gives. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));

/** What a task printed and how it ended. */
export interface TaskResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a task. */
export function startTask(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Deno.ChildProcess {
  const [, ...words] = (tasks[name] as string).split(" ");
  return new Deno.Command(Deno.execPath(), {
    args: [...words, ...args],
    cwd: root,
    env: { NO_COLOR: "1", ...env },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs a task to its end. */
export async function runTask(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<TaskResult> {
  const { code, stdout, stderr } = await startTask(name, args, env).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** A folder with a small corpus and a tiny model, and the options that train it in seconds. */
export async function tinyRun(): Promise<
  { dir: string; options: string[]; [Symbol.asyncDispose](): Promise<void> }
> {
  const dir = await Deno.makeTempDir();
  const words = "the sun rose over a quiet sea and seven old men spoke of rain while their boats lay still"
    .split(" ");
  const sentence = (i: number) =>
    Array.from({ length: 9 }, (_, j) => words[(i * i + j * (i % 7 + 1)) % words.length]);
  const text = Array.from({ length: 900 }, (_, i) => `${sentence(i).join(" ")}.${i % 9 === 8 ? "\n\n" : ""}`)
    .join(" ");
  await Deno.writeTextFile(join(dir, "corpus.txt"), text);
  const config = { model_type: "gpt2", n_positions: 32, n_embd: 32, n_layer: 1, n_head: 2 };
  await Deno.writeTextFile(join(dir, "config.json"), JSON.stringify(config));
  const options = [
    ...[
      "--data",
      join(dir, "corpus.txt"),
      "--model",
      join(dir, "config.json"),
      "--cache",
      join(dir, "cache"),
    ],
    ...[
      "--vocab-size",
      "300",
      "--seq-len",
      "16",
      "--batch-size",
      "4",
      "--steps",
      "24",
      "--sample-tokens",
      "4",
    ],
    ...["--log-every", "2", "--eval-every", "8", "--eval-batches", "2", "--save-every", "4", "--keep", "1"],
  ];
  return { dir, options, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

/** Whether something is at that path. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}
