import { deepEqual, equal, notEqual } from "node:assert/strict";
import { testGpu } from "../../tests/check_op.ts";
import { Graph, vec4 } from "../graph.ts";
import { planMemory } from "../plan.ts";
import { compileProgram } from "../program.ts";
import type { Tensor } from "../tensor.ts";
import { perThread } from "../wgsl.ts";

const profile = { maxBindingBytes: 1 << 30, isSoftware: true } as Graph["profile"];

/** Records out = 2 * (the tensor, read from its texels). */
function double(g: Graph, x: Tensor, out: Tensor): void {
  const texels = g.texels(x);
  notEqual(texels, x);
  g.dispatch({
    label: "double",
    read: { x: vec4(texels) },
    write: { out: vec4(out) },
    ...perThread({ count: x.size / 4, statements: "out[i] = 2.0 * x_texel(i);" }),
  });
}

const labels = (g: Graph) => g.microKernels.map(({ label }) => label);

Deno.test("texels hold a tensor's values: less than a row of a texture, rows, and rows with a rest", async () => {
  const gpu = await testGpu();
  for (const size of [4, 4096, 4100, 20_000]) {
    const g = new Graph({ profile: gpu.profile });
    // Behind 256 bytes of something else.
    const all = g.input("all", [size / 4 + 16, 4], "f32");
    const out = g.output("out", [size]);
    double(g, all.rows(16, size / 4 + 16), out);
    const program = await compileProgram(gpu, g);
    equal(program.dispatches, 2);
    const values = Float32Array.from({ length: size + 64 }, (_, i) => i);
    program.write("all", values);
    program.run();
    deepEqual((await program.read(out))[0], values.subarray(64).map((x) => 2 * x));
    program.destroy();
  }
});

Deno.test("kernels share texels until their tensor is written", async () => {
  const gpu = await testGpu();
  const g = new Graph({ profile: gpu.profile });
  const [x, y, z] = [g.state("x", [8]), g.output("y", [8]), g.output("z", [8])];
  double(g, x, y);
  double(g, x.reshape(2, 4), z);
  g.dispatch({
    label: "count",
    write: { x: vec4(x) },
    ...perThread({ count: 2, statements: "x[i] += vec4f(f32(i) + 1.0);" }),
  });
  double(g, x, z);
  deepEqual(labels(g), ["copy_to_texels", "double", "double", "count", "copy_to_texels", "double"]);
  const program = await compileProgram(gpu, g);
  for (const n of [0, 1, 2]) {
    program.run();
    const [before, after] = await program.read(y, z);
    deepEqual([before[0], before[7], after[0], after[7]], [2 * n, 4 * n, 2 * n + 2, 4 * n + 4]);
  }
  program.destroy();
});

Deno.test("texels of a storage that is exchanged are of what it holds in this run", async () => {
  const gpu = await testGpu();
  const g = new Graph({ profile: gpu.profile });
  const [x, y, out] = [g.state("x", [4]), g.state("y", [4]), g.output("out", [4])];
  double(g, x, out);
  g.dispatch({
    label: "next",
    read: { x: vec4(x) },
    write: { y: vec4(y) },
    ...perThread({ count: 1, statements: "y[i] = x[i] + 1.0;" }),
  });
  g.exchange(x.storage, y.storage);
  const program = await compileProgram(gpu, g);
  for (const n of [0, 1, 2, 3]) {
    program.run();
    deepEqual((await program.read(out))[0], new Float32Array(4).fill(2 * n));
  }
  // Copies have times of their own.
  const { kernels } = await program.profile();
  deepEqual(kernels.map(({ label }) => label), labels(g));
  program.destroy();
});

Deno.test("a tensor without texels is returned itself", () => {
  const g = new Graph({ profile });
  for (const x of [g.input("odd", [5], "f32"), g.input("u32", [4], "u32"), g.input("f16", [4], "f16")]) {
    equal(g.texels(x), x);
  }
  const large = g.input("large", [2 ** 25 + 4], "f32"); // 16 bytes more than 128 MiB
  equal(g.texels(large), large);
  deepEqual(labels(g), []);
});

Deno.test("textures are planned as activations are: shared by those that do not meet", () => {
  const g = new Graph({ profile });
  const [x, y] = [g.input("x", [8192], "f32"), g.input("y", [8192], "f32")];
  const out = g.output("out", [8192]);
  double(g, x, out);
  double(g, y, out);
  const { textures, memory } = planMemory(g);
  deepEqual(textures.bufferBytes, [32_768]);
  equal(memory.activations, 32_768);
});
