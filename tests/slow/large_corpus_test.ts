/** A corpus of 3 GB, made on disk from the default one and removed: many minutes, and up to 10 GB of room. */
import { equal, ok } from "node:assert/strict";
import { join } from "node:path";
import { readGutenberg } from "../../data/corpus/gutenberg.ts";
import { trainOrLoadTokenizer } from "../../data/tokens/dataset.ts";
import { formatTokenizerJson } from "../../data/tokenizer/tokenizer_json.ts";
import { startCommand, taskCommand } from "../cli.ts";

const BYTES = Number(Deno.env.get("CORPUS_BYTES") ?? 3e9);
const MOST_RESIDENT = 600e6;

const books = await Array.fromAsync(readGutenberg());

/** Writes files of about 100 MB, in which every book begins in another way. */
async function writeCorpus(folder: string): Promise<void> {
  await Deno.mkdir(folder);
  const encoder = new TextEncoder();
  let bytes = 0;
  for (let copy = 0; bytes < BYTES; copy++) {
    const path = join(folder, `part-${Math.floor(copy / 9)}.txt`);
    for (const { text } of books) {
      const data = encoder.encode(`Copy ${copy}\n\n${text}\n\n`);
      await Deno.writeFile(path, data, { append: true });
      bytes += data.length;
    }
  }
}

/** The most memory that a process has while it runs, looked at twice a second. */
async function mostResident(pid: number, ended: Promise<unknown>): Promise<number> {
  let [most, running] = [0, true];
  ended.finally(() => running = false);
  while (running) {
    const { stdout } = await new Deno.Command("ps", { args: ["-o", "rss=", "-p", `${pid}`] }).output();
    most = Math.max(most, 1024 * Number(new TextDecoder().decode(stdout)));
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 500))]);
  }
  return most;
}

/** All files of a folder as one, compressed. */
async function compress(folder: string, path: string): Promise<void> {
  const out = await Deno.open(path, { write: true, create: true });
  const gzip = new CompressionStream("gzip");
  const written = gzip.readable.pipeTo(out.writable);
  for await (const { name } of Deno.readDir(folder)) {
    using file = await Deno.open(join(folder, name));
    await file.readable.pipeTo(gzip.writable, { preventClose: true });
  }
  await gzip.writable.close();
  await written;
}

for (const compressed of [false, true]) {
  const source = compressed ? "through standard input as .gz" : "on disk";
  Deno.test(`3 GB ${source} stream through tokenisation into training in less than 600 MB`, {
    ignore: Deno.build.os === "windows",
  }, async () => {
    const folder = await Deno.makeTempDir();
    const at = (name: string) => join(folder, name);
    try {
      await writeCorpus(at("corpus"));
      if (compressed) await compress(at("corpus"), at("corpus.gz"));
      const tokenizer = await trainOrLoadTokenizer({ sources: books, vocabSize: 2048 });
      await Deno.writeTextFile(at("tokenizer.json"), formatTokenizerJson(tokenizer.json));
      // All of 5% would take hours to evaluate on a software adapter.
      await Deno.writeTextFile(at("held_out.txt"), books[4].text);
      const started = performance.now();
      const command = taskCommand("train-lm", [
        ...["--data", compressed ? "-" : at("corpus")],
        ...["--validation-data", at("held_out.txt"), "--tokenizer", at("tokenizer.json")],
        ...["--cache", at("cache"), "--out", at("run"), "--json"],
        ..."--no-autotune --steps 3 --eval-every 0 --sample-tokens 0".split(" "),
      ]);
      const input = compressed ? at("corpus.gz") : "/dev/null";
      const child = startCommand(["sh", "-c", 'exec "$@" < "$0"', input, ...command]);
      const output = child.output();
      const most = await mostResident(child.pid, output);
      const { code, stdout, stderr } = await output;
      equal(code, 0, new TextDecoder().decode(stderr));
      equal(JSON.parse(new TextDecoder().decode(stdout)).step, 3);
      const seconds = (performance.now() - started) / 1000;
      console.log(
        `${BYTES / 1e9} GB: ${seconds.toFixed(0)} s, at most ${Math.round(most / 1e6)} MB resident`,
      );
      ok(most > 0 && most < MOST_RESIDENT, `resident memory must stay below 600 MB, got ${most / 1e6} MB`);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}
