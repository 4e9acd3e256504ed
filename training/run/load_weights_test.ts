import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import type { FloatTensors } from "../../checkpoint/safetensors/safetensors.ts";
import { type Gpu, requestGpu } from "../../gpu/device.ts";
import { allocateStorage, writeTensor } from "../../gpu/parameters.ts";
import { readTensors } from "../../gpu/readback.ts";
import { Storage, Tensor } from "../../gpu/tensor.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { declareParameters, loadTensors } from "./load_weights.ts";

/** A tensor with a buffer. */
function tensorOf(gpu: Gpu, name: string, size: number): Tensor {
  const storage = new Storage("parameter", 4 * size, name);
  allocateStorage(gpu, storage);
  return new Tensor([size], "f32", { storage, byteOffset: 0 }, false, name);
}

/** Tensors whose values count up from `first`, in pieces that all use the same memory. */
function counting(sizes: Record<string, number>, pieceSize: number, first = 0): FloatTensors {
  const tensors = new Map(
    Object.entries(sizes).map(([name, size]) => {
      return [name, { dtype: "F32" as const, shape: [size], byteOffset: 0, byteLength: 4 * size }];
    }),
  );
  const memory = new Float32Array(pieceSize);
  return {
    tensors,
    async *piecesF32(name) {
      for (let at = 0; at < sizes[name]; at += pieceSize) {
        const piece = memory.subarray(0, Math.min(pieceSize, sizes[name] - at));
        for (let i = 0; i < piece.length; i++) piece[i] = first + at + i;
        yield await Promise.resolve(piece);
      }
    },
  };
}

Deno.test("loadTensors() uploads pieces of any size to their places, whatever becomes of their memory", async () => {
  const gpu = await requestGpu();
  const [a, b] = [tensorOf(gpu, "a", 13), tensorOf(gpu, "b", 5)];
  const targets = [{ name: "a", tensor: a }, { name: "b", tensor: b }];
  for (const pieceSize of [1, 5, 13, 100]) {
    await loadTensors(gpu, targets, counting({ a: 13, b: 5 }, pieceSize, pieceSize));
    const [x, y] = await readTensors(gpu, [a, b]);
    deepEqual([...x], Array.from({ length: 13 }, (_, i) => pieceSize + i));
    deepEqual([...y], Array.from({ length: 5 }, (_, i) => pieceSize + i));
  }
  await rejects(
    loadTensors(gpu, targets, counting({ a: 12, c: 1 }, 5)),
    /TypeError: .*1 missing \(b\); 1 not in the model \(c\); 1 of another shape \(a \[12\] instead of \[13\]\)/,
  );
  for (const { tensor } of targets) tensor.storage.buffer!.destroy();
  gpu.destroy();
});

Deno.test("loadTensors() uploads more than it lets wait for the GPU at a time", async () => {
  const gpu = await requestGpu();
  const size = (72 << 20) / 4 + 3;
  const tensor = tensorOf(gpu, "a", size);
  await loadTensors(gpu, [{ name: "a", tensor }], counting({ a: size }, 1 << 20));
  const [values] = await readTensors(gpu, [tensor]);
  // Up to 2^24 every whole number is one of single precision; there are more values than that.
  let wrong = -1;
  for (let i = 0; i < size && wrong < 0; i++) if (values[i] !== Math.fround(i)) wrong = i;
  equal(wrong, -1);
  tensor.storage.buffer!.destroy();
  gpu.destroy();
});

Deno.test("writeTensor() refuses values that do not fit", async () => {
  const gpu = await requestGpu();
  const tensor = tensorOf(gpu, "a", 4);
  throws(
    () => writeTensor(gpu, tensor, new Float32Array(3)),
    /TypeError: a must get 4 values for its shape .*got 3/,
  );
  for (const first of [-1, 2, NaN]) {
    throws(
      () => writeTensor(gpu, tensor, new Float32Array(3), first),
      /TypeError: a must get values within its 4/,
    );
  }
  writeTensor(gpu, tensor, Float32Array.of(5, 6, 7), 1);
  deepEqual([...(await readTensors(gpu, [tensor]))[0]], [0, 5, 6, 7]);
  tensor.storage.buffer!.destroy();
  gpu.destroy();
});

Deno.test("declareParameters() names what a model needs without an adapter", () => {
  const { all, count } = declareParameters(gpt2({ vocab_size: 50257 }));
  equal(all.length, 148);
  equal(count, 124_439_808);
  ok(all.every(({ tensor }) => tensor.storage.buffer === undefined));
});
