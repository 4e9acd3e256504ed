/**
 * `deno task test`: every check of the project, from cheap to dear, each in its own `deno` process with as few
 * permissions as it needs. A failure does not stop the rest. The last line is `N passed, N failed`; each test
 * counts as one, and so does each check that is not made of tests, such as formatting.
 *
 * Names after `deno task test` choose checks: `deno task test lint ops`. Tests that take many minutes are run by
 * `deno task test --slow` only, after everything else.
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { quietDriver } from "../tasks/command/quiet_driver.ts";

/** One process to run, and how to count it. */
interface Check {
  name: string;
  args: string[];
  /** Counted by the summary of `deno test`, instead of as one. */
  isTests: boolean;
  /** Variables that it needs, or why it cannot run here, which is then said. */
  prepare?: () => Promise<Record<string, string> | string>;
}

interface Result {
  name: string;
  passed: number;
  failed: number;
  skipped: string[];
}

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** Puts Dawn in the place of Deno's WebGPU. */
const DAWN = "tests/dawn/dawn.ts";
/** Runs tests in headless Chromium. */
const BROWSER = "tests/browser/run.ts";
const unitFolders = [
  "files",
  "hub",
  "gpu",
  "ops",
  "optim",
  "models",
  "data",
  "checkpoint",
  "training",
  "tasks",
  "bench",
];

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: readonly string[]): Promise<number> {
  const names = args.filter((arg) => arg !== "--slow");
  const all = await listChecks(args.includes("--slow"));
  const unknown = names.find((name) => !all.some((check) => check.name === name));
  if (unknown !== undefined) {
    console.error(
      `error: a check must be one of ${all.map(({ name }) => name).join(", ")}, received ${unknown}`,
    );
    return 2;
  }
  quietDriver(); // for the checks, which have the environment of this process
  const results: Result[] = [];
  for (const check of all.filter(({ name }) => names.length === 0 || names.includes(name))) {
    console.log(`\n# ${check.name}: deno ${check.args[0]}`);
    results.push(await runCheck(check));
  }
  const failed = results.filter((result) => result.failed > 0);
  const skipped = new Set(results.flatMap(({ name, skipped }) => skipped.map((line) => `${name}: ${line}`)));
  console.log();
  if (skipped.size > 0) console.log(["Skipped:", ...skipped].join("\n  "));
  if (failed.length > 0) console.log(`Failed: ${failed.map(({ name }) => name).join(", ")}`);
  const sum = (key: "passed" | "failed") => results.reduce((total, result) => total + result[key], 0);
  console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
  return failed.length > 0 ? 1 : 0;
}

/** All checks in the order in which they run; those in `tests/slow` only if they are asked for. */
async function listChecks(slow: boolean): Promise<Check[]> {
  const { exports } = JSON.parse(Deno.readTextFileSync(join(root, "deno.json")));
  const entryPoints = Object.values<string>(typeof exports === "string" ? [exports] : exports);
  const { npmCache } = JSON.parse(await capture(["info", "--json"]));
  const temporary = ["TMPDIR", "TMP", "TEMP"].map((name) => Deno.env.get(name)).find(Boolean) ?? "/tmp";

  // Golden files may lie beside the checkout, and the default corpus lies in Deno's npm cache.
  const read = `--allow-read=${[".", "../shared/golden", npmCache, temporary].join(",")}`;
  const write = `--allow-write=${temporary}`;
  const permissions: Record<string, string[]> = {
    gpu: [],
    hub: [read, write, "--allow-net=127.0.0.1"],
    data: [read, write, "--allow-net=127.0.0.1"],
    optim: [read],
    ops: [read],
    models: [read],
    bench: [read, write, "--allow-run"],
    // Not --allow-run=deno: Deno then refuses to start anything where LD_LIBRARY_PATH is set, as on many machines
    // with CUDA, and whoever may run deno may run everything anyway.
    house: [read, write, "--allow-run", "--allow-net=127.0.0.1"],
    // The doctor's test looks for the driver that is installed.
    "end to end": [`${read},/usr/share/vulkan`, write, "--allow-run", "--allow-net=127.0.0.1"],
    interop: [read, write, "--allow-run"],
    "old driver": [read, write, "--allow-run"],
    dawn: ["--no-lock", `--preload=${DAWN}`, `--allow-ffi=${npmCache}`, read],
    // Of the package that drives Chromium: it asks for its variables by looking at all of them, and for the system's kind.
    browser: [
      `${read},/usr/bin`,
      write,
      "--allow-run",
      "--allow-net=127.0.0.1",
      "--allow-env",
      "--allow-sys",
    ],
    slow: [read, write, "--allow-run", "--allow-env=CORPUS_BYTES"],
  };
  const tests = (name: string, paths: string[], ...more: string[]): Check => ({
    name,
    // Types are checked for all files at once before; --doc also runs the examples in the documentation.
    args: [
      "test",
      "--no-check",
      "--no-prompt",
      "--permit-no-files",
      "--doc",
      "--sanitize-ops",
      "--sanitize-resources",
      "--trace-leaks",
      ...more,
      ...permissions[name] ?? [read, write],
      ...paths,
    ],
    isTests: true,
  });
  const check = (name: string, ...args: string[]): Check => ({ name, args, isTests: false });
  // A pattern: beside paths of more than one folder Deno does not heed the file's own path.
  const withoutTiles = "--ignore=**/tiled_kernels_test.ts";
  // What computes on the GPU, once more on another driver, and the kernels on two other WebGPUs.
  const oldDriver = ["ops", "optim", "models", "training/step", ...sourcesIn("tests/old_driver")];
  const dawn = ["ops", "optim", "training/step/golden_test.ts", "tests/dawn/dawn_test.ts"];
  // The longest first: files are run two at a time.
  const browser = [
    "training/step/golden_test.ts",
    "ops",
    "optim/koala/koala_plus_plus_test.ts",
    "tests/browser/browser_test.ts",
  ];
  return [
    check("fmt", "fmt", "--check"),
    check("lint", "lint"),
    check("check", "check", "--quiet"),
    check("doc", "doc", "--lint", ...entryPoints),
    ...unitFolders.filter((name) => sourcesIn(name).length > 0).map((name) => tests(name, [name])),
    tests("house", ["mod.ts", ...sourcesIn("tests/house")]),
    // They mostly wait for the processes that they start.
    tests("end to end", sourcesIn("tests/tasks"), "--parallel"),
    tests("interop", sourcesIn("tests/interop").filter((path) => path.endsWith("_test.ts"))),
    // All without tiles of attention, which take minutes to compile and are tested above.
    {
      ...tests("old driver", oldDriver, withoutTiles),
      prepare: unpackOldDriver,
    },
    {
      ...tests("dawn", dawn, withoutTiles),
      prepare: () => tryPreload(permissions.dawn, DAWN),
    },
    {
      name: "browser",
      args: ["run", "--no-prompt", "--no-lock", ...permissions.browser, BROWSER, withoutTiles, ...browser],
      isTests: true,
    },
    ...slow ? [tests("slow", sourcesIn("tests/slow"))] : [],
    check("publish", "publish", "--dry-run", "--allow-dirty"),
  ].filter(({ isTests, args }) => !isTests || !args[args.length - 1].startsWith("--"));
}

