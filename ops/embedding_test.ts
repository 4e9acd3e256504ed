import { deepEqual, throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { compileProgram } from "../gpu/program.ts";
import { checkOp, testGpu, testProfiles } from "../tests/check_op.ts";
import { addPositions, embedding } from "./embedding.ts";
import { lookupGradient } from "./embedding_gradient.ts";

for (
  const [batch, length, vocab, channels] of [[2, 4, 8, 8], [1, 1, 1, 1], [3, 7, 5, 3], [2, 50, 11, 4], [
    1,
    200,
    3,
    4,
  ]]
) {
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

/** Ids in places that begin, end and fill segments of 32 positions, of a vocabulary of 200. */
const idPatterns: Readonly<Record<string, (n: number) => number>> = {
  "one id": () => 7,
  "one id past the end": () => 1000,
  "two ids in turns": (n) => 150 + n % 2,
  "every id once": (n) => (n * 77) % 200,
  "a frequent one among others": (n) => n % 3 === 0 ? n % 200 : 64,
  "segments that end with a run": (n) => n >> 5,
};
for (const [pattern, idOf] of Object.entries(idPatterns)) {
  Deno.test(`lookupGradient() adds up exactly on every kind of adapter: ${pattern}, a table in blocks`, async () => {
    const gpu = await testGpu();
    for (const [count, channels] of [[199, 4], [64, 3], [161, 2]]) {
      const ids = Uint32Array.from({ length: count }, (_, n) => idOf(n));
      // Whole numbers, so that sums are exact in any order.
      const dy = Float32Array.from({ length: count * channels }, (_, i) => (i * 31) % 101 - 50);
      const expected = new Float32Array(200 * channels).fill(1);
      dy.forEach((value, i) => {
        expected[Math.min(ids[Math.floor(i / channels)], 199) * channels + i % channels] += value;
      });
      for (const [name, profile] of Object.entries(await testProfiles())) {
        const g = new Graph({ profile });
        const table = g.output("table", [200, channels]);
        lookupGradient(g, {
          ids: g.input("ids", [count], "u32"),
          dy: g.input("dy", [count, channels], "f32"),
          table: { tensor: table, accumulate: true },
          blocks: [[0, 64], [64, 128], [128, 200]],
        });
        const program = await compileProgram(gpu, g);
        gpu.device.queue.writeBuffer(
          table.storage.buffer!,
          table.byteOffset,
          new Float32Array(200 * channels).fill(1),
        );
        program.write("ids", ids);
        program.write("dy", dy);
        program.run();
        deepEqual((await program.read(table))[0], expected, `${name}, ${count} x ${channels}`);
        program.destroy();
      }
    }
  });
}
