import { deepEqual, equal, ok } from "node:assert/strict";
import { add } from "../ops/add.ts";
import { elementwise } from "../ops/elementwise.ts";
import { linear } from "../ops/linear.ts";
import { testGpu } from "../tests/check_op.ts";
import { measureCeilings } from "./measure/ceilings.ts";
import { timeSubmission } from "./clock.ts";
import type { Gpu } from "./device.ts";
import { Graph } from "./graph.ts";
import { compileProgram } from "./program.ts";

/** The device, and the same as if it had no timestamp queries. */
async function devices(): Promise<Gpu[]> {
  const gpu = await testGpu();
  if (!gpu.features.includes("timestamp-query")) console.log("skipped: timestamps, this adapter has none");
  return [gpu, { ...gpu, features: [] }];
}

/** Two micro-batches of products, and an update that goes on from step to step. */
async function example(gpu: Gpu) {
  const g = new Graph({ profile: gpu.profile, training: true, microBatches: 2 });
  const w = g.parameter("w", [8, 12], { init: (values) => void values.fill(0.5) });
  const x = g.input("x", [4, 8], "f32");
  const y = add(g, linear(g, x, w), linear(g, x, w));
  elementwise(g, { label: "seed", out: g.gradientTarget(y)!.tensor, statements: "out[i] = vec4f(2.0);" });
  g.backward();
  const [[{ parameters, gradients }]] = g.beginUpdate([g.parameters.all]);
  elementwise(g, {
    label: "update",
    read: { gradients },
    out: parameters,
    statements: "out[i] = out[i] * 0.75 + gradients[i] * 0.125;",
  });
  const out = g.collect(y);
  await g.parameters.allocate(gpu, 1);
  const program = await compileProgram(gpu, g);
  return {
    g,
    program,
    write() {
      for (let micro = 0; micro < 2; micro++) {
        program.write("x", Float32Array.from({ length: 32 }, (_, i) => (i % 5 + micro) / 4), micro);
      }
    },
    read: async () => (await program.read(out, parameters, gradients)).map((values) => [...values]),
    destroy() {
      program.destroy();
      g.parameters.destroy();
    },
  };
}

Deno.test("Program.profile() times every kernel in order and has the effect of a normal step", async () => {
  for (const gpu of await devices()) {
    const normal = await example(gpu);
    const profiled = await example(gpu);
    // Repeating takes its time.
    for (let step = 0; step < (gpu.features.length > 0 ? 2 : 1); step++) {
      normal.write();
      normal.program.run();
      profiled.write();
      const { method, kernels } = await profiled.program.profile();
      equal(method, gpu.features.includes("timestamp-query") ? "timestamps" : "waiting");
      const { microKernels, updateKernels } = profiled.g;
      const recorded = [...microKernels, ...microKernels, ...updateKernels];
      deepEqual(kernels.map((k) => [k.label, k.workgroups]), recorded.map((k) => [k.label, k.workgroups]));
      equal(kernels.length, profiled.program.dispatches);
      for (const { label, nanoseconds, bytes } of kernels) {
        // Very short kernels drown in the jitter of a wait.
        ok(method === "waiting" ? nanoseconds >= 0 : nanoseconds > 0, `${label} took ${nanoseconds} ns`);
        ok(bytes > 0, label);
      }
      deepEqual(await profiled.read(), await normal.read());
    }
    normal.destroy();
    profiled.destroy();
  }
});

Deno.test("a profile has the operations of products and the shapes and bytes of their bindings", async () => {
  const gpu = await testGpu();
  const { program, write, destroy } = await example(gpu);
  write();
  const { kernels } = await program.profile();
  const product = kernels.find((k) => k.label.startsWith("matmul"))!;
  equal(product.flops, 2 * 4 * 8 * 12);
  deepEqual(product.writes, [[4, 12]]);
  equal(product.bytes, 4 * (4 * 8 + 8 * 12 + 4 * 12) + 4 * 5); // and the five sizes
  equal(kernels.find((k) => k.label === "update")!.flops, undefined);
  destroy();
});

Deno.test("Program.timeRun() times a step that has the effect of a normal one", async () => {
  for (const gpu of await devices()) {
    const [normal, timed] = [await example(gpu), await example(gpu)];
    normal.write();
    normal.program.run();
    timed.write();
    const { gpu: time, host } = await timed.program.timeRun();
    ok(time >= 0 && host > 0, `${time} and ${host} ns`);
    deepEqual(await timed.read(), await normal.read());
    normal.destroy();
    timed.destroy();
  }
});

Deno.test("timestamps agree with the wall clock", async () => {
  const [gpu, waiting] = await devices();
  const size = Math.min(64 << 20, gpu.profile.maxBufferBytes);
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [0, 1].map(() => gpu.device.createBuffer({ size, usage }));
  const copy = (encoder: GPUCommandEncoder) => {
    for (let i = 0; i < 16; i++) encoder.copyBufferToBuffer(from, 0, to, 0, size);
  };
  await timeSubmission(gpu, copy);
  // Other work on the machine disturbs single measurements.
  const ratios: number[] = [];
  for (let i = 0; i < 5; i++) {
    ratios.push((await timeSubmission(waiting, copy)).gpu / (await timeSubmission(gpu, copy)).gpu);
  }
  const ratio = ratios.sort((a, b) => a - b)[2];
  ok(ratio > 0.4 && ratio < 2.5, `waiting says ${ratio} times what timestamps say`);
  from.destroy();
  to.destroy();
});

Deno.test("measureCeilings() gives positive, finite rates", async () => {
  for (const rate of Object.values(await measureCeilings(await testGpu()))) {
    ok(rate > 0 && Number.isFinite(rate), `${rate}`);
  }
});
