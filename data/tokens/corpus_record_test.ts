import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { serveHub } from "../../tests/dataset_hub.ts";
import { serveFiles } from "../../tests/file_server.ts";
import { inTempDir } from "../../tests/temporary_files.ts";
import { type CorpusOptions, openCorpus } from "../corpus/corpus.ts";
import { scanCorpus } from "../corpus/split.ts";
import { type KnownPass, recallPass } from "./corpus_record.ts";

const encoder = new TextEncoder();

/** What a process of its own would know of sources, and whether it read them for that. */
async function recall(
  sources: readonly string[],
  cacheDir: string,
  options: CorpusOptions & { offline?: boolean } = {},
): Promise<KnownPass & { isRead: boolean }> {
  const corpus = openCorpus(sources, { downloads: cacheDir, ...options });
  let isRead = false;
  const read = async () => {
    isRead = true;
    return { scan: await scanCorpus(corpus), said: [`read ${sources.length}`] };
  };
  const known = await recallPass(corpus, read, { sources, validationFraction: 0.05, cacheDir, ...options });
  return { ...known, isRead };
}

Deno.test("recallPass() knows a data set on the hub until a file is changed or added", () =>
  inTempDir(async (cacheDir) => {
    const files: Record<string, string> = { "a.jsonl": "one ".repeat(500), "b.jsonl": "two ".repeat(500) };
    await using hub = await serveHub(files);
    const known = () => recall(["hf://datasets/owner/name"], cacheDir, { hubUrl: hub.url });
    const first = await known();
    ok(first.isRead);
    hub.sent = hub.requests.length = 0;
    const second = await known();
    deepEqual([second.isRead, second.scan, second.said], [false, first.scan, ["read 1"]]);
    equal(hub.sent, 0);
    deepEqual(hub.requests.filter((line) => line.includes("/cdn/")).sort(), [
      "GET /cdn/a.jsonl",
      "GET /cdn/b.jsonl",
    ]);

    const changed = encoder.encode(JSON.stringify({ text: "six ".repeat(500) }));
    hub.served["/cdn/b.jsonl"] = { content: changed, etag: '"2"' };
    hub.sent = 0;
    const third = await known();
    ok(third.isRead && third.scan.digest !== first.scan.digest);
    ok(hub.sent <= 2 * changed.length, "the other file is not fetched again");
    ok(!(await known()).isRead);

    files["c.jsonl"] = "three";
    hub.served["/cdn/c.jsonl"] = { content: encoder.encode(JSON.stringify({ text: "three" })) };
    ok((await known()).isRead);
    ok(!(await known()).isRead);
  }));

Deno.test("recallPass() knows nothing of other options, of a damaged record, or where no version is told", () =>
  inTempDir(async (cacheDir) => {
    const content = encoder.encode(JSON.stringify({ text: "one ".repeat(500), body: "two ".repeat(500) }));
    const files = { "/a.jsonl": { content }, "/b.jsonl": { content, etag: null } };
    await using server = await serveFiles(files);
    const sources = [`${server.url.replace("//", "//me:password@")}/a.jsonl?key=secret`];
    ok((await recall(sources, cacheDir)).isRead);
    ok(!(await recall(sources, cacheDir)).isRead);
    ok(!(await recall([sources[0].replace("password", "another")], cacheDir)).isRead);
    const record = (await Array.fromAsync(Deno.readDir(cacheDir))).find(({ name }) =>
      name.startsWith("corpus-")
    )!;
    const path = join(cacheDir, record.name);
    const text = await Deno.readTextFile(path);
    ok(!/secret|password/.test(text + record.name));
    ok((await recall(sources, cacheDir, { textField: "body" })).isRead);
    for (const damaged of ["{", "{}", text.replace('"digest"', '"digits"')]) {
      await Deno.writeTextFile(path, damaged);
      ok((await recall(sources, cacheDir)).isRead, damaged);
    }
    const untold = [`${server.url}/b.jsonl`];
    for (let start = 0; start < 2; start++) ok((await recall(untold, cacheDir)).isRead);
  }));

Deno.test("recallPass() asks of a mixture only what was read", () =>
  inTempDir(async (cacheDir) => {
    const rows = (text: string, count: number) =>
      encoder.encode(`${JSON.stringify({ text })}\n`.repeat(count));
    const files = {
      "a.jsonl": "one ".repeat(9),
      "b.jsonl": "two ".repeat(900),
      "c.jsonl": "three",
      "d.jsonl": "four",
    };
    await using hub = await serveHub(files);
    hub.served["/cdn/a.jsonl"] = { content: rows("short", 3) };
    const sources = ["hf://datasets/owner/name/a.jsonl:0.5", "hf://datasets/owner/name/[bcd].jsonl:0.5"];
    const first = await recall(sources, cacheDir, { hubUrl: hub.url });
    hub.requests.length = 0;
    const second = await recall(sources, cacheDir, { hubUrl: hub.url });
    deepEqual([second.isRead, second.scan], [false, first.scan]);
    // To see where the second source's first text ends, the beginning of its next was read.
    deepEqual(
      hub.requests.filter((line) => line.includes("/cdn/")).sort(),
      ["a", "b", "c"].map((name) => `GET /cdn/${name}.jsonl`),
    );
  }));

Deno.test("recallPass() takes a record unchecked only where that is allowed, and says since when it is", () =>
  inTempDir(async (cacheDir) => {
    const hub = await serveHub({ "a.jsonl": "one ".repeat(500) });
    const sources = ["hf://datasets/owner/name"];
    const options = { hubUrl: hub.url };
    const { scan } = await recall(sources, cacheDir, options);
    await hub[Symbol.asyncDispose]();
    await rejects(recall(sources, cacheDir, options), /^ConnectionError: .*cannot be looked up on the hub/);
    const known = await recall(sources, cacheDir, { ...options, offline: true });
    deepEqual([known.isRead, known.scan], [false, scan]);
    match(known.unchecked!.error.message, /cannot be looked up on the hub/);
    ok(Math.abs(Date.parse(known.unchecked!.made) - Date.now()) < 600_000);
    await rejects(
      recall([...sources, `${hub.url}/b.jsonl`], cacheDir, { ...options, offline: true }),
      /cannot be looked up/,
    );
  }));
