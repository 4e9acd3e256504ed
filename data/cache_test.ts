import { deepEqual, equal, notEqual, rejects } from "node:assert/strict";
import { join } from "node:path";
import { cacheKey, readCache, sha256, writeCache } from "./cache.ts";

const entry = { files: { a: new Uint8Array([1, 2, 3]), b: new Uint8Array() }, facts: { size: 3 } };

async function withCache(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await writeCache(join(folder, "new"), "k", entry);
    await use(join(folder, "new"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("readCache() gives back what writeCache() wrote, and no temporary file stays", async () => {
  await withCache(async (folder) => {
    deepEqual(await readCache(folder, "k", ["a", "b"]), entry);
    equal(await readCache(folder, "other", ["a"]), null);
    equal(await readCache(folder, "k", ["a", "c"]), null);
    const names = (await Array.fromAsync(Deno.readDir(folder))).map((e) => e.name).sort();
    deepEqual(names, ["k.a", "k.b", "k.index.json"]);
  });
});

Deno.test("readCache() takes a damaged entry for none", async () => {
  const damages: ((folder: string) => Promise<void>)[] = [
    (folder) => Deno.writeFile(join(folder, "k.a"), new Uint8Array([1, 2, 4])),
    (folder) => Deno.writeFile(join(folder, "k.a"), new Uint8Array([1, 2])),
    (folder) => Deno.remove(join(folder, "k.b")),
    (folder) => Deno.writeTextFile(join(folder, "k.index.json"), '{"files":'),
    (folder) => Deno.writeTextFile(join(folder, "k.index.json"), "null"),
    (folder) => Deno.writeTextFile(join(folder, "k.index.json"), '{"files":{}}'),
  ];
  for (const damage of damages) {
    await withCache(async (folder) => {
      await damage(folder);
      equal(await readCache(folder, "k", ["a", "b"]), null);
    });
  }
});

Deno.test("writeCache() leaves nothing behind when a file cannot take its place", async () => {
  await withCache(async (folder) => {
    await Deno.mkdir(join(folder, "z.a", "full"), { recursive: true });
    await rejects(writeCache(folder, "z", entry));
    const names = (await Array.fromAsync(Deno.readDir(folder))).map((e) => e.name);
    deepEqual(names.filter((name) => name.endsWith(".tmp")), []);
    equal(await readCache(folder, "z", ["a"]).catch(() => null), null);
  });
});

Deno.test("cacheKey() differs by kind and by every input", async () => {
  const keys = [await cacheKey("a", { x: 1 }), await cacheKey("b", { x: 1 }), await cacheKey("a", { x: 2 })];
  equal(new Set(keys).size, 3);
  equal(await cacheKey("a", { x: 1 }), keys[0]);
  notEqual(await sha256("a"), await sha256("b"));
});
