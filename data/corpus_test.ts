import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { join } from "node:path";
import { type Corpus, type Document, firstInvalidUtf8, openCorpus, readTextFile } from "./corpus.ts";

async function read(corpus: Corpus): Promise<Document[]> {
  return await Array.fromAsync(corpus);
}

/** Makes a temporary folder with files, for the time of a function. */
async function withFiles(
  files: Record<string, string | Uint8Array>,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = (await Deno.makeTempDir()).replaceAll("\\", "/");
  try {
    for (const [name, content] of Object.entries(files)) {
      const path = join(folder, name);
      await Deno.mkdir(join(path, ".."), { recursive: true });
      await Deno.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
    }
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
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
      (e) => e instanceof Deno.errors.NotFound && /must hold a \.txt or \.md/.test(e.message),
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

Deno.test("readTextFile() cuts long files at blank lines, lines and characters, and loses nothing", async () => {
  const text = "one\r\n\r\ntwo two\r\nthree\r\n\r\n\r\n" + "日本語のテキスト".repeat(5) +
    "\nend 😀😀😀😀😀😀\r\n";
  await withFiles({ "a.txt": text }, async (folder) => {
    for (let size = 8; size < 120; size++) {
      const parts = await Array.fromAsync(readTextFile(`${folder}/a.txt`, size));
      equal(parts.map((p) => p.text).join(""), text.replaceAll("\r\n", "\n"), `parts of ${size} bytes`);
      deepEqual(parts.map((p) => p.part), parts.map((_, i) => i));
    }
    const [first] = await Array.fromAsync(readTextFile(`${folder}/a.txt`, 24));
    equal(first.text, "one\n\n");
  });
});

Deno.test("readTextFile() counts the offset of an invalid byte over parts", async () => {
  const text = new TextEncoder().encode("line\n".repeat(10));
  await withFiles({ "a.txt": new Uint8Array([...text, 0xff]) }, async (folder) => {
    await rejects(Array.fromAsync(readTextFile(`${folder}/a.txt`, 12)), /offset 50;/);
  });
});

Deno.test("firstInvalidUtf8() agrees with the platform's decoder", () => {
  const sequences: number[][] = [
    [0xc0, 0x80],
    [0xe0, 0x80, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf0, 0x80, 0x80, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0xe2, 0x82],
    [0x80],
    [0xf0, 0x9f, 0x98, 0x80],
    [0xed, 0x9f, 0xbf],
    [0xf4, 0x8f, 0xbf, 0xbf],
  ];
  for (const sequence of sequences) {
    const data = bytes(0x61, ...sequence);
    let valid = true;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(data);
    } catch {
      valid = false;
    }
    equal(firstInvalidUtf8(data), valid ? -1 : 1, sequence.join(" "));
  }
  ok(true);
});
