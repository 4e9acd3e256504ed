import assert from "node:assert/strict";
import { join } from "node:path";
import {
  checkpointPath,
  cleanRunFolder,
  latestCheckpoint,
  listCheckpoints,
  pruneCheckpoints,
  readRunFile,
  readRunOf,
  writeRunFile,
} from "./run_folder.ts";
import { writeFileAtomically, writeFolderAtomically } from "../../files/atomic_file.ts";
import { inTempDir } from "../../tests/temporary_files.ts";

/** The names in a folder, sorted. */
async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
}

/** Makes folders that look like checkpoints. */
async function makeCheckpoints(dir: string, ...names: string[]): Promise<void> {
  for (const name of names) {
    const path = join(dir, "checkpoints", name);
    await Deno.mkdir(path, { recursive: true });
    for (const file of ["config.json", "model.safetensors", "optimizer.safetensors", "training_state.json"]) {
      await Deno.writeTextFile(join(path, file), "");
    }
  }
}

Deno.test("latestCheckpoint() finds the highest step and skips incomplete and temporary folders", () =>
  inTempDir(async (dir) => {
    assert.equal(await latestCheckpoint(join(dir, "none")), null);
    assert.equal(await latestCheckpoint(dir), null);
    await makeCheckpoints(
      dir,
      "step-00000300",
      "step-100000000",
      "step-00000900",
      ".tmp-step-999999999-0a1b2c3d",
    );
    await makeCheckpoints(dir, "step-9", "step-00000950.bak", ".replaced-step-00000990");
    await Deno.mkdir(join(dir, "checkpoints", "step-200000000"));
    await Deno.writeTextFile(join(dir, "checkpoints", "step-300000000"), "a file");
    const path = checkpointPath(dir, 100000000);
    assert.deepEqual(await latestCheckpoint(dir), { step: 100000000, path });
    await Deno.remove(join(path, "optimizer.safetensors"));
    assert.deepEqual((await listCheckpoints(dir)).map(({ step }) => step), [300, 900]);
  }));

Deno.test("pruneCheckpoints() keeps the newest ones and the best one", () =>
  inTempDir(async (dir) => {
    await makeCheckpoints(dir, ...[1, 2, 3, 4, 5].map((step) => `step-0000000${step}`));
    const left = async () => (await namesIn(join(dir, "checkpoints"))).map((name) => Number(name.slice(5)));
    assert.deepEqual(await pruneCheckpoints(dir, 2, 1), [checkpointPath(dir, 2), checkpointPath(dir, 3)]);
    assert.deepEqual(await left(), [1, 4, 5]);
    assert.deepEqual(await pruneCheckpoints(dir, 9), []);
    assert.deepEqual(await pruneCheckpoints(dir, Infinity), []);
    await pruneCheckpoints(dir, 1, 5);
    assert.deepEqual(await left(), [5]);
    for (const keep of [0, -1, 1.5, NaN]) {
      await assert.rejects(pruneCheckpoints(dir, keep), /RangeError: .*keep must be a whole number from 1/);
    }
  }));

Deno.test("cleanRunFolder() removes what a killed process left and nothing else", () =>
  inTempDir(async (dir) => {
    assert.deepEqual(await cleanRunFolder(join(dir, "none")), []);
    await makeCheckpoints(dir, "step-00000001", ".tmp-step-00000002-0a1b2c3d", ".replaced-step-00000001");
    await Deno.writeTextFile(join(dir, ".tmp-run.json-0a1b2c3d"), "{");
    await Deno.writeTextFile(join(dir, "run.json"), "{}");
    assert.equal((await cleanRunFolder(dir)).length, 3);
    assert.deepEqual(await namesIn(dir), ["checkpoints", "run.json"]);
    assert.deepEqual(await namesIn(join(dir, "checkpoints")), ["step-00000001"]);
    assert.deepEqual(await cleanRunFolder(dir), []);
  }));

Deno.test("cleanRunFolder() leaves alone what is still being written, by whomever", () =>
  inTempDir(async (dir) => {
    await makeCheckpoints(dir, ".tmp-step-00000002-0a1b2c3d");
    await writeFolderAtomically(join(dir, "export"), async (temporary) => {
      await writeFileAtomically(join(dir, "notes.txt"), async (file) => {
        assert.deepEqual(await cleanRunFolder(dir), [
          join(dir, "checkpoints", ".tmp-step-00000002-0a1b2c3d"),
        ]);
        await file.write(new TextEncoder().encode("notes"));
      });
      await Deno.writeTextFile(join(temporary, "a"), "model");
    });
    assert.deepEqual(await namesIn(dir), ["checkpoints", "export", "notes.txt"]);
    assert.equal(await Deno.readTextFile(join(dir, "export", "a")), "model");
  }));

Deno.test("cleanRunFolder() puts back a checkpoint whose replacement never arrived", () =>
  inTempDir(async (dir) => {
    await makeCheckpoints(dir, ".replaced-step-00000007", ".tmp-step-00000007-0a1b2c3d");
    await cleanRunFolder(dir);
    assert.equal((await latestCheckpoint(dir))?.step, 7);
    assert.deepEqual(await namesIn(join(dir, "checkpoints")), ["step-00000007"]);
  }));

Deno.test("checkpointPath() pads the step and rejects what is none", () => {
  assert.equal(checkpointPath("runs/a", 300), join("runs", "a", "checkpoints", "step-00000300"));
  for (const step of [-1, 0.5, NaN, 1e15]) assert.throws(() => checkpointPath("a", step), RangeError);
});

Deno.test("readRunFile() reads back what writeRunFile() wrote", () =>
  inTempDir(async (dir) => {
    const run = join(dir, "runs", "a");
    await assert.rejects(readRunFile(run), /NotFound: .*run\.json/);
    await writeRunFile(run, { steps: 300, lr: 0.01 });
    await writeRunFile(run, { steps: 301 });
    assert.deepEqual(await readRunFile(run), { steps: 301 });
    assert.deepEqual(await namesIn(run), ["run.json"]);
    await assert.rejects(writeRunFile(run, { lr: Infinity }), /TypeError: .*"lr".*got Infinity/);
  }));

Deno.test("readRunOf() finds the run of a checkpoint, and none for a folder that stands for itself", () =>
  inTempDir(async (dir) => {
    const run = join(dir, "runs", "a");
    assert.equal(await readRunOf(checkpointPath(run, 3)), undefined);
    await writeRunFile(run, { steps: 300 });
    assert.deepEqual(await readRunOf(checkpointPath(run, 3)), { runDir: run, run: { steps: 300 } });
    assert.equal(await readRunOf(join(run, "other")), undefined);
  }));
