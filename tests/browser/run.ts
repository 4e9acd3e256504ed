/**
 * `run.ts [--ignore=PATTERN] PATH...`: runs test files in headless Chromium, each in a page of its own, with subgroups and
 * without, and prints what `deno test` would print.
 *
 * @module
 */
import { join } from "node:path";
import { bundle, type Chromium, Missing, openChromium, serve } from "./chromium.ts";
import type { Outcome } from "./page.ts";

const PAGE = "tests/browser/page.ts";
const ASSERT = "tests/browser/assert.ts";

/** Pages at a time: while one computes references, another's kernels run or are compiled. */
const PAGES = 2;

/** Whether a test file opens devices with subgroups and without by itself, so that once is enough. */
const opensBoth = (path: string) => path.endsWith("/golden_test.ts");

/** What a page has. Test files import `node:assert/strict`, which bundles leave as it is. */
const HTML = `<!doctype html>
<script type="importmap">${
  JSON.stringify({ imports: { "node:assert/strict": `/${ASSERT.replace(/ts$/, "js")}` } })
}</script>
<script type="module" src="/${PAGE.replace(/ts$/, "js")}"></script>`;

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: readonly string[]): Promise<number> {
  const ignored = args.filter((arg) => arg.startsWith("--ignore=")).map((arg) => arg.split("/").at(-1));
  const paths = args.filter((arg) => !arg.startsWith("--")).flatMap((path) => [...testsIn(path)])
    .filter((path) => !ignored.some((name) => path.endsWith(`/${name}`)));
  const began = performance.now();
  const folder = await Deno.makeTempDir();
  try {
    await using chromium = await openChromium();
    await bundle([PAGE, ASSERT, ...paths], folder);
    await using server = serve(HTML, folder);
    const features = await featuresOf(chromium, server.url);
    console.log(`running ${paths.length} files in ${chromium.version}`);
    const modes = features.includes("subgroups") ? [true, false] : [false];
    const runs = modes.flatMap((subgroups) =>
      paths.filter((path) => subgroups === modes[0] || !opensBoth(path)).map((path) => ({ path, subgroups }))
    );
    const outcomes: Outcome[] = [];
    const work = async () => {
      for (let run = runs.shift(); run; run = runs.shift()) {
        outcomes.push(...await runFile(chromium, server.url, run.path, run.subgroups));
      }
    };
    await Promise.all(Array.from({ length: PAGES }, work));
    return summarize(outcomes, performance.now() - began);
  } catch (error) {
    if (!(error instanceof Missing)) throw error;
    console.log(`skipped: ${error.message}`);
    return 0;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The test files of a folder and the folders in it, or the file itself. */
function* testsIn(path: string): Generator<string> {
  if (path.endsWith(".ts")) return yield path;
  for (const { name, isDirectory } of [...Deno.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1)) {
    if (isDirectory || name.endsWith("_test.ts")) yield* testsIn(join(path, name));
  }
}

/** What the adapter has. */
async function featuresOf(chromium: Chromium, url: string): Promise<string[]> {
  const page = await chromium.newPage();
  await page.goto(url);
  const features = await page.evaluate("navigator.gpu?.requestAdapter().then((a) => a && [...a.features])");
  await page.close();
  if (!features) throw new Missing(`${chromium.version} gives no WebGPU adapter, SwiftShader's included`);
  return features as string[];
}

/** Runs the tests of a file, and then prints what became of each. */
async function runFile(
  chromium: Chromium,
  url: string,
  path: string,
  subgroups: boolean,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  const lines = [`running tests from ./${path}`];
  const report = (outcome: Outcome) => {
    const name = `${outcome.name} ${subgroups ? "[subgroups]" : "[no subgroups]"}`;
    outcomes.push({ ...outcome, name });
    lines.push(`${name} ... ${outcome.result} (${formatTime(outcome.ms)})`);
  };
  const page = await chromium.newPage();
  try {
    page.on("console", (message) => message.type() === "log" && lines.push(message.text()));
    await page.exposeFunction("report", report);
    await page.goto(url);
    const crash = new Promise((_, reject) => page.on("crash", () => reject(new Error("the page crashed"))));
    const script = `/${path.replace(/ts$/, "js")}`;
    await Promise.race([page.evaluate(`runTests(${JSON.stringify(script)}, ${subgroups}, report)`), crash]);
  } catch (error) {
    report({ name: path, result: "FAILED", ms: 0, error: String(error) });
  }
  await page.close();
  console.log(lines.join("\n"));
  return outcomes;
}

/** Prints the errors and the line that counts, as `deno test` does; gives the exit code. */
function summarize(outcomes: readonly Outcome[], ms: number): number {
  const count = (result: Outcome["result"]) => outcomes.filter((outcome) => outcome.result === result).length;
  const failures = outcomes.filter(({ result }) => result === "FAILED");
  if (failures.length > 0) console.log("\n ERRORS");
  for (const { name, error } of failures) console.log(`\n${name}\nerror: ${error}`);
  const isOk = failures.length === 0 && outcomes.length > 0;
  console.log(
    `\n${isOk ? "ok" : "FAILED"} | ${count("ok")} passed | ${failures.length} failed | ` +
      `${count("ignored")} ignored (${formatTime(ms)})`,
  );
  return isOk ? 0 : 1;
}

function formatTime(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)}ms` : `${Math.round(ms / 1000)}s`;
}
