import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { trainBpe } from "../tokenizer/bpe_trainer.ts";
import { openTokenFiles } from "./bins.ts";
import { readTokens, type TokenIds } from "./token_ids.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";

const tokenizer = Tokenizer.fromJson(await trainBpe([["word", 1]], { vocabSize: 260 }));

const idsOf = (ids: TokenIds) => {
  const all = new Uint32Array(ids.length);
  readTokens(ids, 0, all);
  return [...all];
};

/** Two files of 16-bit ids, 100 and 60. */
async function withBins(use: (paths: string[], ids: number[]) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const ids = Array.from({ length: 160 }, (_, i) => (i * 37) % 260);
    const paths = ["train.bin", "val.bin"].map((name) => join(folder, name));
    for (const [i, part] of [ids.slice(0, 100), ids.slice(100)].entries()) {
      await Deno.writeFile(paths[i], new Uint8Array(Uint16Array.from(part).buffer));
    }
    await use(paths, ids);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("openTokenFiles() holds the end of its files out, or files of their own", async () => {
  await withBins(async (paths, ids) => {
    using ends = await openTokenFiles({ train: paths, tokenizer, validationFraction: 0.25 });
    deepEqual([idsOf(ends.train), idsOf(ends.validation)], [ids.slice(0, 120), ids.slice(120)]);
    using both = await openTokenFiles({ train: [paths[0]], validation: [paths[1]], tokenizer });
    deepEqual([idsOf(both.train), idsOf(both.validation)], [ids.slice(0, 100), ids.slice(100)]);
    const bytes = ids.slice(100).reduce((sum, id) => sum + tokenizer.byteLengths[id], 0);
    deepEqual([both.validationBytes, both.documents], [
      bytes,
      ids.filter((id) => id === tokenizer.eosId).length,
    ]);
    ok(bytes > 0);
    notEqual(ends.corpusDigest, both.corpusDigest);
    using again = await openTokenFiles({ train: [paths[0]], validation: [paths[1]], tokenizer });
    equal(again.corpusDigest, both.corpusDigest);
  });
});

Deno.test("openTokenFiles() refuses ids of another vocabulary and files of another width", async () => {
  await withBins(async ([train, val]) => {
    await Deno.writeFile(val, new Uint8Array(Uint16Array.of(1, 260).buffer));
    await rejects(openTokenFiles({ train: [train], validation: [val], tokenizer }), {
      name: "RangeError",
      message: /below 260, the tokenizer's vocabulary: id 1 is 260/,
    });
    await Deno.writeFile(train, new Uint8Array(5));
    await rejects(openTokenFiles({ train: [train], tokenizer }), { name: "RangeError", message: /5 bytes/ });
  });
});
