/**
 * Holds the architecture: who may import whom, and where code may come from.
 *
 * It reads imports with a pattern anchored to the start of a line, not with `deno info`: so it needs no
 * subprocess, sees type-only imports too, and reads every file whether or not something imports it. Examples in
 * doc comments start with ` * ` and don't match; `deno fmt` keeps real imports at the start of their line.
 */
import { deepEqual, ok } from "node:assert/strict";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The folders (or single files) that the sources of a folder may import besides their own. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  gpu: [],
  ops: ["gpu"],
  optim: ["ops", "gpu"],
  models: ["ops", "gpu"],
  files: [],
  hub: ["files"],
  data: ["ops/ignored_target.ts", "ops/random.ts", "files", "hub"],
  checkpoint: ["files", "hub"],
  training: ["deno.json", "models", "optim", "data", "checkpoint", "hub", "files", "ops", "gpu"],
  tasks: ["deno.json", "training", "models", "optim", "data", "checkpoint", "hub", "files", "ops", "gpu"],
  "cli.ts": ["tasks"],
  // Files at the root: mod.ts re-exports the library, which the tasks are no part of.
  "": ["training", "models", "optim", "data", "checkpoint", "hub", "files", "ops", "gpu"],
};

/**
 * The same within a folder: its subfolders and files from the ground up, each of which imports only those before it.
 * `*` stands for the files without a place of their own, and `mod.ts`, a room's way in, is above all.
 */
const FROM_THE_GROUND: Record<string, readonly string[]> = {
  gpu: ["tensor.ts", "texels", "precision", "*", "measure"],
  ops: ["vector_type.ts", "rows.ts", "matmul", "*", "activation", "norm", "attention", "cross_entropy"],
  optim: ["optimizer.ts", "matrices", "packed", "*", "koala"],
  data: ["document.ts", "bytes", "formats", "tokenizer", "corpus", "tokens", "*"],
  checkpoint: ["safetensors", "*", "adapter", "run", "open_model.ts"],
  training: ["step", "generate", "loop", "*", "run", "compare", "model_card.ts"],
  tasks: ["command", "gpu", "data", "model", "train", "compare", "doctor", "*"],
};

/** Folders and files that run in browsers: neither they nor what they import need Deno or Node. */
const EVERYWHERE: readonly string[] = [
  "gpu",
  "ops",
  "optim",
  "models",
  "training/step",
  "training/loop",
  "training/generate",
  "training/evaluation.ts",
  "training/run/load_weights.ts",
  "checkpoint/tensor_names.ts",
  "checkpoint/safetensors/memory.ts",
  "checkpoint/safetensors/float_formats.ts",
  "data/batches.ts",
  "data/prefetch.ts",
  "data/tokens/token_ids.ts",
  "data/tokenizer/tokenizer.ts",
  "data/tokenizer/bpe_trainer.ts",
];

interface Source {
  /** From the root, with `/`. */
  path: string;
  /** The folder at the root; "" for files that stand there. */
  folder: string;
  /** Whether it is there to test or measure, and so may reach into everything. */
  isTest: boolean;
  /** What it imports; relative specifiers as paths from the root. */
  imports: string[];
  /** Those of them that are there when it runs: not for types alone. */
  loads: string[];
  /** Its text without comments. */
  code: string;
}

const sources = [...readSources(root)];
const nonTests = sources.filter((source) => !source.isTest);

Deno.test("every folder imports only what the architecture allows", () => {
  const wrong = nonTests.flatMap(({ path, folder, imports }) => {
    const allowed = MAY_IMPORT[path] ?? MAY_IMPORT[folder];
    ok(allowed !== undefined, `${path}: the folder ${folder} must have a line in MAY_IMPORT`);
    return imports.filter((target) => !/^[a-z]+:/.test(target) && folderOf(target) !== folder)
      .filter((target) => !allowed.some((place) => target === place || target.startsWith(`${place}/`)))
      .map((target) => `${path} must not import ${target}`);
  });
  deepEqual(wrong, []);
});

Deno.test("the subfolders of a folder import only those below them", () => {
  const wrong = Object.entries(FROM_THE_GROUND).flatMap(([folder, order]) =>
    nonTests.filter((source) => source.folder === folder).flatMap(({ path, imports }) => {
      const level = levelOf(path, order);
      ok(level >= 0, `${path}: ${placeIn(path)} must have a place in FROM_THE_GROUND`);
      return imports.filter((target) => folderOf(target) === folder && levelOf(target, order) > level)
        .map((target) => `${path} must not import ${target}`);
    })
  );
  deepEqual(wrong, []);
  const divided = nonTests.filter(({ folder, path }) => folder !== "" && !placeIn(path).includes("."));
  deepEqual(
    new Set(divided.map(({ folder }) => folder)).difference(new Set(Object.keys(FROM_THE_GROUND))),
    new Set(),
    "a folder with subfolders must have a line in FROM_THE_GROUND",
  );
});

