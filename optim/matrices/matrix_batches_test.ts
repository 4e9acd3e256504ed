import { deepEqual, equal } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import { testGpu } from "../../tests/check_op.ts";
import { gatherMatrices, matrixBatches, scatterMatrices, transposeMatrices } from "./matrix_batches.ts";

Deno.test("gatherMatrices() and scatterMatrices() copy matrices of 65,536 workgroups each", async () => {
  const gpu = await testGpu();
  const [inputs, outputs] = [2048, 8192];
  const g = new Graph({ profile: { ...gpu.profile, maxBindingBytes: 128 << 20 }, training: true });
  const value = (i: number) => i % 65_521;
  const parameter = g.parameter("x", [inputs, outputs], {
    init: (out) => out.forEach((_, i) => out[i] = value(i)),
    layout: "in-out",
  });
  g.gradientTarget(parameter);
  const [[segment]] = g.beginUpdate([g.parameters.all]);
  const [batch] = matrixBatches(g, "test", [segment]);
  deepEqual([batch.count, batch.rows, batch.columns], [1, outputs, inputs]);
  const gathered = gatherMatrices(g, batch, segment.parameters);
  const scattered = g.output("scattered", [inputs * outputs]);
  scatterMatrices(g, batch, gathered, scattered);
  const out = g.output("out", gathered.shape);
  g.dispatch({
    label: "keep",
    read: { gathered },
    write: { out },
    workgroups: [1024, 1, 1],
    body: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  for (var i = id.x; i < arrayLength(&gathered); i += 65536u) { out[i] = gathered[i]; }
}`,
  });
  await g.parameters.allocate(gpu, 0);
  const program = await compileProgram(gpu, g);
  program.run();
  const [matrix, back] = await program.read(out, scattered);
  program.destroy();
  g.parameters.destroy();
  equal(back.findIndex((x, i) => x !== value(i)), -1);
  equal(matrix.findIndex((x, i) => x !== value(i % inputs * outputs + Math.floor(i / inputs))), -1);
});

Deno.test("transposeMatrices() turns every matrix of a batch", async () => {
  const gpu = await testGpu();
  // More than one workgroup for each, and sizes of no power of two.
  const [count, rows, columns] = [3, 68, 20];
  const g = new Graph({ profile: gpu.profile });
  const matrices = g.input("matrices", [count, rows, columns], "f32");
  const turned = g.collect(transposeMatrices(g, matrices));
  const program = await compileProgram(gpu, g);
  const values = Float32Array.from({ length: count * rows * columns }, (_, i) => i);
  program.write("matrices", values);
  program.run();
  const [got] = await program.read(turned);
  program.destroy();
  const size = rows * columns;
  const expected = values.map((_, i) => {
    const [matrix, at] = [Math.floor(i / size), i % size];
    return values[matrix * size + at % rows * columns + Math.floor(at / rows)];
  });
  deepEqual(got, expected);
});
