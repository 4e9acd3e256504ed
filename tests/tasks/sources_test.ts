/** Data from every kind of source, and everything that can be wrong with one, as a user meets them. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import { refused, runTask } from "../cli.ts";
import { type ServedFile, serveFiles } from "../file_server.ts";
import { goldenPath } from "../golden.ts";
import { withFiles } from "../temporary_files.ts";

const encoder = new TextEncoder();
const text = "the sun rose over a quiet sea and seven old men spoke of rain\n\n".repeat(200);
const rows = Array.from(
  { length: 40 },
  (_, i) => `${JSON.stringify({ body: `${i} ${text.slice(0, 800)}` })}\n`,
);
const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };
const network = ["--allow-net=127.0.0.1"];

Deno.test("train-tokenizer gives the same for the same texts in other formats and from elsewhere", async () => {
  const jsonl = encoder.encode(rows.join(""));
  const table = `body\n${
    rows.map((row) => JSON.parse(row).body.replaceAll("\n", "\r\n")).map((t) => `"${t}"\n`).join("")
  }`;
  const files = {
    "a.jsonl": jsonl,
    "b/a.jsonl.gz": gzipSync(jsonl),
    "a.csv.zst": zstdCompressSync(encoder.encode(table)),
  };
  await using server = await serveFiles({ "/a.jsonl": { content: jsonl, breaks: [9000] } });
  await withFiles(files, async (folder) => {
    const tokenizer = async (source: string, permissions: string[] = []) => {
      const out = join(folder, "tokenizer.json");
      const options = ["--data", source, "--text-field", "body", "--vocab-size", "300", "--out", out];
      const { code, stderr } = await runTask("train-tokenizer", options, {}, permissions);
      equal(code, 0, stderr);
      return await Deno.readTextFile(out);
    };
    const expected = await tokenizer(`${folder}/a.jsonl`);
    for (const source of [`${folder}/b`, `${folder}/*.zst`]) equal(await tokenizer(source), expected, source);
    equal(await tokenizer(`${server.url}/a.jsonl`, network), expected);
    ok(server.requests.some((request) => request.startsWith("GET /a.jsonl bytes=")));
  });
});

Deno.test("train-tokenizer says what it left out and how sources were mixed", async () => {
  const row = JSON.stringify({ text: text.slice(0, 1000) });
  const files = {
    "a.jsonl": `${row}\n{}\n${row}\n`,
    "b.txt": text.slice(0, 5000),
    "c.txt": text.slice(0, 3000),
    "d.txt": text,
  };
  await withFiles(files, async (folder) => {
    const options = ["--vocab-size", "300", "--out", join(folder, "t.json")];
    const data = [`${folder}/a.jsonl:1`, `${folder}/[bcd].txt:3`];
    const { code, stdout } = await runTask("train-tokenizer", ["--data", ...data, ...options]);
    equal(code, 0);
    match(stdout, /^left out: 1 row, 1 with no field "text" \(first: .*a\.jsonl:2\)$/m);
    match(
      stdout,
      /^mixed: .*a\.jsonl, share 0\.250: 2000 bytes in 2 documents \(all of it\)$/m,
    );
    match(
      stdout,
      /^mixed: .*\[bcd\]\.txt, share 0\.750: 8000 bytes in 2 documents \(the rest is not used\)$/m,
    );
  });
});

Deno.test("train-tokenizer says in one message what is wrong with its data, and writes nothing", async () => {
  const gz = new Uint8Array(gzipSync(encoder.encode(text)));
  const zst = new Uint8Array(zstdCompressSync(encoder.encode(text), checked));
  const damaged = zst.slice();
  damaged[damaged.length >> 1] ^= 0x55;
  damaged[(damaged.length >> 1) + 1] ^= 0x55;
  const parquet = await Deno.readFile(join(goldenPath("parquet")!, "zstd.parquet"));
  const files = {
    "cut.txt.gz": gz.slice(0, gz.length >> 1),
    "cut.txt.zst": zst.slice(0, zst.length - 3),
    "damaged.txt.zst": damaged,
    "latin1.txt": new Uint8Array([...encoder.encode("caf"), 0xe9, 0x0a]),
    "a.parquet": parquet,
    "cut.parquet": parquet.slice(0, 1000),
    "broken.jsonl": `${rows[0]}{"body": \n`,
    "empty.jsonl": '{"text": ""}\n{"text": null}\n',
    "a.csv": "id,body\n1,a\n",
    "a.zip": "PK",
    "nothing/a.bin": "x",
  };
  const served: Record<string, ServedFile> = { "/stuck.txt": { content: gz, breaks: Array(9).fill(0) } };
  await using server = await serveFiles(served);
  const hub = { HF_ENDPOINT: server.url };
  await withFiles(files, async (folder) => {
    const local: [string, RegExp][] = [
      ["cut.txt.gz", /Cannot read ".*cut\.txt\.gz" as gzip: it is cut short: it ends after \d+ bytes/],
      ["cut.txt.zst", /Cannot read ".*cut\.txt\.zst" as Zstandard: it is cut short/],
      ["damaged.txt.zst", /Cannot read ".*damaged\.txt\.zst" as Zstandard: it is damaged/],
      ["latin1.txt", /must be UTF-8 unless told otherwise: ".*latin1\.txt" has an invalid byte at offset 3;/],
      ["a.parquet --text-field body", /must be in a column "body": ".*a\.parquet" has "id", "text";/],
      ["cut.parquet", /must be well-formed: ".*cut\.parquet" cannot be read/],
      ["broken.jsonl --text-field body", /must be JSON: ".*broken\.jsonl" line 2 is not/],
      [
        "broken.jsonl",
        /the text in a field "text": none of the first 1 .* the first has "body"|line 2 is not/,
      ],
      ["empty.jsonl", /got no document, and left out 2 rows, 1 with an empty text .*, 1 with null in "text"/],
      ["a.csv", /must be in a column "text": ".*a\.csv" has "id", "body"/],
      ["a.zip", /must be one of \.txt, .*a\.zip"; unpack it/],
      ["nothing", /must hold a file in a known format/],
    ];
    const remote: [string, RegExp][] = [
      [`${server.url}/none.txt`, /the server answered 404 Not Found; check the address/],
      [`${server.url}/stuck.txt`, /broke off after 0 of \d+ bytes, and 5 tries to go on from there failed/],
      ["http://127.0.0.1:1/a.txt", /cannot be reached/],
      ["hf://datasets/owner/none/a.jsonl", /there is no "hf:\/\/datasets\/owner\/none\/a\.jsonl"/],
    ];
    const before = await Array.fromAsync(Deno.readDir(folder));
    const cases = [
      ...local.map(([args, message]) => [`${folder}/${args}`, message, []] as const),
      ...remote.map(([args, message]) => [args, message, [...network, "--allow-env=HF_ENDPOINT"]] as const),
      [
        `${server.url}/none.txt`,
        /Deno did not allow net access to 127\.0\.0\.1:\d+, .*--allow-net=127/,
        [],
      ] as const,
    ];
    for (const [args, message, permissions] of cases) {
      const options = ["--out", join(folder, "out.json"), "--data", ...args.split(" ")];
      refused(await runTask("train-tokenizer", options, hub, permissions), 1, message);
    }
    const encoding = ["--data", `${folder}/latin1.txt`, "--encoding", "klingon"];
    refused(await runTask("train-tokenizer", encoding), 2, /--encoding: An encoding must be .*"klingon"/);
    deepEqual(await Array.fromAsync(Deno.readDir(folder)), before);
  });
});

Deno.test("standard input is read once, decompressed, in the format that is named", async () => {
  const corpus = new URL("../../data/corpus/corpus.ts", import.meta.url);
  const read = async (source: string, input: Uint8Array, passes = 1) => {
    const program = `import { openCorpus } from "${corpus}";
      const corpus = openCorpus(["${source}"]);
      const texts = [];
      try {
        for (let pass = 0; pass < ${passes}; pass++) for await (const { text } of corpus) texts.push(text);
        console.log(JSON.stringify(texts));
      } catch (error) {
        console.log(String(error));
      }`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--ext=ts", program],
      cwd: fileURLToPath(new URL("../..", import.meta.url)),
      env: { NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(input);
    await writer.close();
    return new TextDecoder().decode((await child.output()).stdout).trim();
  };
  const jsonl = encoder.encode('{"text": "one"}\n{"text": "two"}\n');
  equal(await read("-", encoder.encode("some\r\ntext")), '["some\\ntext"]');
  equal(await read("-.jsonl", new Uint8Array(gzipSync(jsonl))), '["one","two"]');
  equal(await read("-.jsonl", new Uint8Array(zstdCompressSync(jsonl))), '["one","two"]');
  match(await read("-", new Uint8Array(0)), /^RangeError: Standard input must hold text: got nothing/);
  match(await read("-", jsonl, 2), /^TypeError: Standard input can be read only once/);
});

Deno.test("train-lm takes and records the data's field and encoding, and resumes with them", async () => {
  const latin1 = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));
  const lines = rows.map((row) => row.replaceAll("quiet", "café"));
  const config = { model_type: "gpt2", n_positions: 16, n_embd: 16, n_layer: 1, n_head: 1 };
  const files = { "a.jsonl": latin1(lines.join("")), "config.json": JSON.stringify(config) };
  await withFiles(files, async (folder) => {
    const out = join(folder, "run");
    const shared = [
      "--steps",
      "2",
      "--sample-tokens",
      "0",
      "--no-autotune",
      "--cache",
      join(folder, "cache"),
    ];
    const data = ["--data", `${folder}/a.jsonl`, "--text-field", "body", "--encoding", "latin1"];
    const model = "--vocab-size 300 --seq-len 16 --batch-size 1 --model".split(" ");
    const train = [...data, ...model, join(folder, "config.json"), ...shared];
    const first = await runTask("train-lm", [...train, "--out", out]);
    equal(first.code, 0, first.stderr);
    const { config: recorded } = JSON.parse(await Deno.readTextFile(join(out, "run.json")));
    deepEqual([recorded.textField, recorded.encoding], ["body", "latin1"]);
    const again = await runTask("train-lm", ["--resume", out, ...shared, "--steps", "3"]);
    equal(again.code, 0, again.stderr);
    const other = ["--resume", out, "--text-field", "text"];
    refused(await runTask("train-lm", other), 1, /differs in textField "body", now "text"/);
  });
});
