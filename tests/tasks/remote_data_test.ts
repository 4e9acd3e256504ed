/** Data at addresses, as runs meet them: downloaded once, asked about later, and done without where that is safe. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { DownloadedSource } from "../../data/bytes/download.ts";
import { HttpSource } from "../../data/bytes/http_source.ts";
import {
  exists,
  losses,
  refused,
  runTask,
  runWithFullDisk,
  startCommand,
  type TaskResult,
  tinyRun,
} from "../cli.ts";
import { type ServedFile, serveFiles } from "../file_server.ts";
import { inTempDir } from "../temporary_files.ts";

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

  // The query, which is no part of the run's record, is one of what tells texts apart.
  const alone = ["--resume", at("run"), "--steps", "3", "--sample-tokens", "0"];
  refused(
    await train(...alone, "--cache", at("cache")),
    1,
    /cannot be reached.*without .*query.*give --data/,
  );
  const resume = [...alone, ...data];
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

/** A command that downloads an address into a folder. */
function downloading(url: string, dir: string): string[] {
  const [http, download] = ["http_source", "download"].map((name) =>
    JSON.stringify(new URL(`../../data/bytes/${name}.ts`, import.meta.url))
  );
  const program = `import { HttpSource } from ${http};
    import { DownloadedSource } from ${download};
    try {
      for await (const _ of new DownloadedSource(new HttpSource("${url}"), ${JSON.stringify(dir)}).stream());
    } catch ({ message }) {
      console.log(message);
    }`;
  return [Deno.execPath(), "eval", "--ext=ts", program];
}

/** Reads an address of which a folder has the beginning. */
async function readRest(url: string, dir: string): Promise<{ bytes: number; crc: number }> {
  let bytes = 0, crc = 0;
  for await (const piece of new DownloadedSource(new HttpSource(url), dir).stream()) {
    crc = crc32(piece, crc);
    bytes += piece.length;
  }
  return { bytes, crc };
}

Deno.test("a download goes on after its process was killed", () =>
  inTempDir(async (dir) => {
    const content = new Uint8Array(70 << 20);
    for (let at = 0; at < content.length; at += 65536) {
      crypto.getRandomValues(content.subarray(at, at + 65536));
    }
    await using server = await serveFiles({ "/a": { content, breaks: [65 << 20], stalls: true } });
    const url = `${server.url}/a`;
    const child = startCommand(downloading(url, dir));
    // Written when the first 64 MiB are on the disk.
    const record = join(dir, `download-${new HttpSource(url).key}`, "source.json");
    while (!await exists(record)) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill("SIGKILL");
    await child.output();
    server.sent = server.requests.length = 0;
    deepEqual(await readRest(url, dir), { bytes: content.length, crc: crc32(content) });
    match(server.requests.join(), /^GET \/a,GET \/a bytes=\d+-$/);
    ok(server.sent <= 6 << 20, `${server.sent} bytes`);
  }));

Deno.test("a disk that takes no more ends a download with one message, and it goes on later", {
  ignore: Deno.build.os === "windows",
}, () =>
  inTempDir(async (dir) => {
    const content = crypto.getRandomValues(new Uint8Array(65536));
    await using server = await serveFiles({ "/a": { content } });
    const { stdout } = await runWithFullDisk(downloading(`${server.url}/a`, dir), 20);
    match(stdout, /^Cannot write .*content-\w+: File too large.*; allow larger files here, see ulimit -f\n$/);
    server.requests.length = 0;
    deepEqual(await readRest(`${server.url}/a`, dir), { bytes: content.length, crc: crc32(content) });
    match(server.requests.join(), /^GET \/a(,GET \/a bytes=\d+-)?$/);
  }));
