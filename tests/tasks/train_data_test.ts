import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { uniform } from "../../ops/random.ts";
import {
  exists,
  filesIn,
  finalStep,
  losses,
  pipeToTask,
  refused,
  runTask,
  sameWeights,
  signalTask,
  startCommand,
  taskCommand,
  tinyRun,
} from "../cli.ts";

async function train(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask("train-lm", args);
  equal(code, 0, stderr);
  return stdout;
}

Deno.test("token ids from the cache, from nowhere and from .bin files train to the same bytes", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  await train(...tiny.options, "--out", at("text"));
  match(await train(...tiny.options, "--out", at("cached")), /\(from the cache\)/);
  await sameWeights(at("text"), at("cached"));

  // The same with nothing kept, stopped in between.
  const nowhere = [...tiny.options, "--no-cache", "--cache", at("nowhere")];
  await train(...nowhere, "--no-autotune", "--steps", "4", "--schedule", "constant", "--out", at("short"));
  ok(!await exists(at("nowhere")));
  deepEqual(await filesIn(at("short")), ["checkpoints", "metrics.jsonl", "run.json"]);
  await train(...nowhere, "--cache", at("cache"), "--out", at("uncached"));
  await sameWeights(at("text"), at("uncached"));

  const cached = (await filesIn(at("cache"))).find((name) => name.startsWith("tokens-"))!;
  const shard = (side: string) => join(at("cache"), cached, `${side}-00000.bin`);
  const options = [...tiny.options.slice(2), "--tokenizer", join(at("text"), finalStep, "tokenizer.json")];
  const bins = ["--data", shard("train"), "--validation-data", shard("validation")];
  await train(...options, ...bins, "--out", at("bins"));
  await sameWeights(at("text"), at("bins"));
  deepEqual(await losses(at("bins")), await losses(at("text")));

  // Ids that the tokenizer does not know, and another file than before on resuming.
  await Deno.writeFile(at("other.bin"), new Uint8Array(Uint16Array.from({ length: 4000 }, () => 300).buffer));
  const other = ["--data", at("other.bin"), "--out", at("refused")];
  refused(
    await runTask("train-lm", [...options, ...other]),
    1,
    /must be below 300, the tokenizer's vocabulary/,
  );
  ok(!await exists(at("refused")));
  await Deno.writeFile(shard("train"), new Uint8Array(await Deno.readFile(shard("train"))).subarray(2));
  refused(await runTask("train-lm", ["--resume", at("bins"), "--steps", "30"]), 1, /the data .* has changed/);
});

Deno.test("standard input trains as a file does, and a run of it resumes from the cache without being fed again", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const [, source, ...rest] = tiny.options;
  const input = gzipSync(await Deno.readFile(source));
  const short = ["--no-autotune", "--steps", "4", "--schedule", "constant"];
  const fed = await pipeToTask(
    "train-lm",
    [...rest, "--data", "-", ...short, "--cache", at("other"), "--out", at("piped")],
    new Uint8Array(input),
  );
  equal(fed.code, 0, fed.stderr);
  await train(...tiny.options, ...short, "--out", at("whole"));
  deepEqual(await losses(at("piped")), await losses(at("whole")));

  for (const run of ["piped", "whole"]) {
    const cache = at(run === "piped" ? "other" : "cache");
    await train("--resume", at(run), "--steps", "8", "--cache", cache, "--sample-tokens", "0");
  }
  deepEqual(await losses(at("piped")), await losses(at("whole")));
});

Deno.test("--no-cache leaves nothing, however it is ended while it reads its text", {
  ignore: Deno.build.os === "windows",
}, async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const options = [...tiny.options.slice(2), "--no-cache", "--data", "-"];
  for (const signal of ["SIGINT", "SIGTERM", "SIGKILL"] as const) {
    const child = startCommand(taskCommand("train-lm", [...options, "--out", at(signal)]), {}, "piped");
    const output = child.output();
    const input = child.stdin.getWriter();
    // More than a pipe holds: when all of it is written, the task has begun to keep its text.
    for (let i = 0; i < 40; i++) {
      await input.write(new TextEncoder().encode("old men and the sea\n".repeat(5000)));
    }
    child.kill(signal);
    ok(!(await output).success);
    await input.abort().catch(() => {});
    deepEqual((await filesIn(at(signal))).filter((name) => name !== ".lock"), []);
  }
});

