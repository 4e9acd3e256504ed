import { throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { checkOp, testGpu } from "../tests/check_op.ts";
import { addPositions, embedding } from "./embedding.ts";

for (const [batch, length, vocab, channels] of [[2, 4, 8, 8], [1, 1, 1, 1], [3, 7, 5, 3], [2, 50, 11, 4]]) {
  Deno.test(`embedding() matches the reference with repeated ids and ids past the table at ${[batch, length, vocab, channels]}`, async () => {
    const values = Uint32Array.from({ length: batch * length }, (_, i) => (i * i) % (vocab + 2));
    await checkOp({
      inputs: { table: [vocab, channels] },
      ids: { ids: { shape: [batch, length], values } },
      record: (g, { ids, table }) => embedding(g, ids, table),
      reference: ({ table }) =>
        Float64Array.from(
          { length: values.length * channels },
          (_, i) => table[Math.min(values[Math.floor(i / channels)], vocab - 1) * channels + i % channels],
        ),
    });
  });
  Deno.test(`addPositions() matches the reference at ${[batch, length, channels]}`, async () => {
    await checkOp({
      inputs: { x: [batch, length, channels], table: [length + 2, channels] },
      record: (g, { x, table }) => addPositions(g, x, table),
      reference: ({ x, table }) => x.map((v, i) => v + table[i % (length * channels)]),
    });
  });
}

Deno.test("addPositions() refuses sequences longer than its table", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  throws(() => addPositions(g, g.input("x", [1, 5, 4], "f32"), g.input("table", [3, 4], "f32")), RangeError);
});