/** The TypeScript files directly in a folder, none if it is not there. */
function sourcesIn(folder: string): string[] {
  try {
    return [...Deno.readDirSync(join(root, folder))].filter(({ name }) => name.endsWith(".ts"))
      .map(({ name }) => `${folder}/${name}`).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Mesa 22.3 beside the system's: the variable by which Vulkan takes it, or why it cannot be had. */
async function unpackOldDriver(): Promise<Record<string, string> | string> {
  try {
    const args = [join(root, "tests/old_driver/unpack.sh")];
    const { success, stdout, stderr } = await new Deno.Command("sh", { args }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    return success ? { VK_DRIVER_FILES: text(stdout) } : text(stderr).split("\n").at(-1)!;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Runs what a check preloads, which fetches its package: no variables, or why it cannot be had. */
async function tryPreload(flags: readonly string[], path: string): Promise<Record<string, string> | string> {
  const args = ["run", "--no-prompt", ...flags, path];
  const { success, stderr } = await new Deno.Command("deno", { args, cwd: root }).output();
  if (success) return {};
  // deno-lint-ignore no-control-regex
  const lines = new TextDecoder().decode(stderr).replaceAll(/\x1b\[[0-9;]*m/g, "").split("\n");
  return lines.find((line) => line.startsWith("error: ")) ?? lines.join(" ");
}

async function capture(args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command("deno", { args, cwd: root, stderr: "inherit" }).output();
  return new TextDecoder().decode(stdout);
}

/**
 * Runs a check, passing on what it prints while it prints it.
 *
 * A suite that a signal ends after all of its tests have passed has passed, and that is said: Mesa 22.3 was seen to
 * abort in one of ten processes while they exit.
 */
async function runCheck({ name, args, isTests, prepare }: Check): Promise<Result> {
  const env = await prepare?.();
  if (typeof env === "string") return { name, passed: 0, failed: 0, skipped: [env] };
  const child = new Deno.Command("deno", { args, cwd: root, env, stdin: "null", stdout: "piped" }).spawn();
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of child.stdout) {
    const piece = decoder.decode(bytes, { stream: true });
    text += piece;
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(Deno.stdout.writeSync(rest));
  }
  const { success, signal } = await child.status;
  if (!isTests) return { name, passed: success ? 1 : 0, failed: success ? 0 : 1, skipped: [] };
  const { passed, failed, skipped, allPassed } = readReport(text);
  if (signal && allPassed) console.log(`\n${name}: ended by ${signal} after all of its tests had passed`);
  // A process may fail without a failed test: it did not start, or it was killed.
  const isBroken = !success && !(signal && allPassed);
  return { name, passed, failed: isBroken ? Math.max(1, failed) : failed, skipped };
}

/**
 * Reads what `deno test` printed: its last summary, such as `FAILED | 12 passed (3 steps) | 1 failed | 2 ignored`,
 * whether that says that all went well, the tests that were ignored, and lines by which tests say that and why they
 * skip something.
 */
export function readReport(text: string): Omit<Result, "name"> & { allPassed: boolean } {
  // deno-lint-ignore no-control-regex
  const lines = text.replaceAll(/\x1b\[[0-9;]*m/g, "").split(/\r?\n/);
  const summary = lines.findLast((line) => /^(ok|FAILED) \| \d+ passed/.test(line)) ?? "";
  const count = (what: string) => Number(new RegExp(`(\\d+) ${what}`).exec(summary)?.[1] ?? 0);
  const skipped = lines.flatMap((line) => {
    const ignored = /^(.*) \.\.\. ignored \(/.exec(line);
    const said = /^skipped: (.*)/.exec(line);
    return ignored ? [`test ignored: ${ignored[1]}`] : said ? [said[1]] : [];
  });
  return { passed: count("passed"), failed: count("failed"), skipped, allPassed: summary.startsWith("ok") };
}
