import { Graph } from "../gpu/graph.ts";
import { compileProgram } from "../gpu/program.ts";
import { checkOp, closeTo, testGpu, testProfiles } from "../tests/check_op.ts";
import { add } from "./add.ts";
import { gelu } from "./activation/gelu.ts";
import { geluReference } from "./activation/gelu_reference.ts";

for (const shape of [[1], [3, 5], [2, 3, 64]]) {
  Deno.test(`add() matches the reference at ${shape}`, async () => {
    await checkOp({
      inputs: { a: shape, b: shape },
      record: (g, { a, b }) => add(g, a, b),
      reference: ({ a, b }) => a.map((x, i) => x + b[i]),
    });
  });
  for (const kind of ["tanh", "erf"] as const) {
    Deno.test(`gelu() with ${kind} matches the reference at ${shape}`, async () => {
      await checkOp({
        inputs: { x: shape },
        std: 1.5,
        record: (g, { x }) => gelu(g, x, kind),
        reference: ({ x }) => geluReference(x, kind),
      });
    });
  }
}

Deno.test("gelu() with tanh matches the reference far from zero", async () => {
  await checkOp({
    inputs: { x: [3, 5] },
    std: 40,
    record: (g, { x }) => gelu(g, x, "tanh"),
    reference: ({ x }) => geluReference(x, "tanh"),
  });
});

Deno.test("add() reaches every value of a tensor that many workgroups share", async () => {
  const gpu = await testGpu();
  for (const [name, profile] of Object.entries(await testProfiles())) {
    const g = new Graph({ profile });
    const size = 2 * 4096 + 5;
    const a = g.input("a", [size], "f32");
    const y = add(g, a, a);
    const out = g.collect(y);
    const program = await compileProgram(gpu, g);
    const values = Float32Array.from({ length: size }, (_, i) => i + 1);
    program.write("a", values);
    program.run();
    const [got] = await program.read(out);
    closeTo(got, values.map((x) => 2 * x), 0, name);
    program.destroy();
  }
});

Deno.test("add() of a tensor to itself doubles its gradient", async () => {
  await checkOp({
    inputs: { a: [3, 5] },
    record: (g, { a }) => add(g, a, a),
    reference: ({ a }) => a.map((x) => 2 * x),
  });
});
