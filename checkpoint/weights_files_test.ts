import assert from "node:assert/strict";
import { join } from "node:path";
import { fromFloat32 } from "./safetensors/float_formats.ts";
import { readSafetensors, type SafetensorsFile, type TensorToWrite } from "./safetensors/safetensors.ts";
import { openWeights, writeWeights } from "./weights_files.ts";
import { inTempDir } from "../tests/temporary_files.ts";

/** A tensor of so many bytes. */
const tensor = (name: string, bytes: number): TensorToWrite => ({
  name,
  dtype: "F32",
  shape: [bytes / 4],
  data: fromFloat32("F32", new Float32Array(bytes / 4).fill(bytes)),
});

async function namesIn(dir: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(dir), ({ name }) => name)).sort();
}

Deno.test("writeWeights() begins a shard with the first tensor that does not fit, as save_pretrained does", () =>
  inTempDir(async (dir) => {
    const tensors = [
      tensor("e", 60),
      tensor("d", 60),
      tensor("c", 200),
      tensor("__proto__", 40),
      tensor("a", 20),
    ];
    await writeWeights(dir, tensors, 100);
    const shard = (i: number) => `model-0000${i}-of-00004.safetensors`;
    assert.deepEqual(await namesIn(dir), [1, 2, 3, 4].map(shard).concat("model.safetensors.index.json"));
    const index = JSON.parse(await Deno.readTextFile(join(dir, "model.safetensors.index.json")));
    assert.deepEqual(index.metadata, { total_parameters: 95, total_size: 380 });
    assert.deepEqual(Object.entries(index.weight_map), [
      ["__proto__", shard(2)],
      ["a", shard(3)],
      ["c", shard(4)],
      ["d", shard(2)],
      ["e", shard(1)],
    ]);
    using third = await readSafetensors(join(dir, shard(3)));
    assert.deepEqual([...third.tensors.keys()], ["a"]);
    assert.equal(third.metadata.get("format"), "pt");

    const files: SafetensorsFile[] = [];
    const owners = await openWeights(dir, new Set(await namesIn(dir)), files);
    for (const { name, data } of tensors) assert.deepEqual(await owners.get(name)!.read(name), data);
    for (const file of files) file.close();
    assert.equal(files.length, 4);
  }));

Deno.test("writeWeights() writes one file without an index when all fits", () =>
  inTempDir(async (dir) => {
    for (const max of [100, 120, undefined]) {
      await writeWeights(dir, [tensor("a", 40), tensor("b", 60)], max);
      assert.deepEqual(await namesIn(dir), ["model.safetensors"]);
    }
    await writeWeights(dir, [], 1);
    using file = await readSafetensors(join(dir, "model.safetensors"));
    assert.equal(file.tensors.size, 0);
  }));

Deno.test("writeWeights() refuses repeated names, also across shards, and impossible sizes", () =>
  inTempDir(async (dir) => {
    const twice = [tensor("a", 40), tensor("a", 40)];
    for (const max of [40, undefined]) {
      await assert.rejects(writeWeights(dir, twice, max), /TypeError: .*"a" again/);
    }
    for (const max of [0, NaN, -1]) {
      await assert.rejects(writeWeights(dir, [], max), /RangeError: .*at least one byte, got/);
    }
    assert.deepEqual(await namesIn(dir), []);
  }));
