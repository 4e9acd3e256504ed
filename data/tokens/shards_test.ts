import { deepEqual, equal, rejects } from "node:assert/strict";
import { join } from "node:path";
import { readTokens } from "./token_ids.ts";
import { openTokenShards, writeTokenShards } from "./shards.ts";

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(join(folder, "cache", "k"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** 1,000 ids to train on in shards of 300, in portions of 70, and none to validate with. */
function write(folder: string): Promise<void> {
  return writeTokenShards(folder, 2, async ({ train }) => {
    for (let i = 0; i < 1000; i += 70) {
      await train.append(Uint16Array.from({ length: Math.min(70, 1000 - i) }, (_, k) => 3 * (i + k)), 2);
    }
    return { corpus: "c" };
  }, 300);
}

const namesIn = async (folder: string) => (await Array.fromAsync(Deno.readDir(folder), (e) => e.name)).sort();

Deno.test("openTokenShards() gives what writeTokenShards() wrote, and the shards are bare ids", async () => {
  await withFolder(async (folder) => {
    equal(await openTokenShards(folder), null);
    await write(folder);
    deepEqual(await namesIn(join(folder, "..")), ["k"]);
    deepEqual(await namesIn(folder), ["index.json", ...[0, 1, 2, 3].map((i) => `train-0000${i}.bin`)]);
    const bytes = await Deno.readFile(join(folder, "train-00003.bin"));
    deepEqual([...new DataView(bytes.buffer).getUint16(2, true).toString()].join(""), String(3 * 901));
    equal(bytes.length, 200);
    using shards = (await openTokenShards(folder))!;
    deepEqual(shards.index.made_from, { corpus: "c" });
    const { tokens, text_bytes } = shards.index.train;
    deepEqual([tokens, text_bytes, shards.ids.train.length, shards.ids.validation.length], [
      1000,
      30,
      1000,
      0,
    ]);
    const ids = new Uint32Array(1000);
    readTokens(shards.ids.train, 0, ids);
    deepEqual([...ids], Array.from({ length: 1000 }, (_, i) => 3 * i));
  });
});

Deno.test("openTokenShards() takes damage and other versions for nothing, and they are made anew", async () => {
  const index = (folder: string, change: (text: string) => string) => async () => {
    const path = join(folder, "index.json");
    await Deno.writeTextFile(path, change(await Deno.readTextFile(path)));
  };
  await withFolder(async (folder) => {
    const shard = join(folder, "train-00001.bin");
    const damages = [
      () => Deno.writeFile(shard, new Uint8Array(600)),
      () => Deno.truncate(shard, 599),
      () => Deno.remove(shard),
      index(folder, (text) => text.slice(0, -9)),
      index(folder, () => "null"),
      index(folder, (text) => text.replace('"version": 1', '"version": 2')),
      index(folder, (text) => text.replace('"tokens": 1000', '"tokens": 1001')),
    ];
    for (const damage of damages) {
      await write(folder);
      await damage();
      equal(await openTokenShards(folder), null);
    }
    await write(folder);
    (await openTokenShards(folder))![Symbol.dispose]();
  });
});

Deno.test("writeTokenShards() leaves nothing behind when it fails, and cleans up after a killed process", async () => {
  await withFolder(async (folder) => {
    const failing = writeTokenShards(folder, 2, async ({ train }) => {
      await train.append(new Uint16Array(10), 1);
      throw new RangeError("no more");
    });
    await rejects(failing, { name: "RangeError", message: "no more" });
    deepEqual(await namesIn(join(folder, "..")), []);

    // What killed processes and one that is still at work have there, of this entry and of another.
    const leftovers = [".tmp-k-dead", ".tmp-other-alive", ".tmp-other-dead"].map((name) =>
      join(folder, "..", name)
    );
    for (const leftover of leftovers) {
      await Deno.mkdir(leftover);
      await Deno.writeFile(join(leftover, ".lock"), new Uint8Array());
    }
    using alive = await Deno.open(join(leftovers[1], ".lock"), { write: true });
    await alive.lock(true);
    await Deno.mkdir(join(folder, "..", ".tmp-a-without-a-lock"));
    await write(folder);
    deepEqual(await namesIn(join(folder, "..")), [".tmp-a-without-a-lock", ".tmp-other-alive", "k"]);
  });
});

Deno.test("two that make the same shards at once both find them", async () => {
  await withFolder(async (folder) => {
    await Promise.all([write(folder), write(folder)]);
    (await openTokenShards(folder))![Symbol.dispose]();
    deepEqual(await namesIn(join(folder, "..")), ["k"]);
  });
});
