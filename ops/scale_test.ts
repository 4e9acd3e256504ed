import { equal, throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { checkOp, testGpu } from "../tests/check_op.ts";
import { scale } from "./scale.ts";

for (const shape of [[4, 8], [3, 5], [1]]) {
  Deno.test(`scale() matches the reference at ${shape.join(" x ")}`, async () => {
    await checkOp({
      inputs: { x: shape },
      record: (g, { x }) => scale(g, x, -1.75),
      reference: ({ x }) => x.map((value) => -1.75 * value),
    });
  });
}

Deno.test("scale() by 1 records nothing, and by no number is refused", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  const x = g.input("x", [2], "f32");
  equal(scale(g, x, 1), x);
  equal(g.microKernels.length, 0);
  throws(() => scale(g, x, NaN), /factor must be finite, got NaN/);
});
