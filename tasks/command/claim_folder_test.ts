import { deepEqual, equal, rejects } from "node:assert/strict";
import { join } from "node:path";
import { inTempDir } from "../../tests/temporary_files.ts";
import { claimFolder, claimNewFolder } from "./claim_folder.ts";

const namesIn = async (dir: string) => (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();

Deno.test("claimNewFolder() gives each of several that start at once a folder of its own, and takes back empty ones", () =>
  inTempDir(async (dir) => {
    const runs = join(dir, "runs");
    const claimed = await Promise.all([1, 2, 3].map(() => claimNewFolder(join(runs, "nano-now"))));
    const names = ["nano-now", "nano-now-2", "nano-now-3"];
    deepEqual(claimed.map(({ dir }) => dir).sort(), names.map((name) => join(runs, name)));
    await Deno.writeTextFile(join(claimed[0].dir, "run.json"), "{}");
    for (const { release } of claimed) await release();
    deepEqual(await namesIn(runs), [claimed[0].dir.slice(runs.length + 1)]);
  }));

Deno.test("claimFolder() makes what is missing, takes what is there, and refuses what cannot be written", () =>
  inTempDir(async (dir) => {
    const out = join(dir, "a", "b");
    const { release } = await claimFolder(out);
    await (await claimFolder(out)).release();
    deepEqual(await namesIn(join(dir, "a")), ["b"]);
    await release();
    deepEqual(await namesIn(dir), []);
    const file = join(dir, "file");
    await Deno.writeTextFile(file, "");
    await rejects(claimFolder(file), /--out must be a folder that can be written, got .*file/);
    equal((await Deno.stat(file)).isFile, true);
  }));
