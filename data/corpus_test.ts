import { deepEqual, rejects, throws } from "node:assert/strict";
import { withFiles } from "../tests/temporary_files.ts";
import { type Corpus, type Document, openCorpus } from "./corpus.ts";

async function read(corpus: Corpus): Promise<Document[]> {
  return await Array.fromAsync(corpus);
}

const bytes = (...values: number[]) => new Uint8Array(values);

Deno.test("openCorpus() reads folders at any depth in the order of paths", async () => {
  const files = {
    "b.txt": "B",
    "a/z.MD": "Z",
    "a/.x.txt": "hidden",
    "c.json": "{}",
    "a.txt": "A",
    ".git/x.txt": "no",
  };
  await withFiles(files, async (folder) => {
    const corpus = openCorpus([folder]);
    deepEqual((await read(corpus)).map((d) => d.text), ["A", "Z", "B"]);
    // A second pass is the same as the first.
    deepEqual(
      (await read(corpus)).map((d) => d.name),
      ["a.txt", "a/z.MD", "b.txt"].map((n) => `${folder}/${n}`),
    );
  });
});

Deno.test("openCorpus() reads files of any name, patterns, and no file twice", async () => {
  await withFiles(
    { "x.log": "log", "d/1.txt": "one", "d/2.txt": "two", "d/[3].txt": "three" },
    async (folder) => {
      const sources = [`${folder}/d/2.txt`, `${folder}/d/[3].txt`, `${folder}/*/*.txt`, `${folder}/x.log`];
      deepEqual((await read(openCorpus(sources))).map((d) => d.text), ["two", "three", "one", "log"]);
      deepEqual((await read(openCorpus([`${folder}/**/{1,2}.*`]))).map((d) => d.text), ["one", "two"]);
    },
  );
});

Deno.test("openCorpus() removes a byte order mark and makes line ends LF", async () => {
  await withFiles(
    { "a.txt": "\ufeffone\r\ntwo\n\ufeff", "empty.txt": "", "mark.txt": "\ufeff" },
    async (folder) => {
      deepEqual((await read(openCorpus([folder]))).map((d) => d.text), ["one\ntwo\n\ufeff"]);
    },
  );
});

Deno.test("openCorpus() follows links and survives circles", async () => {
  await withFiles({ "real/a.txt": "A" }, async (folder) => {
    await Deno.mkdir(`${folder}/links`);
    try {
      await Deno.symlink(`${folder}/real`, `${folder}/links/there`);
      await Deno.symlink(folder, `${folder}/links/circle`);
      await Deno.symlink(`${folder}/nowhere`, `${folder}/links/nowhere`);
    } catch {
      return; // Links need a privilege on Windows, and full access elsewhere.
    }
    deepEqual((await read(openCorpus([`${folder}/links`]))).map((d) => d.text), ["A"]);
  });
});

Deno.test("openCorpus() says which source is missing or has no text", async () => {
  await withFiles({ "d/c.json": "{}" }, async (folder) => {
    const next = (source: string) => read(openCorpus([source]));
    await rejects(
      next(`${folder}/nothing.txt`),
      (e) => e instanceof Deno.errors.NotFound && /nothing\.txt/.test(e.message),
    );
    await rejects(
      next(`${folder}/d`),
      (e) => e instanceof Deno.errors.NotFound && /must hold a file in a known format/.test(e.message),
    );
    await rejects(
      next(`${folder}/d/*.txt`),
      (e) => e instanceof Deno.errors.NotFound && /matches none/.test(e.message),
    );
    await rejects(
      next(`${folder}/e/*.txt`),
      (e) => e instanceof Deno.errors.NotFound && /matches none/.test(e.message),
    );
    await rejects(next(`${folder}/{a`), SyntaxError);
    await rejects(next("npm:other"), RangeError);
  });
  throws(() => openCorpus([]), RangeError);
  throws(() => openCorpus("a.txt" as unknown as string[]), TypeError);
});

Deno.test("openCorpus() names file and offset of a byte that is not UTF-8", async () => {
  await withFiles({ "bad.txt": bytes(0x61, 0xc3, 0xa9, 0x62, 0xe9, 0x20) }, async (folder) => {
    await rejects(read(openCorpus([folder])), { name: "SyntaxError", message: /bad\.txt.*offset 4/ });
  });
});
