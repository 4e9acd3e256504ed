import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { parquetWriteBuffer } from "npm:hyparquet-writer@0.17.0";
import { type ServedFile, serveFiles } from "../../tests/file_server.ts";
import { ConnectionError } from "../../hub/retry.ts";
import { joined } from "./byte_source.ts";
import { openCorpus } from "../corpus/corpus.ts";
import { HttpSource } from "./http_source.ts";

const encoder = new TextEncoder();
const content = encoder.encode(Array.from({ length: 9000 }, (_, i) => `line ${i}\n`).join(""));

async function readAll(source: HttpSource): Promise<Uint8Array> {
  return joined(await Array.fromAsync(source.stream()));
}

Deno.test("HttpSource reads a content, and goes on where a connection broke", async () => {
  const files: Record<string, ServedFile> = {
    "/whole": { content },
    "/broken": { content, breaks: [30_000, 0, 20_000] },
    "/without-tag": { content, breaks: [30_000], etag: null },
    "/without-ranges": { content, breaks: [30_000, 50_000], ranges: false },
    "/without-length": { content, length: false },
    "/busy": { content, statuses: [503, 429] },
    "/stalling": { content, breaks: [30_000], stalls: true },
    "/empty": { content: new Uint8Array(0) },
  };
  await using server = await serveFiles(files);
  for (const path of Object.keys(files)) {
    const wanted = files[path].content;
    deepEqual(await readAll(new HttpSource(server.url + path, { idle: 400 })), wanted, path);
  }
  const asked = server.requests.filter((line) => line.includes("/broken"));
  equal(asked.length, 4);
  ok(
    /^GET \/broken$/.test(asked[0]) && asked.slice(1).every((line) => /^GET \/broken bytes=\d+-$/.test(line)),
  );
  deepEqual(asked[2], asked[1], "nothing came between the first two breaks");
});

Deno.test("HttpSource gives up on what stays broken, changes, or is refused, and says why", async () => {
  const files: Record<string, ServedFile> = {
    "/stuck": { content, breaks: [30_000, 0, 0, 0, 0, 0, 0, 0] },
    "/secret": { content, statuses: [403] },
    "/changing": { content, breaks: [30_000], etag: ['"1"', '"2"'] },
    "/touched": {
      content,
      breaks: [30_000],
      etag: null,
      modified: [0, 1e12].map((time) => new Date(time).toUTCString()),
    },
    "/growing": { content, breaks: [30_000], headers: { "content-length": "90000" }, length: false },
  };
  await using server = await serveFiles(files);
  const fails = (path: string, message: RegExp) =>
    rejects(readAll(new HttpSource(server.url + path)), message);
  await Promise.all([
    fails("/stuck", /\/stuck" broke off after \d+ of \d+ bytes, and 5 tries to go on from there failed/),
    fails(
      "/none",
      /^NotFound: "http.*\/none" cannot be read: the server answered 404 Not Found; check the address/,
    ),
    fails("/secret", /answered 403 Forbidden; it needs an access that was not given/),
    fails("/changing", /changed while it was read/),
    fails("/touched", /changed while it was read/),
    fails("/growing", /changed while it was read/),
  ]);
  throws(() => new HttpSource("https://"), /^TypeError: An address must be a URL/);
  throws(() => new HttpSource("https://me:se/cret@host/a?key=1"), /got "https:\/\/host\/a"$/);
});

Deno.test("HttpSource says that nobody answers", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const source = new HttpSource(`http://user:pass@127.0.0.1:${port}/a.txt?key=secret`);
  await rejects(readAll(source), (error) => {
    ok(error instanceof ConnectionError && error.cause === undefined);
    ok(error.message.startsWith(`"http://127.0.0.1:${port}/a.txt" cannot be reached (`), error.message);
    ok(!/user|pass|secret/.test(error.message), error.message);
    ok(!/pass|secret/.test(error.message), error.message);
    return true;
  });
});

Deno.test("openCorpus() reads addresses in every format, compressed or not, again and again", async () => {
  const texts = ["one", "two", "three"];
  const jsonl = encoder.encode(texts.map((text) => `${JSON.stringify({ text })}\n`).join(""));
  const gz = new Uint8Array(gzipSync(jsonl));
  const columnData = [{ name: "text", data: texts, type: "STRING" as const }];
  const parquet = new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 1 }));
  const files: Record<string, ServedFile> = {
    "/a%20b.jsonl": { content: jsonl },
    "/a.jsonl.gz": { content: gz },
    // Some servers take the compression for the connection's own, and Deno then undoes it.
    "/b.jsonl.gz": { content: gz, headers: { "content-encoding": "gzip" } },
    "/a.parquet": { content: parquet },
    "/b.parquet": { content: parquet, ranges: false },
  };
  await using server = await serveFiles(files);
  for (const path of Object.keys(files)) {
    const corpus = openCorpus([`${server.url}${path}?download=true`]);
    for (let pass = 0; pass < 2; pass++) {
      deepEqual((await Array.fromAsync(corpus)).map((d) => d.text), texts, path);
    }
  }
  const ranges = server.requests.filter((line) => line.includes("/a.parquet"));
  ok(ranges.length > 2 && ranges.every((line) => line.includes("bytes=")));
});
