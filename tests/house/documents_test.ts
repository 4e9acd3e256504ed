/**
 * Holds README.md and the documents to the code: links lead somewhere, commands and options exist, files that are
 * named are there.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runTask } from "../cli.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const documents = new Map(
  [
    "README.md",
    "bench/paper/README.md",
    ...[...Deno.readDirSync(join(root, "docs"))].map(({ name }) => `docs/${name}`).sort(),
  ].filter((path) => path.endsWith(".md")).map((path) => [path, Deno.readTextFileSync(join(root, path))]),
);

Deno.test("every relative link of the documents leads to a file, and to a heading of it", () => {
  const wrong = [...documents].flatMap(([path, text]) =>
    linksIn(text).filter((link) => {
      const [file, heading] = link.split("#");
      const target = file === "" ? path : join(dirname(path), file);
      if (!exists(target)) return true;
      return heading !== undefined &&
        !headingsOf(Deno.readTextFileSync(join(root, target))).includes(heading);
    }).map((link) => `${path}: ${link}`)
  );
  deepEqual(wrong, []);
});

Deno.test("every file that the documents name as code is there", () => {
  const folders = [...Deno.readDirSync(root)].filter((entry) => entry.isDirectory).map(({ name }) => name);
  const isFile = (word: string) =>
    /^[\w.-]+(\/[\w.-]+)+\.(ts|py|md|sh|json)$/.test(word) && !word.includes("NAME") &&
    folders.includes(word.split("/")[0]) && !/^(runs|\.cache)\//.test(word);
  const wrong = [...documents].flatMap(([path, text]) =>
    codeIn(text).flatMap((code) => code.split(/\s+/)).filter((word) => isFile(word) && !exists(word))
      .map((word) => `${path}: ${word}`)
  );
  deepEqual(wrong, []);
});

Deno.test("every command and every option that the documents name is known to --help", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  // The tests have no --help.
  const known = new Map([["test", new Set(["slow"])]]);
  const names = Object.keys(tasks).filter((name) => !known.has(name));
  await Promise.all(names.map(async (name) => {
    const { code, stdout, stderr } = await runTask(name, ["--help"]);
    equal(code, 0, stderr);
    known.set(name, optionsIn(stdout));
  }));
  const ofAny = new Set([...known.values()].flatMap((options) => [...options]));
  const wrong = [...documents].flatMap(([path, text]) =>
    codeIn(text).flatMap((code) => {
      const commands = commandsIn(code);
      // An option that is named alone must be one of some task, or of Deno's own.
      if (code.startsWith("--")) {
        return words(code).filter((option) => !ofAny.has(option) && !option.startsWith("allow-"));
      }
      return commands.flatMap(({ task, options }) =>
        known.has(task)
          ? options.filter((option) => !known.get(task)!.has(option)).map((option) => `${task} --${option}`)
          : [task]
      );
    }).map((what) => `${path}: ${what}`)
  );
  deepEqual(wrong, []);
});

Deno.test("docs/files.md names every key of a run's configuration", async () => {
  const source = await Deno.readTextFile(join(root, "training/run/config.ts"));
  const body = /export interface RunConfig \{\n([\s\S]*?)\n\}/.exec(source)?.[1] ?? "";
  const keys = [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map((match) => match[1]);
  ok(keys.includes("seed"), "the configuration's keys must be found in its interface");
  const named = new Set(codeIn(documents.get("docs/files.md")!));
  deepEqual(keys.filter((key) => !named.has(key)), []);
});

Deno.test("commandsIn() finds commands with their options, over continued lines and up to comments", () => {
  const code =
    "deno task train-lm --data a b \\\n  --no-cache --lr=1 # --not-an-option\ndeno task doctor\necho --no";
  deepEqual(commandsIn(code), [
    { task: "train-lm", options: ["data", "no-cache", "lr"] },
    { task: "doctor", options: [] },
  ]);
  deepEqual([...optionsIn("Options:\n  --[no-]cache   keep\n  --lr X  as --rate\n")], [
    "cache",
    "no-cache",
    "lr",
  ]);
  deepEqual(codeIn("a `b  \n c`\n```sh\nd `e`\n```\nf"), ["d `e`\n", "b c"]);
  deepEqual(headingsOf("# A title: it's\n```\n# no\n```\n## Two `words`"), ["a-title-its", "two-words"]);
});

function exists(path: string): boolean {
  try {
    return Deno.statSync(join(root, path)) !== undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

const FENCED = /^( *)```.*\n([\s\S]*?)^\1```$/gm;

/** Blocks of code and what stands between backquotes, with single spaces there. */
function codeIn(text: string): string[] {
  const blocks = [...text.matchAll(FENCED)].map((match) => match[2]);
  const spans = text.replaceAll(FENCED, "").matchAll(/`([^`]+)`/g);
  return [...blocks, ...[...spans].map((match) => match[1].replaceAll(/\s+/g, " "))];
}

/** Targets of links and pictures, addresses aside. */
function linksIn(text: string): string[] {
  return [...text.replaceAll(FENCED, "").matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1])
    .filter((link) => !/^[a-z]+:/.test(link));
}

/** Headings as links name them. */
function headingsOf(text: string): string[] {
  return [...text.replaceAll(FENCED, "").matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1].toLowerCase().replaceAll(/[^\w\s-]/g, "").trim().replaceAll(" ", "-")
  );
}

/** The names of options in a text. */
function words(code: string): string[] {
  return [...code.matchAll(/(?:^|\s)--([a-z][a-z-]*)/g)].map((match) => match[1]);
}

/** The tasks that a piece of code calls, and the options that it gives them. */
function commandsIn(code: string): { task: string; options: string[] }[] {
  const lines = code.replaceAll(/\\\n/g, " ").replaceAll(/(^|\s)#.*$/gm, "").split("\n");
  return lines.flatMap((line) =>
    [...line.matchAll(/\bdeno task ([a-z-]+)([^|;&]*)/g)].map(([, task, rest]) => ({
      task,
      options: words(rest),
    }))
  );
}

/** The options that a help text lists. */
function optionsIn(help: string): Set<string> {
  const lines = [...help.matchAll(/^ {2}--(\[no-\])?([a-z][a-z-]*)/gm)];
  return new Set(lines.flatMap(([, negated, name]) => negated ? [name, `no-${name}`] : [name]));
}
