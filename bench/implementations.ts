/**
 * Who is measured: koala-lm and its peers, each in a process of its own. Peers are named here and nowhere else.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { PLAYWRIGHT } from "../tests/browser/chromium.ts";
import { Child, type Command, reason } from "./child.ts";

/** Somebody to measure. */
export interface Implementation {
  /** What the table calls it. */
  readonly name: string;
  /** npm packages that it needs, at exact versions; Deno keeps them in its cache, outside of the project. */
  readonly packages: readonly string[];
  /** How to start it. */
  readonly command: Command;
}

const JAX = "npm:@jax-js/jax@0.1.25";
const TFJS = ["npm:@tensorflow/tfjs@4.22.0", "npm:@tensorflow/tfjs-backend-webgpu@4.22.0"];

// No config and no lock: the project's own dependencies must stay as they are.
const isolated = ["--no-config", "--no-lock"];

function deno(script: string, args: readonly string[] = [], permissions: readonly string[] = []): Command {
  return {
    program: Deno.execPath(),
    args: ["run", "--no-prompt", "--cached-only", ...isolated, ...permissions, pathOf(script), ...args],
  };
}

/** Without leaving compiled files beside the scripts. */
function pythonCommand(program: string, script: string): Command {
  return { program, args: ["-B", pathOf(script)] };
}

function pathOf(script: string): string {
  return fileURLToPath(new URL(script, import.meta.url));
}

/** This library. */
export const koala: Implementation = {
  name: "koala-lm",
  packages: [],
  command: deno("./koala/worker.ts"),
};

/** jax-js on WebGPU. */
export const jaxWebGpu: Implementation = {
  name: "jax-js 0.1.25 WebGPU",
  packages: [JAX],
  command: deno("./peers/jax.mjs", [JAX, "webgpu"]),
};

/** jax-js on the CPU. */
export const jaxWasm: Implementation = {
  name: "jax-js 0.1.25 Wasm",
  packages: [JAX],
  command: deno("./peers/jax.mjs", [JAX, "wasm"]),
};

/** TensorFlow.js on WebGPU. It reads variables such as NODE_DEBUG and cannot do without. */
export const tensorflow: Implementation = {
  name: "TensorFlow.js 4.22 WebGPU",
  packages: TFJS,
  command: deno("./peers/tfjs.mjs", [...TFJS, "webgpu"], ["--allow-env"]),
};

/** Runs in a page of a headless Chromium of its own, which wants variables, the system's kind and a folder of its own. */
function inBrowser(implementation: Implementation, page: string): Implementation {
  const permissions = ["run", "env", "sys", "read", "write", "net=127.0.0.1"].map((name) =>
    `--allow-${name}`
  );
  const { name, packages } = implementation;
  return {
    name,
    packages: [...packages, PLAYWRIGHT],
    command: deno("./browser/child.ts", [page, ...packages], permissions),
  };
}

/** This library and the peers on Chromium's WebGPU. */
export const browserImplementations: readonly Implementation[] = [
  inBrowser(koala, "koala"),
  inBrowser(jaxWebGpu, "jax"),
  inBrowser(tensorflow, "tfjs"),
];

/**
 * PyTorch on the CPU.
 *
 * @param python The Python that has it.
 */
export function torch(python: string): Implementation {
  return {
    name: "PyTorch CPU",
    packages: [],
    command: pythonCommand(python, "./peers/torch_gpt.py"),
  };
}

/**
 * Hugging Face's `transformers` with PyTorch on the CPU.
 *
 * @param python The Python that has both.
 */
export function transformers(python: string): Implementation {
  return {
    name: "transformers CPU",
    packages: [],
    command: pythonCommand(python, "./peers/transformers_gpt2.py"),
  };
}

/** The same on the CPU alone, for tokenising. */
export const koalaTokenizer: Implementation = {
  name: koala.name,
  packages: [],
  command: deno("./koala/tokenizer.ts"),
};

/**
 * Hugging Face's Rust library of tokenizers.
 *
 * @param python The Python that has it.
 */
export function huggingFaceTokenizers(python: string): Implementation {
  return {
    name: "Hugging Face tokenizers (Rust)",
    packages: [],
    command: pythonCommand(python, "./peers/hugging_face_tokenizers.py"),
  };
}

/** A started implementation, or why it could not be started. */
export interface Runner {
  /** Who. */
  readonly name: string;
  /** Its process; undefined if it did not start. */
  child?: Child;
  /** What it runs on, in its own words. */
  description?: string;
  /** Why there is no process. */
  failure?: string;
}

/** Installs and starts an implementation; does not throw. */
export async function start({ name, packages, command }: Implementation): Promise<Runner> {
  const runner: Runner = { name };
  try {
    if (packages.length > 0) await install(packages);
    const child = runner.child = Child.start(command);
    runner.description = String(await child.ask({ ask: "hello" }, 60));
  } catch (error) {
    await stop(runner);
    runner.failure = error instanceof Error ? error.message : String(error);
  }
  return runner;
}

/** Ends a runner's process. */
export async function stop(runner: Runner): Promise<void> {
  await runner.child?.close();
  runner.child = undefined;
}

async function install(packages: readonly string[]): Promise<void> {
  const args = ["cache", ...isolated, ...packages];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).output();
  if (!success) throw new Error(`cannot be installed: ${reason(new TextDecoder().decode(stderr))}`);
}
