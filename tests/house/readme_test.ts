/** Runs the programs that the documents show, as they stand. */
import { match, ok } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { inTempDir } from "../temporary_files.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The document's program: its first block that begins with imports. */
async function exampleOf(path: string): Promise<string> {
  const example = (await Deno.readTextFile(join(root, path))).match(/```ts\n(import[\s\S]*?)```/)?.[1];
  ok(example, `${path} must hold a ts example that starts with its imports`);
  return example;
}

/** Runs a program in a folder that has this project's documents, but not its code. */
async function run(program: string, dir: string): Promise<string> {
  await Deno.mkdir(join(dir, "docs"), { recursive: true });
  for (const path of ["README.md", "docs/own-model.md"]) {
    await Deno.copyFile(join(root, path), join(dir, path));
  }
  const script = join(dir, "example.ts");
  const rooms = program.replaceAll(/from "\.\/([a-z]+\/mod\.ts)"/g, (_, room) => {
    return `from ${JSON.stringify(new URL(`../../${room}`, import.meta.url).href)}`;
  });
  await Deno.writeTextFile(script, rooms);
  const permissions = ["--no-prompt", "--allow-read", `--allow-write=${dir}`];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--check", "--config", join(root, "deno.json"), ...permissions, script],
    cwd: dir,
  }).output();
  ok(code === 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

Deno.test("the README's example, of at most 45 lines, trains, saves, opens and generates", () =>
  inTempDir(async (dir) => {
    const example = await exampleOf("README.md");
    ok(example.trimEnd().split("\n").length <= 45);
    const text = await run(example, dir);
    const losses = [...text.matchAll(/loss ([\d.]+)/g)].map((m) => Number(m[1]));
    ok(losses.length === 5 && losses[4] < losses[0] * 0.8, `the loss must fall, got ${text}`);
    match(text, /text: "[\s\S]*ended: "length"/);
    ok((await Deno.stat(join(dir, "models/one-block/model.safetensors"))).isFile);
  }));

Deno.test("docs/own-model.md's run goes on where it was when it is started again", () =>
  inTempDir(async (dir) => {
    const example = await exampleOf("docs/own-model.md");
    const first = await run(example.replace("steps] = [8, 32, 60]", "steps] = [8, 32, 20]"), dir);
    match(first, /^step 20: loss [\d.]+\nfrom step 0, best 20, .*step-00000020\n$/);
    // Which step is best depends on what the documents say today.
    match(
      await run(example, dir),
      /^step 40: .*\nstep 60: .*\nfrom step 20, best \d+, .*step-00000060\n$/,
    );
  }));