Deno.test("a room's mod.ts is its way in: mod.ts at the root has them all, and nothing else imports them", () => {
  const isRoom = (path: string) => /^[^/]+\/mod\.ts$/.test(path);
  const rooms = sources.map(({ path }) => path).filter(isRoom).sort();
  const { exports } = JSON.parse(Deno.readTextFileSync(join(root, "deno.json")));
  const expected = Object.fromEntries(rooms.map((path) => [`./${folderOf(path)}`, `./${path}`]));
  deepEqual(exports, { ".": "./mod.ts", ...expected, "./cli": "./cli.ts" });
  deepEqual(sources.find(({ path }) => path === "mod.ts")!.imports.toSorted(), rooms);
  const wrong = nonTests.filter(({ path }) => path !== "mod.ts").flatMap(({ path, imports }) =>
    imports.filter(isRoom).map((target) => `${path} must not import ${target}`)
  );
  deepEqual(wrong, []);
});

Deno.test("what runs in browsers needs neither Deno nor Node, and nor does what it imports", () => {
  const isListed = (path: string) =>
    EVERYWHERE.some((place) => path === place || path.startsWith(`${place}/`)) &&
    !path.endsWith("_reference.ts");
  const needed = new Map(nonTests.filter(({ path }) => isListed(path)).map(({ path }) => [path, path]));
  for (const place of EVERYWHERE) {
    ok(
      [...needed.keys()].some((path) => path === place || path.startsWith(`${place}/`)),
      `${place} is not there`,
    );
  }
  // A map can grow while it is walked.
  for (const [path, way] of needed) {
    const { loads, code } = nonTests.find((source) => source.path === path)!;
    ok(!/\bDeno\./.test(code), `${way} must not name Deno`);
    for (const target of loads) {
      ok(!target.startsWith("node:"), `${way} must not import ${target}`);
      if (!/^[a-z]+:/.test(target) && !needed.has(target)) needed.set(target, `${way} -> ${target}`);
    }
  }
});

Deno.test("no folder has more than 15 source files, and no function of training/ and tasks/ more than 80 lines", () => {
  const isSource = ({ path }: Source) => path.includes("/") && !path.endsWith("_reference.ts");
  const folders = Map.groupBy(nonTests.filter(isSource), ({ path }) => dirname(path));
  deepEqual([...folders].filter(([, files]) => files.length > 15).map(([folder]) => folder), []);
  const long = nonTests.filter(({ folder }) => ["training", "tasks"].includes(folder)).flatMap(({ path }) => {
    const text = Deno.readTextFileSync(join(root, path));
    const functions = text.matchAll(/^(?:export )?(?:async )?function\*? (\w+)[\s\S]*?^}/gm);
    // Not a declaration in an interface, which ends in a semicolon.
    const methods = text.matchAll(
      /^ {2}(?:static )?(?:async )?\*?([#\w]+)\((?:(?!;\n)[\s\S])*? \{\n[\s\S]*?^ {2}\}/gm,
    );
    return [...functions, ...methods].filter(([body]) => body.split("\n").length > 80)
      .map(([, name]) => `${path}: ${name}()`);
  });
  deepEqual(long, []);
});

Deno.test("no file imports itself by way of others, not even for types", () => {
  deepEqual(circles(new Map(sources.map(({ path, imports }) => [path, imports]))), []);
});

Deno.test("circles() finds a circle and names each file of it", () => {
  const imports = new Map([["a", ["b"]], ["b", ["c", "d"]], ["c", ["b"]], ["d", []]]);
  deepEqual(circles(imports), ["b -> c -> b"]);
});

Deno.test("nothing outside bench/ imports bench/, and only tests import tests", () => {
  const wrong = sources.flatMap(({ path, folder, isTest, imports }) =>
    imports.filter((target) =>
      (folderOf(target) === "bench" && folder !== "bench") || (isTestPath(target) && !isTest)
    ).map((target) => `${path} must not import ${target}`)
  );
  deepEqual(wrong, []);
});

Deno.test("only tests, benchmarks and other references import a float64 reference", () => {
  const isReference = (path: string) => path.endsWith("_reference.ts");
  const wrong = nonTests.filter(({ path }) => !isReference(path)).flatMap(({ path, imports }) =>
    imports.filter(isReference).map((target) => `${path} must not import ${target}`)
  );
  deepEqual(wrong, []);
});

Deno.test("nothing is imported from a registry or an address other than npm, Node's and Deno's own", () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports.filter((target) => /^[a-z]+:/.test(target) && !/^(npm|node):/.test(target))
      .map((target) => `${path} must not import ${target}`)
  );
  deepEqual(wrong, []);
});

