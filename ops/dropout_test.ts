import { equal, ok, throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { checkOp, testGpu } from "../tests/check_op.ts";
import { dropout } from "./dropout.ts";
import { hashCombine } from "./random.ts";

Deno.test("dropout() keeps and scales what the hash on the host keeps, forward and backward", async () => {
  const kept = (i: number) => hashCombine(123, 0, i) >= 0.3 * 2 ** 32;
  await checkOp({
    inputs: { x: [9, 13] },
    ids: { random_seed: { shape: [1], values: Uint32Array.of(123) } },
    record: (g, { x }) => dropout(g, x, 0.3),
    reference: ({ x }) => x.map((v, i) => (kept(i) ? v / 0.7 : 0)),
  });
  const share = Array.from({ length: 10_000 }, (_, i) => kept(i)).filter(Boolean).length / 10_000;
  ok(Math.abs(share - 0.7) < 0.02, `about 70% must be kept, got ${share}`);
});

Deno.test("dropout() outside of training is its input", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  const x = g.input("x", [4], "f32");
  equal(dropout(g, x, 0.5), x);
  throws(() => dropout(g, x, 1), RangeError);
});
