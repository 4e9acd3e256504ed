import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { parquetWriteBuffer } from "npm:hyparquet-writer@0.17.0";
import { Random } from "../../tests/random_text.ts";
import { withFiles } from "../../tests/temporary_files.ts";
import type { Corpus, Document, RejectedRow } from "../document.ts";
import { type CorpusReport, openCorpus } from "./corpus.ts";

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
      if (Deno.build.os === "windows") return; // there \\ divides folders, and no name has a *
      await Deno.mkdir(`${folder}/.h`);
      await Deno.writeTextFile(`${folder}/.h/*.txt`, "star");
      const nested = [`${folder}/{.h/\\**,{d,e}/[!12]?.txt,x.{l{a,o}g,b}}`, `${folder}/d/\\[3].*`];
      deepEqual((await read(openCorpus(nested))).map((d) => d.text), ["star", "log", "three"]);
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

Deno.test("openCorpus() gives the same documents in every format and compression", async () => {
  for (let seed = 0; seed < 12; seed++) {
    const random = new Random(seed);
    // A byte order mark at a file's beginning is no text, and CRLF becomes LF.
    const texts = Array.from({ length: 1 + random.below(30) }, () => `a${random.text(random.below(300))}`);
    const table = texts.map((text, i) => ({ id: i, text }));
    const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
    const parquet = parquetWriteBuffer({
      columnData: [{ name: "id", data: texts.map((_, i) => i) }, {
        name: "text",
        data: texts,
        type: "STRING",
      }],
      rowGroupSize: 7,
    });
    const contents: Record<string, string | Uint8Array> = {
      jsonl: table.map((row) => `${JSON.stringify(row)}\n`).join(""),
      csv: `\ufeffid,text\r\n${table.map(({ id, text }) => `${id},${quoted(text)}\r\n`).join("")}`,
      tsv: `text\tid\n${table.map(({ id, text }) => `${quoted(text)}\t${id}\n`).join("")}`,
      parquet: new Uint8Array(parquet),
      ...Object.fromEntries(texts.map((text, i) => [`${String(i).padStart(2, "0")}.txt`, text])),
    };
    const files = Object.entries(contents).flatMap(([name, content]) => {
      const [folder, path] = name.endsWith(".txt") ? ["txt", name] : [name, `a.${name}`];
      const data = typeof content === "string" ? new TextEncoder().encode(content) : content;
      return [
        [`${folder}/${path}`, data],
        [`${folder}.gz/${path}.gz`, gzipSync(data)],
        [`${folder}.zst/${path}.zst`, zstdCompressSync(data)],
      ] as const;
    });
    await withFiles(Object.fromEntries(files), async (folder) => {
      for (const { name } of Deno.readDirSync(folder)) {
        const found = await read(openCorpus([`${folder}/${name}`]));
        deepEqual(found.map((d) => d.text), texts, `seed ${seed}: ${name}`);
      }
    });
  }
});

Deno.test("openCorpus() reads other encodings and other fields when told so", async () => {
  const files = {
    "a.txt": bytes(0xe9, 0x0d, 0x0a),
    "b.jsonl": new Uint8Array([...new TextEncoder().encode('{"body": "'), 0xe8, 0x22, 0x7d]),
  };
  await withFiles(files, async (folder) => {
    const corpus = openCorpus([folder], { encoding: "latin1", textField: "body" });
    deepEqual((await read(corpus)).map((d) => d.text), ["é\n", "è"]);
  });
  throws(() => openCorpus(["a"], { encoding: "klingon" }), RangeError);
});

Deno.test("openCorpus() gives a long row, as a long file, in parts", async () => {
  const text = "line\n".repeat(2 << 20);
  const files = { "a.txt": text, "b.jsonl": JSON.stringify({ text }) };
  await withFiles(files, async (folder) => {
    const found = await read(openCorpus([folder]));
    deepEqual(found.map(({ part }) => part), [0, 1, 0, 1]);
    for (const name of ["a.txt", "b.jsonl:1"]) {
      const own = found.filter((d) => d.name === `${folder}/${name}`).map((d) => d.text);
      ok(own.join("") === text && own.every((part) => part.length <= 8 << 20));
    }
  });
});

Deno.test("openCorpus() reports rejected rows anew in every pass", async () => {
  const files = { "a.jsonl": '{"text": "a"}\n{}\n{"text": ""}\n{}\n' };
  await withFiles(files, async (folder) => {
    const rows: RejectedRow[] = [];
    const reports: CorpusReport[] = [];
    const corpus = openCorpus([folder], {
      onRejected: (row) => rows.push(row),
      onPass: (report) => reports.push(report),
    });
    for (let pass = 1; pass <= 2; pass++) {
      await read(corpus);
      equal(rows.length, 3 * pass);
      const { rejected, reasons, shares } = reports[pass - 1];
      equal(rejected, 3);
      deepEqual([...reasons].map(([reason, { count, first }]) => [reason, count, first.position]), [
        ['no field "text"', 2, 2],
        ["an empty text", 1, 3],
      ]);
      deepEqual(shares, []);
    }
  });
});

Deno.test("openCorpus() mixes by weights, and takes a path as it stands first", async () => {
  const jsonl = (text: string, count: number) => `${JSON.stringify({ text })}\n`.repeat(count);
  const files = { "a.jsonl": jsonl("aaaa", 30), "b/b.jsonl": jsonl("bbbb", 100), "c:1": "whole" };
  await withFiles(files, async (folder) => {
    const reports: CorpusReport[] = [];
    const corpus = openCorpus([`${folder}/a.jsonl:0.3`, `${folder}/b:.7`], {
      onPass: (report) => reports.push(report),
    });
    const found = (await read(corpus)).map((d) => d.text);
    deepEqual(found.slice(0, 10).join("").replaceAll(/(.)\1{3}/g, "$1"), "abbbabbabb");
    deepEqual(reports[0].shares, [
      { name: `${folder}/a.jsonl`, share: 0.3, documents: 30, bytes: 120, exhausted: true },
      { name: `${folder}/b`, share: 0.7, documents: 70, bytes: 280, exhausted: false },
    ]);
    deepEqual((await read(openCorpus([`${folder}/c:1`]))).map((d) => d.text), ["whole"]);
    const fails = (source: string, message: RegExp) =>
      rejects(read(openCorpus([`${folder}/c:1`, source])), message);
    await fails(`${folder}/a.jsonl:2`, /Either all sources must have a weight or none: ".*\/c:1" has none/);
    await fails(`${folder}/a.jsonl:0`, /^RangeError: A weight must be above 0/);
  });
});

Deno.test("openCorpus() looks up all sources before it reads the first", async () => {
  await withFiles({ "a.txt": bytes(0xff) }, async (folder) => {
    await rejects(read(openCorpus([`${folder}/a.txt`, `${folder}/none`])), Deno.errors.NotFound);
    await rejects(read(openCorpus([`${folder}/a.txt`, `${folder}/*.zip`])), Deno.errors.NotFound);
  });
});

Deno.test("openCorpus() tells whether it can be read again", () => {
  for (const source of ["-", "-.jsonl", "-:0.5", "-.csv.gz:1"]) {
    equal(openCorpus(["a", source]).replayable, false);
  }
  for (const source of ["a-", "./-", "-a", "http://x/-"]) equal(openCorpus([source]).replayable, true);
});
