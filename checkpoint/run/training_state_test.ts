import assert from "node:assert/strict";
import { join } from "node:path";
import type { ModelFolder } from "../hugging_face.ts";
import { latestCheckpoint, listCheckpoints } from "./run_folder.ts";
import type { TensorToWrite } from "../safetensors/safetensors.ts";
import {
  type CheckpointContents,
  readCheckpoint,
  readTrainingState,
  writeCheckpoint,
} from "./training_state.ts";
import { inTempDir } from "../../tests/temporary_files.ts";

const tensor = (name: string, byte: number): TensorToWrite => ({
  name,
  dtype: "U8",
  shape: [1],
  data: Uint8Array.of(byte),
});

function contents(step: number, byte = 0): CheckpointContents {
  return {
    model: { config: { model_type: "mine" }, tensors: [tensor("w", byte)], tokenizerJson: "{}" },
    optimizer: [tensor("w.v", byte + 1)],
    state: { step, seeds: { data: 7 }, dataCursor: { epoch: 1, offset: 0.1 }, metrics: { best: 1e-300 } },
  };
}

/** The names in a folder, sorted. */
async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
}

Deno.test("readCheckpoint() reads back what writeCheckpoint() wrote", () =>
  inTempDir(async (dir) => {
    const run = join(dir, "runs", "a");
    const path = await writeCheckpoint(run, contents(300));
    assert.equal(path, join(run, "checkpoints", "step-00000300"));
    assert.deepEqual(await namesIn(path), [
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "optimizer.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
      "training_state.json",
    ]);
    assert.deepEqual(await namesIn(join(run, "checkpoints")), ["step-00000300"]);
    using checkpoint = await readCheckpoint(path);
    assert.deepEqual(checkpoint.state, contents(300).state);
    assert.deepEqual(await (checkpoint.model as ModelFolder).read("w"), Uint8Array.of(0));
    assert.deepEqual(await checkpoint.optimizer.read("w.v"), Uint8Array.of(1));
  }));

Deno.test("writeCheckpoint() replaces a checkpoint of the same step", () =>
  inTempDir(async (dir) => {
    await writeCheckpoint(dir, contents(1, 10));
    const path = await writeCheckpoint(dir, contents(1, 20));
    using checkpoint = await readCheckpoint(path);
    assert.deepEqual(await (checkpoint.model as ModelFolder).read("w"), Uint8Array.of(20));
    assert.deepEqual(await namesIn(join(dir, "checkpoints")), ["step-00000001"]);
  }));

Deno.test("a checkpoint is not to be seen before it is complete", () =>
  inTempDir(async (dir) => {
    const seen: number[] = [];
    const look = async () => {
      seen.push((await listCheckpoints(dir)).length);
      seen.push((await namesIn(join(dir, "checkpoints"))).filter((name) => name.startsWith("step-")).length);
      return Uint8Array.of(1);
    };
    await writeCheckpoint(dir, { ...contents(5), optimizer: [{ ...tensor("v", 0), data: look }] });
    assert.deepEqual(seen, [0, 0]);
    assert.equal((await latestCheckpoint(dir))?.step, 5);
  }));

Deno.test("writeCheckpoint() that fails leaves the older checkpoint of the step and nothing else", () =>
  inTempDir(async (dir) => {
    await writeCheckpoint(dir, contents(5, 1));
    const fails = () => Promise.reject(new Error("the device is lost"));
    const lost = { ...contents(5, 2), optimizer: [{ ...tensor("v", 0), data: fails }] };
    await assert.rejects(writeCheckpoint(dir, lost), /the device is lost/);
    const bad = contents(5);
    const notFinite = { ...bad, state: { ...bad.state, metrics: { loss: NaN } } };
    await assert.rejects(writeCheckpoint(dir, notFinite), /TypeError: .*"loss".*got NaN/);
    await assert.rejects(writeCheckpoint(dir, contents(-1)), /RangeError: .*step.*got -1/);
    await assert.rejects(writeCheckpoint(dir, contents(1.5)), RangeError);
    assert.deepEqual(await namesIn(join(dir, "checkpoints")), ["step-00000005"]);
    using checkpoint = await readCheckpoint(join(dir, "checkpoints", "step-00000005"));
    assert.deepEqual(await (checkpoint.model as ModelFolder).read("w"), Uint8Array.of(1));
  }));

Deno.test("writeCheckpoint() says where it cannot write", () =>
  inTempDir(async (dir) => {
    const file = join(dir, "file");
    await Deno.writeTextFile(file, "");
    await assert.rejects(writeCheckpoint(file, contents(1)), (error: Error) => {
      assert.match(error.message, /^Cannot write the checkpoint .*step-00000001: /);
      return true;
    });
  }));

Deno.test("readTrainingState() rejects what it cannot continue from", () =>
  inTempDir(async (dir) => {
    const path = join(await writeCheckpoint(dir, contents(3)), "training_state.json");
    const text = await Deno.readTextFile(path);
    const whole = JSON.parse(text);
    const verdict = async (content: string, message: RegExp) => {
      await Deno.writeTextFile(path, content);
      await assert.rejects(readTrainingState(join(path, "..")), message);
    };
    await verdict(text.slice(0, -10), /SyntaxError: .*training_state\.json: it must be JSON.*cut short/);
    await verdict("", /SyntaxError: .*it must be JSON/);
    await verdict("[]", /SyntaxError: .*must hold a JSON object, got an array/);
    await verdict("{}", /SyntaxError: .*format must be "koala-lm training state", got nothing/);
    await verdict(
      JSON.stringify({ ...whole, version: 2 }),
      /SyntaxError: .*version must be 1, got 2; .*another version/,
    );
    await verdict(
      JSON.stringify({ ...whole, step: -3 }),
      /SyntaxError: .*step must be a whole number from 0, got -3/,
    );
    await verdict(JSON.stringify({ ...whole, step: "3" }), /SyntaxError: .*got "3"/);
    await verdict(
      JSON.stringify({ ...whole, seeds: [] }),
      /SyntaxError: .*seeds must be an object, got \[\]/,
    );
    await verdict(
      JSON.stringify({ ...whole, metrics: undefined }),
      /SyntaxError: .*metrics must be an object, got nothing/,
    );
    await verdict(JSON.stringify({ ...whole, more: 1 }), /SyntaxError: .*must not hold "more", got 1/);
    await Deno.remove(path);
    await assert.rejects(readTrainingState(join(path, "..")), /NotFound: .*training_state\.json/);
    await assert.rejects(readCheckpoint(join(path, "..")), /NotFound: .*training_state\.json/);
  }));
