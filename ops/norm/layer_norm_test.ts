import { checkOp } from "../../tests/check_op.ts";
import { layerNorm } from "./layer_norm.ts";
import { layerNormReference } from "./layer_norm_reference.ts";

for (const [rows, channels] of [[4, 8], [1, 3], [70, 5], [33, 36], [130, 4]]) {
  Deno.test(`layerNorm() matches the reference at ${rows} x ${channels}`, async () => {
    await checkOp({
      inputs: { x: [rows, channels], w: [channels], b: [channels] },
      record: (g, { x, w, b }) => layerNorm(g, x, w, b, 1e-5),
      reference: ({ x, w, b }) => layerNormReference(x, w, b, 1e-5),
      // 1/std of a row of few values can be large, and f32 cancels in x - mean.
      tolerance: 1e-4,
    });
  });
}
