import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { elementwise } from "../../ops/elementwise.ts";
import { testGpu } from "../../tests/check_op.ts";
import { PROFILES } from "../../tests/profiles.ts";
import { Graph } from "../graph.ts";
import { compileProgram } from "../program.ts";

const gpu = await testGpu();
const ignore = !gpu.profile.halfPrecision;

Deno.test("with f16 what is computed from others takes half the bytes; statistics, odd rows and updates do not", () => {
  const g = new Graph({ profile: PROFILES.NVIDIA, training: true, precision: "f16" });
  const w = g.parameter("w", [4, 6], { init: () => {} });
  const x = g.activation("x", [4, 6], [w]);
  deepEqual([x.dtype, x.byteLength, x.storage.byteLength, x.requiresGradient], ["f16", 48, 48, true]);
  deepEqual([w, x].map((t) => g.gradientTarget(t)!.tensor.dtype), ["f32", "f16"]);
  equal(g.activation("statistics", [4]).dtype, "f32");
  equal(g.activation("odd", [4, 3], [x]).dtype, "f32");
  equal(g.activation("ids", [4], [], "u32").dtype, "u32");
  g.beginUpdate([g.parameters.all]);
  equal(g.activation("update", [4, 6], [w]).dtype, "f32");
});

Deno.test("only f16 multiplies the gradient of a loss, by a power of two that all its losses share", () => {
  const graph = (precision: "f32" | "f16") => new Graph({ profile: PROFILES.NVIDIA, precision });
  const half = graph("f16");
  deepEqual([half.lossScale, half.scaleLoss(1000), half.scaleLoss(8), half.lossScale], [1, 1024, 1024, 1024]);
  const micro = new Graph({ profile: PROFILES.NVIDIA, precision: "f16", microBatches: 3 });
  equal(micro.scaleLoss(700), 2048);
  const full = graph("f32");
  deepEqual([full.scaleLoss(1000), full.lossScale], [1, 1]);
});

Deno.test("kernels round to f16 where they store, in vectors and one by one", { ignore }, async () => {
  // The smallest and the largest f16, and what lies beyond.
  const values = Float32Array.of(1, -0.1, 2 / 3, 6e-8, 65_504, -3.14159e4, 1e-9, 1e5, 0, 2049);
  const g = new Graph({ profile: gpu.profile, precision: "f16" });
  const x = g.input("x", [5, 2], "f32");
  const y = g.activation("y", [5, 2], [x]);
  const read = g.activation("read", [5, 2]);
  elementwise(g, {
    label: "store",
    read: { x },
    out: y,
    statements: "out[i] = 0.5 * x[i]; out[i] += 0.5 * x[i];",
  });
  g.dispatch({
    label: "one_by_one",
    read: { y },
    write: { out: read },
    body: "@compute @workgroup_size(10) fn main(@builtin(local_invocation_index) i: u32) { out[i] = y[i]; }",
    workgroups: [1, 1, 1],
  });
  const [out, stored] = [g.collect(read), g.collect(y)];
  const program = await compileProgram(gpu, g);
  program.write("x", values);
  program.run();
  const [got] = await program.read(out);
  values.forEach((value, i) => {
    const [half, near] = [Float16Array.of(value)[0], Float16Array.of(0.5 * value)[0]];
    // Rounded twice, each to one of both neighbours.
    const error = 2 ** -11 * Math.abs(near) + 2 ** -10 * Math.abs(half) + 2 ** -24;
    ok(got[i] === half || Math.abs(got[i] - value) <= error, `${value} must become ${half}, got ${got[i]}`);
  });
  equal(got[7], Infinity);
  await rejects(program.read(stored), /collected.y must be f32 or u32 to be read, got f16/);
  program.destroy();
});
