import { checkOp } from "../tests/check_op.ts";
import { add } from "./add.ts";
import { gelu } from "./gelu.ts";
import { geluReference } from "./gelu_reference.ts";

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

Deno.test("add() of a tensor to itself doubles its gradient", async () => {
  await checkOp({
    inputs: { a: [3, 5] },
    record: (g, { a }) => add(g, a, a),
    reference: ({ a }) => a.map((x) => 2 * x),
  });
});
