/** The commands, one table of them, and `cli.ts` from a server, with the permissions of the table. */
import { deepEqual, equal, match } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, type CommandName, COMMANDS } from "../../tasks/command/commands.ts";
import { finalStep, refused, type TaskResult, tinyRun } from "../cli.ts";
import { serveSources } from "../source_server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const commands: [string, Command][] = Object.entries(COMMANDS);

Deno.test("the table of commands has the tasks and permissions of deno.json and the files in tasks/", async () => {
  const { tasks }: { tasks: Record<string, string> } = JSON.parse(
    await Deno.readTextFile(join(root, "deno.json")),
  );
  const { bench: _, card: __, test: ___, ...rest } = tasks;
  deepEqual(Object.keys(rest).sort(), commands.map(([name]) => name).sort());
  for (const [name, { permissions }] of commands) {
    const words = rest[name].split(" ");
    deepEqual(words.filter((word) => word.startsWith("--allow-")), permissions, name);
    equal(words.at(-1), `tasks/${name.replaceAll("-", "_")}.ts`);
  }
  const files = [...Deno.readDirSync(join(root, "tasks"))].filter(({ isFile }) => isFile);
  deepEqual(
    files.map(({ name }) => name).sort(),
    commands.map(([name]) => `${name.replaceAll("-", "_")}.ts`).sort(),
  );
});

/** Runs `cli.ts` from an address in a folder, with no configuration and these permissions alone. */
async function runCli(address: string, cwd: string, flags: readonly string[], args: readonly string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // The port may have served another checkout once; npm packages come from Deno's cache.
    args: [
      "run",
      "--no-prompt",
      "--no-config",
      "--no-lock",
      `--reload=${address}`,
      ...flags,
      `${address}/cli.ts`,
    ]
      .concat(args),
    cwd,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).replaceAll(/^Download .*\n/gm, "");
  return { code, stdout: text(stdout), stderr: text(stderr) } satisfies TaskResult;
}

Deno.test("cli.ts runs from a server, each command with exactly its permissions", async () => {
  await using server = serveSources();
  await using tiny = await tinyRun();
  const cli = (flags: readonly string[], ...args: string[]) =>
    runCli(`http://${server.host}`, tiny.dir, flags, args);
  const command = async (name: CommandName, ...args: string[]) => {
    const result = await cli(COMMANDS[name].permissions, name, ...args);
    equal(result.code, 0, `${name}: ${result.stderr}`);
    return result.stdout;
  };
  const train = ["--data", "corpus.txt", "--vocab-size", "300", "--out", "tokenizer.json"];
  match(await command("train-tokenizer", ...train), /^tokenizer\.json: 300 token ids$/m);
  const short = ["--tokenizer", "tokenizer.json", "--steps", "24", "--no-autotune", "--out", "run"];
  match(await command("train-lm", ...tiny.options, ...short), /^more: koala-lm generate --checkpoint run\//m);
  const checkpoint = join("run", finalStep);
  match(
    await command("generate", "--checkpoint", checkpoint, "--prompt", "the", "--max-tokens", "2"),
    /^the/,
  );
  equal(JSON.parse(await command("doctor", "--json")).self_test, "passed");
  // Its report has files that are no code.
  match(await command("compare-optimizers", "--help"), /^Usage: koala-lm compare-optimizers /);

  const [read] = COMMANDS["train-tokenizer"].permissions;
  refused(await cli([read], "train-tokenizer", ...train), 1, /install it with --allow-write added/);
});

Deno.test("cli.ts lists the commands, tells its version, and guesses what a wrong one meant", async () => {
  const cli = (...args: string[]) => runCli(`file://${root}`.replace(/\/$/, ""), root, [], args);
  const help = await cli("--help");
  equal(help.code, 0);
  for (const [name, { summary, permissions }] of commands) {
    match(help.stdout, new RegExp(`^  ${name} +${summary}$`, "m"));
    match(help.stdout, new RegExp(`^  ${name} +${permissions.join(" ")}$`, "m"));
  }
  const { version } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  equal((await cli("--version")).stdout, `koala-lm ${version}\n`);
  deepEqual(await cli(), { code: 2, stdout: "", stderr: help.stdout });
  refused(await cli("trainlm"), 2, /no such command, got trainlm; did you mean train-lm\?/);
  for (const [name, { permissions }] of commands) {
    const { code, stdout } = await cli(name, "--help");
    equal(code, 0, name);
    match(stdout, new RegExp(`^Usage: koala-lm ${name} `));
    match(stdout, new RegExp(`^Deno's permissions: ${permissions.join(" ")}$`, "m"));
  }
  refused(await cli("doctor", "--jsno"), 2, /See all options with: koala-lm doctor --help/);
});
