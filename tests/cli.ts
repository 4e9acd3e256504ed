/** Runs tasks as a user does: in a process of their own, with exactly the permissions that deno.json gives. */
import { equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TensorToWrite } from "../checkpoint/safetensors/safetensors.ts";
import type { LanguageModel } from "../models/model.ts";
import { declareParameters } from "../training/run/load_weights.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));

/** What a task printed and how it ended. */
export interface TaskResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command of a task; `permissions` are flags of Deno's beside those that deno.json gives. */
export function taskCommand(
  name: string,
  args: readonly string[],
  permissions: readonly string[] = [],
): string[] {
  const [, command, ...words] = (tasks[name] as string).split(" ");
  return [Deno.execPath(), command, ...permissions, ...words, ...args];
}

/** Starts a task, see {@linkcode taskCommand}. */
export function startTask(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
  permissions: readonly string[] = [],
): Deno.ChildProcess {
  return startCommand(taskCommand(name, args, permissions), env);
}

/** Runs a command that can write no more than so many KiB into a file: what comes after fails, as on a full disk. */
export async function runWithFullDisk(command: readonly string[], kibibytes: number): Promise<TaskResult> {
  // The limit's signal would kill the process; ignored, the write itself fails. sh counts in blocks of 512 bytes.
  const limited = ["sh", "-c", 'trap "" XFSZ && ulimit -f "$0" && exec "$@"', String(2 * kibibytes)];
  return resultOf(await startCommand([...limited, ...command]).output());
}

/** Runs a task with something on its standard input. */
export async function pipeToTask(
  name: string,
  args: readonly string[],
  input: Uint8Array<ArrayBuffer>,
): Promise<TaskResult> {
  const child = startCommand(taskCommand(name, args), {}, "piped");
  const output = child.output();
  // A task that refuses to read closes the pipe; its result shows what happened.
  await new Blob([input]).stream().pipeTo(child.stdin).catch(() => {});
  return resultOf(await output);
}

/** Starts a command, with nothing on its standard input unless that is piped. */
export function startCommand(
  [command, ...args]: readonly string[],
  env: Record<string, string> = {},
  stdin: "null" | "piped" = "null",
): Deno.ChildProcess {
  return new Deno.Command(command, {
    args,
    cwd: root,
    env: { NO_COLOR: "1", ...env },
    stdin,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs a task to its end. */
export async function runTask(
  name: string,
  args: readonly string[],
  env: Record<string, string> = {},
  permissions: readonly string[] = [],
): Promise<TaskResult> {
  return resultOf(await startTask(name, args, env, permissions).output());
}

/** Starts a task, sends it a signal `delay` milliseconds after `path` has appeared, and waits for its end. */
export async function signalTask(
  name: string,
  args: readonly string[],
  { path, delay, signal }: { path: string; delay: number; signal: Deno.Signal },
): Promise<TaskResult> {
  const child = startTask(name, args);
  let ended = false;
  const output = child.output().then(resultOf).finally(() => ended = true);
  while (!ended && !await exists(path)) await sleep(5);
  await sleep(delay);
  // A task that has ended already cannot be signalled; its result shows what happened.
  if (!ended) child.kill(signal);
  return await output;
}

function resultOf({ code, stdout, stderr }: Deno.CommandOutput): TaskResult {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A temporary folder with a small corpus and a tiny model, and the options that train it in seconds. */
export interface TinyRun extends AsyncDisposable {
  readonly dir: string;
  readonly options: string[];
}

/** Makes a {@linkcode TinyRun}. Its files are always the same. */
export async function tinyRun(): Promise<TinyRun> {
  const dir = await Deno.makeTempDir();
  const words = "the sun rose over a quiet sea and seven old men spoke of rain while their boats lay still"
    .split(" ");
  const sentence = (i: number) =>
    Array.from({ length: 9 }, (_, j) => words[(i * i + j * (i % 7 + 1)) % words.length]);
  const text = Array.from({ length: 1200 }, (_, i) => `${sentence(i).join(" ")}.${i % 9 === 8 ? "\n\n" : ""}`)
    .join(" ");
  await Deno.writeTextFile(join(dir, "corpus.txt"), text);
  const config = { model_type: "gpt2", n_positions: 32, n_embd: 32, n_layer: 1, n_head: 2 };
  await Deno.writeTextFile(join(dir, "config.json"), JSON.stringify(config));
  const paths = { data: "corpus.txt", model: "config.json", cache: "cache" };
  const options = [
    ...Object.entries(paths).flatMap(([option, name]) => [`--${option}`, join(dir, name)]),
    ..."--vocab-size 300 --seq-len 16 --batch-size 4 --steps 24 --sample-tokens 4".split(" "),
    ..."--log-every 2 --eval-every 8 --eval-batches 2 --save-every 4 --keep 1".split(" "),
  ];
  return { dir, options, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

/** The last checkpoint of a {@linkcode TinyRun}. */
export const finalStep = "checkpoints/step-00000024";

/** The loss of every step with its number, from the metrics of a run. */
export async function losses(run: string): Promise<unknown[]> {
  const lines = (await Deno.readTextFile(join(run, "metrics.jsonl"))).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line)).filter((m) => "loss" in m).map((
    { step, loss },
  ) => [step, loss]);
}

/** Holds the last checkpoints of two runs of the same length to the same bytes. */
export async function sameWeights(a: string, b: string): Promise<void> {
  for (const file of ["model.safetensors", "optimizer.safetensors"]) {
    const [x, y] = await Promise.all([a, b].map((run) => Deno.readFile(join(run, finalStep, file))));
    // Not deepEqual: its message would list the bytes.
    ok(
      x.length === y.length && x.every((byte, i) => byte === y[i]),
      `${file} must be the same byte for byte`,
    );
  }
}

/** Whether something is at that path. */
export async function exists(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

/** Holds a refusal to one clear message, the right exit code and no stack trace. */
export function refused({ code, stderr, stdout }: TaskResult, exit: 1 | 2, message: RegExp): void {
  equal(code, exit, `${message} expected, got exit code ${code} and ${stderr}${stdout}`);
  match(stderr, message);
  ok(!/^\s+at /m.test(stderr), `no stack trace: ${stderr}`);
  const errors = stderr.split("\n").filter((line) => line.startsWith("error: "));
  equal(errors.length, 1, stderr);
}

/** What is in a folder, the cache aside. */
export async function filesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).filter((n) => n !== "cache").sort();
}

/** A model's weights, all zero. */
export function zeros(model: LanguageModel): TensorToWrite[] {
  return declareParameters(model).all.map(({ name, shape }) => {
    return { name, shape, dtype: "F32", data: new Uint8Array(shape.reduce((a, b) => a * b, 4)) };
  });
}
