/**
 * Headless Chromium with its software adapter, SwiftShader, and a server on this machine that gives it pages: WebGPU is
 * there for pages of HTTPS and of 127.0.0.1 only.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** What drives it. Not a literal in the import, so that the package is not fetched for users. */
export const PLAYWRIGHT: string = "npm:playwright-core@1.65.1";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

const FLAGS = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  // A busy machine is no reason to end the process that has the adapter.
  "--disable-gpu-watchdog",
  // Else SwiftShader zeroes a workgroup's memory by an instruction for each value of it, which take four seconds to
  // compile for 16 KiB; so, Dawn does it by a loop.
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
];

/** What is used of a page of Playwright's. */
export interface Page {
  goto(url: string): Promise<unknown>;
  /** Runs an expression, and waits for what it promises. */
  evaluate(expression: string): Promise<unknown>;
  exposeFunction(name: string, run: (...args: never[]) => unknown): Promise<void>;
  waitForFunction(expression: string): Promise<unknown>;
  on(event: "crash", run: () => void): void;
  on(event: "pageerror", run: (error: Error) => void): void;
  on(event: "console", run: (message: { type(): string; text(): string }) => void): void;
  close(): Promise<void>;
}

/** A running browser. */
export interface Chromium extends AsyncDisposable {
  /** Such as `Chromium 156.0.8078.108`. */
  readonly version: string;
  /** Opens a page. */
  newPage(): Promise<Page>;
}

/** Something that is not there; the message says what, and what to do. */
export class Missing extends Error {}

/**
 * Starts Chromium.
 *
 * @throws {Missing} If it is not installed, or what drives it cannot be fetched.
 */
export async function openChromium(): Promise<Chromium> {
  const find = "command -v chromium || command -v chromium-browser || command -v google-chrome";
  const { stdout } = await new Deno.Command("sh", { args: ["-c", find] }).output();
  const executablePath = new TextDecoder().decode(stdout).trim();
  if (executablePath === "") {
    throw new Missing("Chromium is not installed: apt-get install chromium");
  }
  // Else the package looks for Windows in files that Deno lets nobody read who may not do everything.
  Deno.env.set("__IS_WSL_TEST__", "1");
  const { chromium } = await import(PLAYWRIGHT).catch(({ message }) => {
    throw new Missing(`${PLAYWRIGHT}, which drives Chromium, cannot be fetched: ${message.split("\n")[0]}`);
  });
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  return {
    version: `Chromium ${browser.version()}`,
    newPage: () => browser.newPage(),
    [Symbol.asyncDispose]: () => browser.close(),
  };
}

/**
 * Bundles modules for pages, each with all that it imports except `node:` modules.
 *
 * @param paths From the root of the checkout.
 * @param folder Where they go, by the same paths with `.js`.
 * @throws {Missing} If what bundles them cannot be fetched.
 */
export async function bundle(paths: readonly string[], folder: string): Promise<void> {
  const args = ["bundle", "--quiet", "--no-lock", "--platform=browser", "--outdir", folder, ...paths];
  const env = { NO_COLOR: "1" };
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, env, cwd: root }).output();
  if (success) return;
  const text = new TextDecoder().decode(stderr).trim();
  const missing = /Failed loading .* for package "@esbuild.*/.exec(text);
  if (missing) throw new Missing(`what bundles tests for pages cannot be fetched: ${missing[0]}`);
  throw new Error(`the bundle cannot be made: ${text}`);
}

/** A server of files. */
export interface Server extends AsyncDisposable {
  /** Its address, without a slash at the end. */
  readonly url: string;
}

/**
 * Serves `page`, the folder of bundles, and the golden files: the whole set if it is beside the checkout.
 *
 * @param page The HTML of every path that names no file.
 * @param folder The bundles.
 */
export function serve(page: string, folder: string): Server {
  const fileOf = (path: string): string | undefined => {
    const golden = /^(\/shared)?.*\/golden\/(.*)$/.exec(path);
    if (golden) return join(root, golden[1] ? "../shared/golden" : "tests/golden", golden[2]);
    return path.endsWith(".js") ? join(folder, path) : undefined;
  };
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async ({ url }) => {
    const path = fileOf(new URL(url).pathname);
    if (path === undefined) return new Response(page, { headers: { "content-type": "text/html" } });
    try {
      const headers = {
        "content-type": path.endsWith(".js") ? "text/javascript" : "application/octet-stream",
      };
      return new Response(await Deno.readFile(path), { headers });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return new Response(null, { status: 404 });
      throw error;
    }
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
