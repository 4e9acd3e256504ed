/** inspect-data and train-tokenizer as a user runs them, from files and from standard input. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import { pipeToTask, refused, runTask, taskCommand } from "../cli.ts";
import { goldenPath } from "../golden.ts";
import { withFiles } from "../temporary_files.ts";

const tokenizerPath = join(goldenPath("tokenizer")!, "tokenizer.json");
const tokenizer = await loadTokenizer(tokenizerPath);
const texts = ["The cat sat.", "On the mat\n\nsat a cat.", "The cat sat.", "é".repeat(40)];
const jsonl = new TextEncoder().encode(
  [...texts.map((text) => ({ text })), {}, { text: "" }, {}].map((row) => `${JSON.stringify(row)}\n`).join(
    "",
  ),
);

Deno.test("inspect-data reports the same for a file and for standard input, as JSON", async () => {
  await withFiles({ "a.jsonl": jsonl, "b/c.txt": "Tea, said the cat." }, async (folder) => {
    const shared = ["--tokenizer", tokenizerPath, "--sequences", "2", "--seq-len", "8", "--json"];
    const file = await runTask("inspect-data", ["--data", `${folder}/a.jsonl`, ...shared]);
    equal(file.code, 0, file.stderr);
    const found = JSON.parse(file.stdout);

    const ids = texts.map((text) => tokenizer.encode(text));
    const packed = ids.flatMap((ids, i) => i > 0 ? [tokenizer.eosId!, ...ids] : ids);
    const bytes = texts.map((text) => new TextEncoder().encode(text).length).reduce((a, b) => a + b);
    const tokens = ids.flat().length;
    deepEqual([found.documents, found.bytes, found.tokens, found.vocab_size], [4, bytes, tokens, 1024]);
    equal(found.bytes_per_token, bytes / tokens);
    deepEqual(found.duplicates, {
      documents: 1,
      bytes: 12,
      documents_share: 0.25,
      bytes_share: 12 / bytes,
    });
    equal(found.lengths.unit, "tokens");
    deepEqual([found.lengths.min, found.lengths.max], [ids[0].length, ids[3].length]);
    deepEqual(found.sources, [{ name: `${folder}/a.jsonl`, documents: 4, bytes, tokens }]);
    equal(found.rejected.rows, 3);
    deepEqual(
      found.rejected.reasons.map(({ reason, count, first }: Record<string, unknown>) => [
        reason,
        count,
        (first as { position: number }).position,
      ]),
      [['no field "text"', 2, 5], ["an empty text", 1, 6]],
    );
    deepEqual(
      found.sequences,
      [packed.slice(0, 8), packed.slice(8, 16)].map((ids) => {
        return { ids, text: tokenizer.decode(ids) };
      }),
    );

    const input = new Uint8Array(gzipSync(jsonl));
    const piped = await pipeToTask("inspect-data", ["--data", "-.jsonl", ...shared], input);
    equal(piped.code, 0, piped.stderr);
    const { sources, rejected, ...rest } = JSON.parse(piped.stdout);
    const { sources: _, rejected: { rows }, ...same } = found;
    deepEqual(rest, same);
    deepEqual([sources[0].name, rejected.rows], ["-.jsonl", rows]);
  });
});

Deno.test("inspect-data prints a table for people, mixtures and several sources included", async () => {
  await withFiles({ "a.jsonl": jsonl, "b/c.txt": "Tea, said the cat." }, async (folder) => {
    const data = ["--data", `${folder}/a.jsonl`, `${folder}/b`];
    const { code, stdout, stderr } = await runTask("inspect-data", [...data, "--vocab-size", "270"]);
    equal(code, 0, stderr);
    match(stdout, /^source +documents +bytes +tokens +bytes\/token\n.*a\.jsonl +4 +126 /);
    match(stdout, /\n.*\/b +1 +18 .*\nall +5 +144 /);
    match(
      stdout,
      /\nduplicates: 1 of 5 documents \(20\.0%\) and 12 bytes \(8\.3%\) repeat an earlier document\n/,
    );
    match(
      stdout,
      /\nrejected: 3 rows, 2 with no field "text" \(first: .*a\.jsonl:5\), 1 with an empty text /,
    );
    match(stdout, /\nvocabulary: \d+ of 270 ids occur\n/);
    match(stdout, /\n *8 to 15 +\d+ +\d+\.0% +█+/);
    match(stdout, /\nsequence 1, \d+ tokens:\nThe cat sat\.<\|endoftext\|>On the mat\n\nsat a cat\./);

    const weighted = data.slice(1).map((source) => `${source}:1`);
    const mixed = await runTask("inspect-data", ["--data", ...weighted]);
    match(mixed.stdout, /^source +documents +bytes\n/);
    match(mixed.stdout, /\nmixed: .*\/b, share 0\.500: 18 bytes in 1 documents \(all of it\)\n/);
    match(mixed.stdout, /\nlengths in bytes: from 12 to /);
    ok(!/sequence|left out/.test(mixed.stdout));
  });
});

Deno.test("inspect-data refuses what it cannot do with one message", async () => {
  await withFiles({ "a.txt": "text", "empty.txt": "" }, async (folder) => {
    const data = ["--data", `${folder}/a.txt`];
    const cases: [string[], 1 | 2, RegExp][] = [
      [["--data", "-", "--vocab-size", "300"], 2, /standard input can be read once: give a --tokenizer/],
      [[...data, "--vocab-size", "300", "--tokenizer", tokenizerPath], 2, /give one of them/],
      [[...data, "--vocab-size", "256"], 2, /--vocab-size must be an integer of at least 257/],
      [[...data, "--tokenizer", `${folder}/a.txt`], 1, /Cannot read ".*a\.txt" as a tokenizer/],
      [["--data", `${folder}/a.bin`], 2, /--data must be text here, got token ids in .*a\.bin/],
      [["--data", `${folder}/empty.txt`], 1, /must hold text: got no document/],
      [["--data", `${folder}/none.txt`], 1, /there is no file or folder ".*none\.txt"/],
    ];
    for (const [args, exit, message] of cases) refused(await runTask("inspect-data", args), exit, message);
  });
});

Deno.test("train-tokenizer reads standard input once, and takes special tokens", async () => {
  await withFiles({ "a.jsonl": jsonl }, async (folder) => {
    const [first, second] = [join(folder, "1.json"), join(folder, "2.json")];
    const settings = ["--vocab-size", "270", "--special-tokens", "<|user|>", "<|bot|>", "--json", "--out"];
    const piped = await pipeToTask("train-tokenizer", ["--data", "-.jsonl", ...settings, first], jsonl);
    equal(piped.code, 0, piped.stderr);
    deepEqual(JSON.parse(piped.stdout), {
      out: first,
      vocab_size: 270,
      documents: 4,
      bytes: 126,
      words: 11,
      dropped: 0,
    });
    const file = await runTask("train-tokenizer", ["--data", `${folder}/a.jsonl`, ...settings, second]);
    equal(file.code, 0, file.stderr);
    equal(await Deno.readTextFile(second), await Deno.readTextFile(first));
    const trained = await loadTokenizer(first);
    deepEqual(trained.encode("<|endoftext|><|user|><|bot|>"), [0, 1, 2]);
    equal(trained.decode(trained.encode("<|user|>a cat<|bot|>"), { skipSpecialTokens: true }), "a cat");

    const few = ["--data", `${folder}/a.jsonl`, "--out", second, "--vocab-size", "280", "--max-words", "5"];
    match((await runTask("train-tokenizer", few)).stdout, /dropped: \d+ occurrences of the rarest words/);
    const wrong: [string[], RegExp][] = [
      [["--special-tokens", "a"], /--special-tokens: Special tokens must be different .* got "a"/],
      [["--vocab-size", "257", "--special-tokens", "<a>"], /--vocab-size: .* at least 258/],
    ];
    for (const [args, message] of wrong) refused(await runTask("train-tokenizer", args), 2, message);
  });
});

Deno.test("train-tokenizer draws a bar on a terminal", { ignore: Deno.build.os !== "linux" }, async () => {
  await withFiles({}, async (folder) => {
    // Enough work for the bar to appear, whatever the machine: it is drawn after a tenth of a second.
    const words = Array.from(
      { length: 60_000 },
      (_, i) => (i * 7919 % 300_007).toString(26) + i.toString(36),
    );
    await Deno.writeTextFile(join(folder, "a.txt"), words.join(" "));
    const command = taskCommand("train-tokenizer", [
      ...["--data", join(folder, "a.txt"), "--vocab-size", "4000", "--out", join(folder, "t.json")],
    ]);
    const quoted = command.map((word) => `'${word}'`).join(" ");
    // script gives the command a terminal.
    const options = { args: ["-qec", quoted, "/dev/null"], stdin: "null" as const };
    const { code, stdout } = await new Deno.Command("script", options).output();
    const text = new TextDecoder().decode(stdout);
    equal(code, 0, text);
    const lines = text.split("\r\x1b[2K");
    ok(lines.some((line) => /^merging: +\d+\/4000 .*%$/.test(line)), text);
    match(lines.at(-1)!, /^\S*t\.json: 4000 token ids/);
  });
});
