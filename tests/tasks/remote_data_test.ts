/** Data at addresses, as runs meet them: downloaded once, asked about later, and done without where that is safe. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { refused, runTask, type TaskResult, tinyRun } from "../cli.ts";
import { type ServedFile, serveFiles } from "../file_server.ts";

/** The same text with other entity tags, and other texts. */
const network = ["--allow-net=127.0.0.1"];
const short = [
  "--no-autotune",
  "--steps",
  "2",
  "--sample-tokens",
  "0",
  "--schedule",
  "constant",
  "--eval-every",
  "0",
];

function done({ code, stdout, stderr }: TaskResult): string {
  equal(code, 0, stderr);
  return stdout;
}

/** The loss of every step, from the metrics of a run. */
async function losses(run: string): Promise<unknown[]> {
  const lines = (await Deno.readTextFile(join(run, "metrics.jsonl"))).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line)).filter((m) => "loss" in m).map((
    { step, loss },
  ) => [step, loss]);
}

Deno.test("train-lm downloads an address once, and resumes without it", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const [, local, ...rest] = tiny.options;
  const content = await Deno.readFile(local);
  const files: Record<string, ServedFile> = { "/a.txt": { content, breaks: [20_000] } };
  await using server = await serveFiles(files);
  const options = [...rest, ...short, "--data", `${server.url}/a.txt`];
  const train = (...args: string[]) => runTask("train-lm", args, {}, network);
  const traffic = () => {
    const now = [server.requests.length, server.sent];
    server.requests.length = server.sent = 0;
    return now;
  };

  const first = done(await train(...options, "--out", at("run")));
  match(first, /^downloaded: http.*a\.txt, /m);
  deepEqual(traffic(), [2, content.length], "the first start, whose connection broke once");
  done(await train(...rest, ...short, "--data", local, "--out", at("local"), "--cache", at("other")));
  deepEqual(await losses(at("run")), await losses(at("local")));

  match(done(await train(...options, "--out", at("again"))), /\(from the cache\)/);
  deepEqual(traffic(), [1, 0], "another start");
  done(await train(...options, "--vocab-size", "290", "--out", at("other-vocabulary")));
  deepEqual(traffic(), [1, 0], "a start that must read the text again");
  const resume = ["--resume", at("run"), "--cache", at("cache"), "--sample-tokens", "0"];
  match(done(await train(...resume, "--steps", "3")), /\(from the cache\)/);
  deepEqual(traffic(), [1, 0], "resuming");

  files["/a.txt"] = { content, etag: '"2"' };
  done(await train(...resume, "--steps", "4"));
  deepEqual(traffic()[1] >= content.length, true, "another entity tag");
  files["/a.txt"] = { content: content.subarray(0, -500), etag: '"3"' };
  refused(await train(...resume, "--steps", "5"), 1, /the data of .* has changed; put it back/);
  files["/a.txt"] = { content, etag: null };
  done(await train(...resume, "--steps", "5"));

  const uncached = [...options, "--no-cache", "--cache", at("nowhere"), "--out", at("uncached")];
  traffic();
  done(await train(...uncached));
  deepEqual(traffic(), [1, content.length], "without a cache");
  deepEqual(await losses(at("uncached")), await losses(at("again")));
});

Deno.test("train-lm resumes without the network from token ids that are cached, says so, and starts nothing new", async () => {
  await using tiny = await tinyRun();
  const at = (name: string) => join(tiny.dir, name);
  const [, local, ...rest] = tiny.options;
  const content = await Deno.readFile(local);
  const files = { "/a.txt": { content }, "/b.txt": { content: content.subarray(0, 5000) } };
  const server = await serveFiles(files);
  const data = ["--data", `${server.url}/a.txt?key=secret`, "--validation-data", `${server.url}/b.txt`];
  const train = (...args: string[]) => runTask("train-lm", args, {}, network);
  done(await train(...rest, ...short, ...data, "--out", at("run")));
  await server[Symbol.asyncDispose]();

  const resume = ["--resume", at("run"), "--steps", "3", "--sample-tokens", "0"];
  const output = done(await train(...resume, "--cache", at("cache")));
  match(
    output,
    /^without the network \("http.*a\.txt" cannot be reached .*taken to be what it was on \d{4}-/m,
  );
  match(output, /^without the network \("http.*b\.txt" cannot be reached/m);
  ok(!output.includes("secret"));
  refused(await train(...resume, "--cache", at("empty")), 1, /a\.txt" cannot be reached/);
  refused(await train(...rest, ...short, ...data, "--out", at("new")), 1, /a\.txt" cannot be reached/);
});
