/**
 * A child process that measures in a page of headless Chromium: `child.ts koala`, `child.ts jax SPECIFIER` or
 * `child.ts tfjs SPECIFIER BACKEND_SPECIFIER`. It passes questions on to the page, and the page's answers back.
 *
 * @module
 */
import { join } from "node:path";
import { bundle, openChromium, serve } from "../../tests/browser/chromium.ts";
import type { Answer } from "../protocol.ts";
import { relay } from "../serve.ts";

const [name, ...specifiers] = Deno.args;
const beside = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);

/** What each page runs. Peers are named by their specifiers, so that the project's lock file knows nothing of them. */
const pages: Record<string, () => string> = {
  koala: () => `import ${beside("./koala_page.ts")};`,
  jax: () =>
    `import * as jax from "${specifiers[0]}";
import { jaxCases } from ${beside("../peers/jax_cases.mjs")};
import { answers } from ${beside("../answers.ts")};
globalThis.answer = answers("webgpu", await jaxCases(jax, "webgpu"));`,
  tfjs: () =>
    `import * as tf from "${specifiers[0]}";
import "${specifiers[1]}";
import { tfjsCases } from ${beside("../peers/tfjs_cases.mjs")};
import { answers } from ${beside("../answers.ts")};
globalThis.answer = answers("webgpu", await tfjsCases(tf, "webgpu"));`,
};

const folder = await Deno.makeTempDir();
await Deno.writeTextFile(join(folder, "page.ts"), pages[name]());
await bundle([join(folder, "page.ts")], folder);
const chromium = await openChromium();
const server = serve(`<!doctype html><script type="module" src="/page.js"></script>`, folder);
const page = await chromium.newPage();
const failed = new Promise<never>((_, reject) => {
  page.on("pageerror", reject);
  page.on("crash", () => reject(new Error("the page crashed")));
});
await page.goto(server.url);
await Promise.race([page.waitForFunction("globalThis.answer"), failed]);

await relay(async (line) => {
  const answer = await Promise.race([page.evaluate(`answer(${JSON.stringify(line)})`), failed]) as Answer;
  return "value" in answer && JSON.parse(line).ask === "hello"
    ? { value: `${answer.value}, ${chromium.version}` }
    : answer;
}, async () => {
  await chromium[Symbol.asyncDispose]();
  await Deno.remove(folder, { recursive: true });
});
