import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { serveHub } from "../../tests/dataset_hub.ts";
import { openCorpus } from "../corpus/corpus.ts";
import { findHubFiles } from "./hub_source.ts";

/** The data set of the tests: files and their texts, each a line of JSON. */
const FILES: Record<string, string> = {
  "README.md": "# card",
  "data/train-00.jsonl": "one",
  "data/train-01.jsonl": "two",
  "data/test.jsonl": "three",
  "data/a b#c.jsonl": "four",
  "data/info.json": "{}",
};

Deno.test("findHubFiles() finds a file, a folder, a pattern and a whole data set, page by page", async () => {
  await using hub = await serveHub(FILES);
  const find = async (source: string) => {
    const files = await findHubFiles(source, { hubUrl: `${hub.url}/` });
    return files.map(({ name }) => name.replace("hf://datasets/owner/name/", ""));
  };
  const all = ["data/a b#c.jsonl", "data/test.jsonl", "data/train-00.jsonl", "data/train-01.jsonl"];
  deepEqual(await find("hf://datasets/owner/name/data/test.jsonl"), ["data/test.jsonl"]);
  deepEqual(await find("hf://datasets/owner/name/data/"), all);
  deepEqual(await find("hf://datasets/owner/name"), all);
  deepEqual(await find("hf://datasets/owner/name@v%2F2/**/train-*.jsonl"), all.slice(2));
  deepEqual(await find("hf://datasets/owner/name/*/*"), [
    ...all.slice(0, 1),
    "data/info.json",
    ...all.slice(1),
  ]);
});

Deno.test("openCorpus() reads a data set on the hub, with the token where there is one", async () => {
  await using hub = await serveHub(FILES);
  const source = "hf://datasets/owner/name/data/[at]*.jsonl";
  const corpus = openCorpus([source], { hubUrl: hub.url, accessToken: "hf_secret" });
  deepEqual((await Array.fromAsync(corpus)).map(({ name, text }) => [name, text]), [
    ["hf://datasets/owner/name/data/a b#c.jsonl:1", "four"],
    ["hf://datasets/owner/name/data/test.jsonl:1", "three"],
    ["hf://datasets/owner/name/data/train-00.jsonl:1", "one"],
    ["hf://datasets/owner/name/data/train-01.jsonl:1", "two"],
  ]);
  deepEqual([...hub.tokens], ["Bearer hf_secret"]);
  equal((await Array.fromAsync(openCorpus([`${source}:1`], { hubUrl: hub.url }))).length, 4);
  ok(hub.tokens.has(undefined));
  // The same file of two revisions is two texts, and under two names it is one.
  const file = (revision: string) => `hf://datasets/owner/name${revision}/data/test.jsonl`;
  const address = `${hub.url}/datasets/owner/name/resolve/main/data/test.jsonl`;
  const sources = [file(""), file("@v%2F2"), file("@main"), address];
  equal((await Array.fromAsync(openCorpus(sources, { hubUrl: hub.url }))).length, 2);
});

Deno.test("findHubFiles() says what is missing, closed or malformed", async () => {
  await using hub = await serveHub(FILES);
  const fails = (source: string, message: RegExp) =>
    rejects(findHubFiles(source, { hubUrl: hub.url }), message);
  await fails(
    "hf://datasets/owner/name/none.jsonl",
    /^NotFound: .* there is no "hf:.*none\.jsonl"; check owner/,
  );
  await fails("hf://datasets/owner/other", /there is no "hf:\/\/datasets\/owner\/other"/);
  await fails(
    "hf://datasets/owner/name/*.zip",
    /must have a file in a known format: "hf:.*\/\*\.zip" has none/,
  );
  await fails("hf://datasets/owner/closed/data", /the hub answered 401; .*--allow-env=HF_TOKEN/);
  await fails(
    "hf://owner/name",
    /^RangeError: .*must be hf:\/\/datasets\/OWNER\/NAME\/PATH: got "hf:\/\/owner\/name"/,
  );
  const nowhere = findHubFiles("hf://datasets/owner/name", { hubUrl: "http://127.0.0.1:1" });
  await rejects(nowhere, /cannot be looked up on the hub \(.*\); check the network/);
});
