/** What is secret in an address is sent to its server, and nowhere else to be found. */
import { equal, match, ok } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { refused, runTask, type TaskResult, tinyRun } from "../cli.ts";
import { serveFiles } from "../file_server.ts";

const network = ["--allow-net=127.0.0.1"];
const SECRETS = /hunter2|sesame/;

/** Serves a text to whoever knows name, password and token. */
function serveSecretly(text: string) {
  return serveFiles({}, ({ url, headers }, response) => {
    const basic = `Basic ${Buffer.from("me:hunter2").toString("base64")}`;
    if (url!.startsWith("/parts")) {
      return void response.end(text.slice(0, url!.endsWith("?number=2") ? 20_000 : 30_000));
    }
    const isAllowed = headers.authorization === basic && url!.endsWith("?token=sesame");
    if (!isAllowed) return void response.writeHead(403).end();
    response.writeHead(200, { etag: '"1"' }).end(text);
  });
}

/** Every file of a folder that is text, by its path. */
async function textsIn(dir: string): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (isDirectory) { for (const [key, text] of await textsIn(path)) texts.set(key, text); }
    else if (!name.endsWith(".safetensors")) texts.set(path, await Deno.readTextFile(path));
  }
  return texts;
}

async function keepsSecrets(dir: string, ...results: TaskResult[]): Promise<void> {
  for (const [path, text] of await textsIn(dir)) {
    ok(!SECRETS.test(text), `${path} must hold no secret: ${text}`);
  }
  for (const { stdout, stderr } of results) ok(!SECRETS.test(stdout + stderr), stdout + stderr);
}

Deno.test("runs, comparisons and messages hold no user name, password or token of an address, and a run goes on with them", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  await using server = await serveSecretly(await Deno.readTextFile(at("corpus.txt")));
  const address = `${server.url.replace("//", "//me:hunter2@")}/books/a.txt?token=sesame`;
  const shown = `${server.url}/books/a.txt`;
  const held = ["--validation-data", `${address}:1`];
  const sizes = ["--model", at("config.json"), "--cache", at("cache")];
  const small = "--vocab-size 300 --seq-len 16 --batch-size 4 --steps 1".split(" ");
  const common = ["--data", `${address}:0.5`, `${at("corpus.txt")}:0.5`, ...sizes, ...small];
  const run = (task: string, ...args: string[]) => runTask(task, args, {}, network);
  const fits = (result: TaskResult) => equal(result.code, 0, result.stderr);

  const training = ["--sample-tokens", "0", "--no-autotune", "--out", at("run")];
  const first = await run("train-lm", ...common, ...held, ...training);
  fits(first);
  match(first.stdout, /mixed: http.*a\.txt, share/);
  const { config } = JSON.parse(await Deno.readTextFile(at("run/run.json")));
  equal(config.data[0], `${shown}:0.5`);
  equal(config.validationData[0], `${shown}:1`);

  const alone = await run("train-lm", "--resume", at("run"), "--steps", "2");
  refused(
    alone,
    1,
    /the server answered 403.*without user name, password and query.*give --data and --validation-data/,
  );
  const other = await run(
    "train-lm",
    "--resume",
    at("run"),
    "--data",
    `${address.replace("a.txt", "b.txt")}:0.5`,
  );
  refused(other, 1, /differs in data .*a\.txt:0\.5.*, now .*b\.txt:0\.5/);
  const on = await run("train-lm", "--resume", at("run"), "--steps", "2", ...common.slice(0, 3), ...held);
  fits(on);
  // The same address without its query is another text.
  const parts = [
    "--data",
    `${server.url}/parts?number=2`,
    ...sizes,
    ...small,
    ...training.slice(0, 3),
    "--out",
    at("parts"),
  ];
  fits(await run("train-lm", ...parts));
  const changed = await run("train-lm", "--resume", at("parts"), "--steps", "2");
  refused(changed, 1, /the data of .*parts has changed; .*without query.*give the data again/);

  const card = await run("export-hf", "--checkpoint", at("run"), "--out", at("export"));
  fits(card);
  match(await Deno.readTextFile(at("export/README.md")), /\| Held out \| http:.*\/books\/a\.txt:1 \|/);
  await keepsSecrets(at("run"), first, alone, other, on, card);
  await keepsSecrets(at("export"));

  const optimizers = "--optimizers adamw:lr=0.001 --seeds 1 --extensions 0 --timing-rounds 0 --eval-points 1"
    .split(" ");
  const compared = await run(
    "compare-optimizers",
    ...common,
    ...held,
    ...optimizers,
    "--out",
    at("compared"),
  );
  fits(compared);
  match(await Deno.readTextFile(at("compared/report.html")), /books\/a\.txt/);
  await keepsSecrets(at("compared"), compared);

  const closed = ["--data", address.replace(/:\d+\//, ":1/"), "--debug"];
  const unreachable = await run("inspect-data", ...closed);
  equal(unreachable.code, 1);
  match(unreachable.stderr, /cannot be reached/);
  await keepsSecrets(at("run"), unreachable);
});
