import { throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { checkOp, testGpu } from "../tests/check_op.ts";
import { linear } from "./linear.ts";
import { matmulReference } from "./linear_reference.ts";

// [rows, in, out]: multiples of the tiles, ragged ones, and single values.
const shapes: [number, number, number][] = [[16, 32, 32], [1, 1, 1], [17, 9, 33], [19, 12, 36], [5, 130, 3], [
  33,
  4,
  131,
]];

for (const [m, k, n] of shapes) {
  for (const layout of ["in-out", "out-in"] as const) {
    Deno.test(`linear() ${layout} matches the reference at ${m} x ${k} x ${n}`, async () => {
      await checkOp({
        inputs: { x: [m, k], w: layout === "in-out" ? [k, n] : [n, k], b: [n], r: [m, n] },
        record: (g, { x, w, b, r }) => linear(g, x, w, { bias: b, residual: r, layout }),
        reference: ({ x, w, b, r }) =>
          matmulReference(x, w, [m, n, k], false, layout === "out-in").map((y, i) => y + b[i % n] + r[i]),
      });
    });
  }
}

Deno.test("linear() without bias and residual matches the reference", async () => {
  await checkOp({
    inputs: { x: [2, 3, 5], w: [5, 7] },
    record: (g, { x, w }) => linear(g, x, w),
    reference: ({ x, w }) => matmulReference(x, w, [6, 7, 5]),
  });
});

Deno.test("linear() refuses a weight of another width", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  const x = g.input("x", [2, 3], "f32");
  throws(
    () => linear(g, x, g.input("w", [4, 5], "f32")),
    /weight must be f32 of shape \[3, any\], got f32 \[4, 5\]/,
  );
});
