/**
 * Python for interoperability tests: the packages of `requirements.txt` in a virtual environment beside this
 * file, made on first use. Tests that use it need `--allow-run=python3` and no other permission for it.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

const IN_VENV = fileURLToPath(new URL("in_venv.py", import.meta.url));

/**
 * Makes sure that Python and the packages are there; the first time this takes about a minute.
 *
 * @returns `null` if they are, else why not. The reason is also printed, so that a skipped test says why.
 *
 * @example Skip without Python
 * ```ts
 * import { runPython, whyNoPython } from "./python.ts";
 *
 * const ignore = await whyNoPython() !== null;
 * Deno.test({ name: "Python adds", ignore, fn: async () => console.log(await runPython("-c", ["print(1 + 1)"])) });
 * ```
 */
export function whyNoPython(): Promise<string | null> {
  return reason ??= prepare();
}

/**
 * Whether a package of `requirements-optional.txt` is there.
 *
 * @param name What Python imports.
 * @returns `null` if it is, else why not, which is also printed.
 */
export async function whyNoPackage(name: string): Promise<string | null> {
  const problem = await whyNoPython();
  if (problem !== null) return problem;
  const failure = await runPython("-c", [`import ${name}`]).then(() => null, (error: Error) => error.message);
  if (failure !== null) console.log(`skipped: interoperability with ${name}, which cannot be imported`);
  return failure;
}

let reason: Promise<string | null> | undefined;

async function prepare(): Promise<string | null> {
  let problem: string;
  try {
    // The reason is the last line of what it says.
    const { success, stderr } = await new Deno.Command("python3", { args: [IN_VENV] }).output();
    if (success) return null;
    problem = new TextDecoder().decode(stderr).trim().split("\n").at(-1) ?? "no reason given";
  } catch (error) {
    problem = (error as Error).message;
  }
  console.log(`skipped: Python interoperability, since Python or its packages are not available: ${problem}`);
  return problem;
}

/**
 * Runs a Python script in the environment.
 *
 * @param script Path of the script, or an interpreter's option such as `-c`.
 * @param args Its arguments.
 * @returns What it printed on standard output.
 * @throws {Error} If it fails, with what it printed on standard error.
 */
export async function runPython(script: string | URL, args: readonly string[] = []): Promise<string> {
  const path = script instanceof URL ? fileURLToPath(script) : script;
  const command = new Deno.Command("python3", { args: [IN_VENV, path, ...args] });
  const { success, code, stdout, stderr } = await command.output();
  if (success) return new TextDecoder().decode(stdout);
  throw new Error(`${path} must succeed, got exit code ${code}: ${new TextDecoder().decode(stderr)}`);
}
