import { deepEqual, equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { parquetWriteBuffer } from "npm:hyparquet-writer@0.17.0";
import { type FileServer, type ServedFile, serveFiles } from "../../tests/file_server.ts";
import { inTempDir } from "../../tests/temporary_files.ts";
import { openCorpus } from "../corpus/corpus.ts";
import { type Bytes, joined } from "./byte_source.ts";
import { DownloadedSource, type DownloadProgress } from "./download.ts";
import { HttpSource } from "./http_source.ts";

const encoder = new TextEncoder();
const content = encoder.encode(Array.from({ length: 9000 }, (_, i) => `line ${i}\n`).join(""));
const changed = encoder.encode("something else\n".repeat(5000));
const modified = "Sun, 06 Nov 1994 08:49:37 GMT";

/** What a process of its own would make of an address. */
function opened(url: string, cacheDir: string): DownloadedSource {
  return new DownloadedSource(new HttpSource(url), cacheDir);
}

async function readAll(source: DownloadedSource): Promise<Bytes> {
  return joined(await Array.fromAsync(source.stream()));
}

/** Runs a test with files that are served and a folder to keep them in. */
function serving(
  files: Record<string, ServedFile>,
  test: (server: FileServer, cacheDir: string) => Promise<void>,
): Promise<void> {
  return inTempDir(async (dir) => {
    await using server = await serveFiles(files);
    await test(server, join(dir, "cache"));
  });
}

Deno.test("DownloadedSource fetches a content once, and the next process asks whether it changed", () => {
  const files: Record<string, ServedFile> = {
    "/tag": { content },
    "/weak": { content, etag: 'W/"1"' },
    "/time": { content, etag: null, modified },
    "/no-conditions": { content, conditions: false },
    "/empty": { content: new Uint8Array(0) },
  };
  return serving(files, async (server, cacheDir) => {
    for (const path of Object.keys(files)) {
      const wanted = files[path].content;
      const url = `${server.url}${path}?key=secret`;
      server.sent = server.requests.length = 0;
      const first = opened(url, cacheDir);
      for (let pass = 0; pass < 3; pass++) deepEqual(await readAll(first), wanted, path);
      deepEqual([server.requests.length, server.sent], [1, wanted.length], `${path}, at first`);
      const second = opened(url, cacheDir);
      for (let pass = 0; pass < 2; pass++) deepEqual(await readAll(second), wanted, path);
      equal(server.requests.length, 2, `${path}, later`);
      if (path !== "/no-conditions") equal(server.sent, wanted.length, `${path}, later`);
    }
    for await (const { name } of Deno.readDir(cacheDir)) {
      const record = await Deno.readTextFile(join(cacheDir, name, "source.json"));
      ok(record.includes(server.url) && !record.includes("secret"));
    }
  });
});

Deno.test("DownloadedSource fetches anew what changed, and what no version or length is told of", () => {
  const files: Record<string, ServedFile> = {
    "/tag": { content },
    "/time": { content, etag: null, modified },
    "/nothing": { content, etag: null },
    "/no-length": { content, length: false },
  };
  return serving(files, async (server, cacheDir) => {
    for (const path of Object.keys(files)) {
      const file = files[path];
      const first = opened(server.url + path, cacheDir);
      for (let pass = 0; pass < 2; pass++) deepEqual(await readAll(first), content, path);
      equal(server.requests.filter((line) => line.includes(path)).length, 1, path);
      files[path] = { ...file, content: changed };
      if (path === "/tag") files[path] = { ...files[path], etag: '"2"' };
      if (path === "/time") files[path] = { ...files[path], modified: new Date(0).toUTCString() };
      for (let pass = 0; pass < 2; pass++) {
        deepEqual(await readAll(opened(server.url + path, cacheDir)), changed, path);
      }
    }
    // Of the old versions nothing is left.
    for await (const { name } of Deno.readDir(cacheDir)) {
      equal((await Array.fromAsync(Deno.readDir(join(cacheDir, name)))).length, 2);
    }
  });
});

Deno.test("DownloadedSource goes on where a process or a reader stopped, unless the content changed", () => {
  const files: Record<string, ServedFile> = {
    "/cut": { content, breaks: [30_000, 20_000], stalls: true, etag: null, modified },
    "/cut-and-changed": { content, breaks: [30_000], stalls: true },
    "/cut-and-weak": { content, breaks: [30_000], stalls: true, etag: 'W/"1"' },
    "/left": { content },
  };
  return serving(files, async (server, cacheDir) => {
    for (const path of Object.keys(files).slice(0, 3)) {
      let come = 0;
      for await (const { length } of opened(server.url + path, cacheDir).stream()) {
        come += length;
        if (come === 30_000) break;
      }
    }
    files["/cut"] = { ...files["/cut"], stalls: false };
    files["/cut-and-changed"] = { content: changed, etag: '"2"' };
    server.sent = server.requests.length = 0;
    deepEqual(await readAll(opened(`${server.url}/cut`, cacheDir)), content);
    deepEqual(server.requests, ["GET /cut", "GET /cut bytes=30000-", "GET /cut bytes=50000-"]);
    equal(server.sent, content.length - 30_000);
    deepEqual(await readAll(opened(`${server.url}/cut-and-changed`, cacheDir)), changed);
    server.requests.length = 0;
    deepEqual(await readAll(opened(`${server.url}/cut-and-weak`, cacheDir)), content);
    deepEqual(
      server.requests,
      Array(2).fill("GET /cut-and-weak"),
      "asked about, and fetched from the beginning",
    );

    const left = opened(`${server.url}/left`, cacheDir);
    for await (const _ of left.stream()) break;
    server.requests.length = 0;
    deepEqual(await readAll(left), content);
    equal(server.requests.length, 1);
    ok(/^GET \/left bytes=[1-9]\d*-$/.test(server.requests[0]), server.requests[0]);
  });
});

Deno.test("DownloadedSource fetches again what was damaged on disk", () =>
  serving({ "/a": { content } }, async (server, cacheDir) => {
    const url = `${server.url}/a`;
    const inFolder = async (start: string) => {
      const [{ name: folder }] = await Array.fromAsync(Deno.readDir(cacheDir));
      const names = await Array.fromAsync(Deno.readDir(join(cacheDir, folder)), ({ name }) => name);
      return join(cacheDir, folder, names.find((name) => name.startsWith(start))!);
    };
    for (
      const damage of [
        async () => await Deno.truncate(await inFolder("content-"), 100),
        async () => await Deno.remove(await inFolder("content-")),
        async () => await Deno.writeTextFile(await inFolder("source.json"), "{"),
        async () => await Deno.writeTextFile(await inFolder("source.json"), '{"file": "../../a"}'),
      ]
    ) {
      await readAll(opened(url, cacheDir));
      await damage();
      server.sent = 0;
      deepEqual(await readAll(opened(url, cacheDir)), content);
      equal(server.sent, content.length);
    }
  }));

Deno.test("DownloadedSource reads past the folder while another fetches into it", () =>
  serving({ "/a": { content } }, async (server, cacheDir) => {
    const first = opened(`${server.url}/a`, cacheDir).stream();
    const begin = (await first.next()).value as Bytes;
    deepEqual(await readAll(opened(`${server.url}/a`, cacheDir)), content);
    deepEqual(joined([begin, ...await Array.fromAsync(first)]), content);
    server.sent = 0;
    deepEqual(await readAll(opened(`${server.url}/a`, cacheDir)), content);
    equal(server.sent, 0);
  }));

Deno.test("openCorpus() keeps downloads where it is told to, in every format, and tells how far they are", () => {
  const texts = ["one", "two", "three"];
  const columnData = [{ name: "text", data: texts, type: "STRING" as const }];
  const files: Record<string, ServedFile> = {
    "/a.jsonl": { content: encoder.encode(texts.map((text) => `${JSON.stringify({ text })}\n`).join("")) },
    "/a.parquet": { content: new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 1 })) },
  };
  return serving(files, async (server, downloads) => {
    for (const path of Object.keys(files)) {
      server.sent = 0;
      const told: DownloadProgress[] = [];
      for (let start = 0; start < 2; start++) {
        const corpus = openCorpus([server.url + path], { downloads, onDownload: (now) => told.push(now) });
        for (let pass = 0; pass < 2; pass++) {
          deepEqual((await Array.fromAsync(corpus)).map((d) => d.text), texts, path);
        }
      }
      const total = files[path].content.length;
      equal(server.sent, total, path);
      deepEqual(told.at(-1), { name: server.url + path, done: total, total, whole: true });
      equal(told.filter(({ whole }) => whole).length, 1);
    }
  });
});

Deno.test("openCorpus() downloads of a mixture no more than is read", () => {
  const large = encoder.encode(`${JSON.stringify({ text: "long ".repeat(100) })}\n`.repeat(40_000));
  const files: Record<string, ServedFile> = {
    "/small.jsonl": { content: encoder.encode(`${JSON.stringify({ text: "short" })}\n`.repeat(10)) },
    "/large.jsonl": { content: large },
  };
  return serving(files, async (server, downloads) => {
    const read: number[] = [];
    const sources = [`${server.url}/small.jsonl:0.5`, `${server.url}/large.jsonl:0.5`];
    const corpus = openCorpus(sources, { downloads, onDownload: ({ done }) => read.push(done) });
    const [first, second] = [await Array.fromAsync(corpus), await Array.fromAsync(corpus)];
    deepEqual(first, second);
    ok(Math.max(...read) < large.length / 2, `${Math.max(...read)} of ${large.length} bytes`);
  });
});
