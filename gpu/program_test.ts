import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { add } from "../ops/add.ts";
import { elementwise } from "../ops/elementwise.ts";
import { objectsMade, testGpu } from "../tests/check_op.ts";
import { GpuError } from "./device.ts";
import { Graph } from "./graph.ts";
import { packSegments } from "./parameters.ts";
import { compileProgram } from "./program.ts";
import { rowBlocks } from "./tensor.ts";

const ones = (values: Float32Array) => void values.fill(1);

async function example(microBatches = 1) {
  const gpu = await testGpu();
  const g = new Graph({ profile: gpu.profile, training: true, microBatches });
  const w = g.parameter("w", [3, 5], { init: ones });
  const x = g.input("x", [3, 5], "f32");
  const y = add(g, add(g, w, x), w);
  elementwise(g, { label: "seed", out: g.gradientTarget(y)!.tensor, statements: "out[i] = vec4f(2.0);" });
  g.backward();
  const [[segment]] = g.beginUpdate([g.parameters.all]);
  const out = g.collect(y);
  await g.parameters.allocate(gpu, 1);
  return { gpu, g, out, segment, program: await compileProgram(gpu, g) };
}

Deno.test("a program computes forward and backward, and clears gradients at each step", async () => {
  const { g, out, segment, program } = await example();
  for (let step = 0; step < 2; step++) {
    program.write("x", Float32Array.from({ length: 15 }, (_, i) => i + step));
    program.run();
    const [y, gradients] = await program.read(out, segment.gradients);
    deepEqual([...y], Array.from({ length: 15 }, (_, i) => i + step + 2));
    deepEqual([...gradients.subarray(0, 15)], Array(15).fill(4));
  }
  program.destroy();
  g.parameters.destroy();
});

Deno.test("micro-batches have inputs of their own, and their gradients add up", async () => {
  const { g, out, segment, program } = await example(3);
  for (let micro = 0; micro < 3; micro++) program.write("x", new Float32Array(15).fill(10 * micro), micro);
  program.run();
  const [y, gradients] = await program.read(out, segment.gradients);
  deepEqual([y[0], y[15], y[30]], [2, 12, 22]);
  equal(gradients[0], 12);
  program.destroy();
  g.parameters.destroy();
});

Deno.test("exchanged storages trade buffers after every run, and reading finds what lies there", async () => {
  const gpu = await testGpu();
  const g = new Graph({ profile: gpu.profile });
  const [now, last] = [g.state("now", [4]), g.state("last", [4])];
  g.exchange(now.storage, last.storage);
  // Each run sees the result of the run before in `last`, without a copy.
  elementwise(g, { label: "next", read: { last }, out: now, statements: "out[i] = 2.0 * last[i] + 1.0;" });
  await g.parameters.allocate(gpu, 0);
  const program = await compileProgram(gpu, g);
  for (const expected of [1, 3, 7, 15, 31]) {
    if (expected === 7) await program.profile(); // counts as a run
    else program.run();
    deepEqual([...(await program.read(last))[0]], Array(4).fill(expected));
  }
  program.destroy();
});

Deno.test("rowBlocks() covers all rows in aligned blocks that fit", () => {
  deepEqual(rowBlocks(100, 4, 400), [[0, 100]]);
  deepEqual(rowBlocks(200, 16, 64 * 16 + 15), [[0, 64], [64, 128], [128, 192], [192, 200]]);
  deepEqual(rowBlocks(300, 4, 4 * 130), [[0, 128], [128, 256], [256, 300]]);
  deepEqual(rowBlocks(65, 1e6, 10), [[0, 64], [64, 65]]);
});

Deno.test("a replay creates no GPU object", async () => {
  const { gpu, g, program } = await example();
  const made = await objectsMade(gpu, () => {
    for (let step = 0; step < 3; step++) {
      program.write("x", new Float32Array(15));
      program.run();
    }
  });
  deepEqual(made, []);
  await program.read();
  program.destroy();
  g.parameters.destroy();
});

Deno.test("inputs of the wrong name, type, size or micro-batch are refused", async () => {
  const { g, program } = await example();
  throws(() => program.write("y", new Float32Array(15)), /has inputs x, but no y/);
  throws(() => program.write("x", new Uint32Array(15)), /must get a Float32Array of 15 values/);
  throws(() => program.write("x", new Float32Array(14)), TypeError);
  throws(() => program.write("x", new Float32Array(15), 1), RangeError);
  program.destroy();
  g.parameters.destroy();
});

Deno.test("a kernel that does not compile is reported with WGSL's message", async () => {
  const gpu = await testGpu();
  const g = new Graph({ profile: gpu.profile });
  elementwise(g, { label: "broken", out: g.output("out", [4]), statements: "out[i] = nonsense;" });
  await rejects(compileProgram(gpu, g), (error: Error) => {
    equal(
      error instanceof GpuError && /The kernel broken must compile .*nonsense/s.test(error.message),
      true,
    );
    return true;
  });
  // It is reported once.
  await gpu.device.queue.onSubmittedWorkDone();
  gpu.check();
});

Deno.test("packSegments() aligns tensors and splits at the binding limit", () => {
  const segments = packSegments("state", [10, 64, 65, 1], (n) => n, 1024);
  deepEqual(segments.map((s) => s.items.map((i) => i.start)), [[0, 64, 128], [0]]);
  deepEqual(segments.map((s) => s.length), [256, 64]);
});