Deno.test("a disk that takes no more ends tokenising with one message, and nothing is left", {
  ignore: Deno.build.os === "windows",
}, async () => {
  const dir = await Deno.makeTempDir();
  try {
    const module = new URL("../../data/tokens/shards.ts", import.meta.url).href;
    const script = `import { writeTokenShards } from ${JSON.stringify(module)};
      const ids = new Uint16Array(4_000_000);
      await writeTokenShards("cache/k", 2, ({ train }) => train.append(ids, 1).then(() => ({})))
        .catch(({ message }) => console.log(message));`;
    await Deno.writeTextFile(join(dir, "write.ts"), script);
    // A limit on the size of files, 2 or 4 MiB by the shell, stands for a full disk.
    const limited = `trap '' XFSZ; ulimit -f 4096; exec "$@"`;
    const command = [Deno.execPath(), ..."run --no-prompt --allow-read --allow-write=. write.ts".split(" ")];
    const { stdout } = await new Deno.Command("sh", { args: ["-c", limited, "sh", ...command], cwd: dir })
      .output();
    match(
      new TextDecoder().decode(stdout),
      /^Cannot write .*train-00000\.bin: File too large.*; allow larger files/,
    );
    deepEqual(await Array.fromAsync(Deno.readDir(join(dir, "cache"))), []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("--validation-data holds out a text of its own", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const held = "An old man spoke of the quiet sea.\n".repeat(30);
  await Deno.writeTextFile(at("held_out.txt"), held);
  const options = [
    ...tiny.options,
    "--validation-data",
    at("held_out.txt"),
    "--steps",
    "4",
    "--out",
    at("run"),
  ];
  const { validation } = JSON.parse(await train(...options, "--json"));
  const { config } = JSON.parse(await Deno.readTextFile(at("run/run.json")));
  deepEqual(config.validationData, [at("held_out.txt")]);
  // The repeated sentence has the same tokens each time; one of all is no target.
  const perSentence = Math.round((validation.tokens + 1) / 30);
  ok(
    perSentence > 3 && Math.abs(30 * perSentence - validation.tokens - 1) < 5,
    `${validation.tokens} tokens`,
  );
  await train("--resume", at("run"), "--cache", at("cache"), "--steps", "6");
});

Deno.test("an epoch killed ten times at random moments sees the sequences of one that is not", async () => {
  await using tiny = await tinyRun();
  const seed = Date.now() % 2 ** 31;
  const [whole, killed] = ["whole", "killed"].map((name) => join(tiny.dir, name));
  const epoch = ["--epochs", "1", "--log-every", "1", "--save-every", "2", "--eval-every", "0"];
  const options = [
    ...tiny.options.filter((_, i, all) => all[i] !== "--steps" && all[i - 1] !== "--steps"),
    ...epoch,
  ];
  await train(...options, "--out", whole);
  let kills = 0;
  for (let life = 0; life < 10; life++) {
    const delay = (life === 0 ? 500 : 3000) * uniform(seed, life);
    const where = life === 0 ? ["--out", killed] : ["--resume", killed];
    const path = join(killed, life === 0 ? "checkpoints" : "metrics.jsonl");
    const { code, stderr } = await signalTask("train-lm", [...options, ...where], {
      path,
      delay,
      signal: "SIGKILL",
    });
    ok(code === 0 || code === (Deno.build.os === "windows" ? 1 : 137), stderr);
    if (code !== 0) kills++;
    if (!await exists(join(killed, "checkpoints"))) life = -1;
  }
  console.log(`killed ${kills} times (seed ${seed})`);
  await train(...options, "--resume", killed);
  const steps = await losses(whole);
  ok(steps.length > 100, `${steps.length} steps`);
  // The loss of every step tells its sequences, up to chance.
  deepEqual(await losses(killed), steps);
});
