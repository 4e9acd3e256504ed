import { throws } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { checkOp, testGpu } from "../../tests/check_op.ts";
import { rmsNorm } from "./rms_norm.ts";
import { rmsNormReference } from "./rms_norm_reference.ts";

for (const [rows, channels] of [[4, 8], [1, 2], [2, 3], [70, 5], [33, 36], [130, 4], [3, 260]]) {
  Deno.test(`rmsNorm() matches the reference at ${rows} x ${channels}`, async () => {
    await checkOp({
      inputs: { x: [rows, channels], w: [channels] },
      record: (g, { x, w }) => rmsNorm(g, x, w, 1e-5),
      reference: ({ x, w }) => rmsNormReference(x, w, 1e-5),
      // 1 / sqrt of a row of few values can be large.
      tolerance: 1e-4,
    });
  });
}

Deno.test("rmsNorm() adds eps: rows far below it stay small", async () => {
  await checkOp({
    inputs: { x: [3, 12], w: [12] },
    record: (g, { x, w }) => rmsNorm(g, x, w, 0.25),
    reference: ({ x, w }) => rmsNormReference(x, w, 0.25),
    std: 0.1,
  });
});

Deno.test("rmsNorm() refuses a gain of another size", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  throws(
    () => rmsNorm(g, g.input("x", [2, 6], "f32"), g.input("w", [5], "f32")),
    /rmsNorm: weight must be f32 of shape \[6\], got f32 \[5\]/,
  );
});