Deno.test("each npm package is imported by one source file, at an exact version", () => {
  const places = new Map<string, string[]>();
  for (const { path, imports } of nonTests) {
    for (const target of new Set(imports.filter((target) => target.startsWith("npm:")))) {
      const [, name, version = ""] = /^npm:\/?((?:@[^/]+\/)?[^/@]+)(?:@([^/]*))?/.exec(target)!;
      ok(/^\d+\.\d+\.\d+/.test(version), `${path}: ${target} must have an exact version`);
      places.set(name, [...new Set([...places.get(name) ?? [], path])]);
    }
  }
  deepEqual([...places].filter(([, paths]) => paths.length > 1), []);
});

/** Every TypeScript file of the checkout, hidden folders and installed packages aside. */
function* readSources(folder: string): Generator<Source> {
  for (const entry of Deno.readDirSync(folder)) {
    const full = join(folder, entry.name);
    if (entry.isDirectory && !/^(\.|node_modules$|runs$|golden$)/.test(entry.name)) yield* readSources(full);
    if (!entry.isFile || !entry.name.endsWith(".ts")) continue;
    const path = relative(root, full).replaceAll("\\", "/");
    const text = Deno.readTextFileSync(full);
    const imports = importsOf(path, text);
    yield {
      path,
      folder: folderOf(path),
      isTest: isTestPath(path),
      imports: imports.map(({ target }) => target),
      loads: imports.filter(({ isType }) => !isType).map(({ target }) => target),
      code: text.replaceAll(/\/\*.*?\*\/|\/\/.*?$/gms, ""),
    };
  }
}

function folderOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : "";
}

/** The subfolder, or the file, directly in a path's folder. */
function placeIn(path: string): string {
  return path.split("/")[1];
}

/** How far above the ground of its folder a path is; -1 where it has no place. */
function levelOf(path: string, order: readonly string[]): number {
  const place = placeIn(path);
  if (place === "mod.ts") return Infinity;
  const level = order.indexOf(place);
  return level < 0 && place.includes(".") ? order.indexOf("*") : level;
}

/** The circles that a walk from each file comes upon, each as the way from a file back to itself. */
function circles(imports: ReadonlyMap<string, readonly string[]>): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const walk = (path: string): void => {
    const at = way.indexOf(path);
    if (at >= 0) found.push([...way.slice(at), path].join(" -> "));
    if (at >= 0 || done.has(path)) return;
    way.push(path);
    for (const target of imports.get(path) ?? []) walk(target);
    way.pop();
    done.add(path);
  };
  for (const path of imports.keys()) walk(path);
  return found;
}

function isTestPath(path: string): boolean {
  return path.endsWith("_test.ts") || ["tests", "bench"].includes(folderOf(path));
}

function importsOf(path: string, text: string): { target: string; isType: boolean }[] {
  const statics = text.matchAll(/^(?:import|export)\b([^;"'`]*?\bfrom)?\s*"([^"]+)"/gm);
  const dynamics = text.matchAll(/\b(?:import|import\.meta\.resolve)\(\s*["'`]([^"'`$]+)["'`]/g);
  const found = [
    ...[...statics].map(([, what, specifier]) => ({
      specifier,
      isType: what !== undefined && isOfTypes(what),
    })),
    ...[...dynamics].map(([, specifier]) => ({ specifier, isType: false })),
  ];
  return found.map(({ specifier, isType }) => ({
    target: specifier.startsWith(".") ? join(dirname(path), specifier).replaceAll("\\", "/") : specifier,
    isType,
  }));
}

/** Whether an import's names, such as ` { type A, b } from`, are types alone, so that it is gone when the code runs. */
function isOfTypes(names: string): boolean {
  if (/^\s*type\b(?!\s*,)/.test(names)) return true;
  const list = /^\s*\{([^}]*)\}/.exec(names)?.[1].split(",").map((name) => name.trim()).filter(Boolean);
  return list?.every((name) => name.startsWith("type ")) ?? false;
}
