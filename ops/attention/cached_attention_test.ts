import { throws } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { closeTo, testGpu, testProfiles } from "../../tests/check_op.ts";
import { attention, packedAttention } from "./attention.ts";
import { attentionReference, type AttentionShape } from "./attention_reference.ts";
import { KeyValueCache } from "./key_value_cache.ts";
import { fillNormal } from "../random.ts";

/** Each sequence's position after each run; what a run adds beyond them is padding. */
const pieces = [[3, 1], [4, 6], [9, 7], [9, 12]] as const;
const shapes: (AttentionShape & { readonly packed?: boolean })[] = [
  { batch: 2, length: 5, numHeads: 2, numKeyValueHeads: 2, headDim: 4, packed: true },
  { batch: 2, length: 5, numHeads: 1, numKeyValueHeads: 1, headDim: 3, packed: true },
  { batch: 2, length: 6, numHeads: 4, numKeyValueHeads: 2, headDim: 8 },
  { batch: 2, length: 8, numHeads: 3, numKeyValueHeads: 1, headDim: 5 },
  { batch: 2, length: 5, numHeads: 1, numKeyValueHeads: 1, headDim: 68 },
];

/** Rows `from` and the `length - 1` following of a [., columns] matrix, zero past its end. */
function rowsOf(values: Float32Array, columns: number, from: number, length: number): Float32Array {
  const rows = new Float32Array(length * columns);
  rows.set(values.subarray(from * columns, (from + length) * columns));
  return rows;
}

for (const { packed = false, ...shape } of shapes) {
  const { batch, length, numHeads, numKeyValueHeads, headDim } = shape;
  const name = packed ? "packedAttention()" : "attention()";
  Deno.test(`${name} with a cache matches the reference piece by piece at ${Object.values(shape)}`, async () => {
    const gpu = await testGpu();
    const whole = 12; // positions of a sequence
    for (const [label, profile] of Object.entries(await testProfiles())) {
      const columns = [numHeads, numKeyValueHeads, numKeyValueHeads].map((heads) => heads * headDim);
      // q, k, v of each sequence
      const given = Array.from({ length: batch }, (_, b) =>
        columns.map((n, i) => {
          const values = new Float32Array(whole * n);
          fillNormal(values, 10 * b + i, 1);
          return values;
        }));
      const expected = given.map(([q, k, v]) =>
        attentionReference(q, k, v, { ...shape, batch: 1, length: whole })
      );
      const g = new Graph({ profile });
      const cache = new KeyValueCache(3, whole);
      const context = cache.context(g, batch);
      const options = { numHeads, numKeyValueHeads, cache: { context, layer: 0 } };
      const inputs = packed
        ? [g.input("qkv", [batch, length, 3 * columns[0]], "f32")]
        : ["q", "k", "v"].map((name, i) => g.input(name, [batch, length, columns[i]], "f32"));
      const [q, k, v] = inputs as [Tensor, Tensor, Tensor];
      const out = g.collect(packed ? packedAttention(g, q, options) : attention(g, q, k, v, options));
      await cache.allocate(gpu);
      const program = await compileProgram(gpu, g);
      program.write("slots", Uint32Array.of(2, 0));
      let starts: readonly number[] = [0, 0];
      for (const ends of pieces) {
        program.write("starts", Uint32Array.from(starts));
        const parts = columns.map((n, i) =>
          Float32Array.from(given.flatMap((sequence, b) => [...rowsOf(sequence[i], n, starts[b], length)]))
        );
        if (packed) {
          const [q, k, v] = parts;
          const n = columns[0];
          const row = (part: Float32Array, r: number) => [...part.subarray(r * n, (r + 1) * n)];
          const rows = Array.from({ length: batch * length }, (_, r) => [q, k, v].flatMap((p) => row(p, r)));
          program.write("qkv", Float32Array.from(rows.flat()));
        } else ["q", "k", "v"].forEach((name, i) => program.write(name, parts[i]));
        program.run();
        const [got] = await program.read(out);
        ends.forEach((end, b) => {
          const at = b * length * columns[0];
          const size = (end - starts[b]) * columns[0];
          const wanted = expected[b].slice(starts[b] * columns[0], end * columns[0]);
          if (size === 0) return;
          // f32 sums over the head and the positions.
          closeTo(got.subarray(at, at + size), wanted, 5e-5, `${label}: sequence ${b} to ${end}`);
        });
        starts = ends;
      }
      program.destroy();
      cache.destroy();
    }
  });
}

Deno.test("a cache is refused in a training graph", async () => {
  const { profile } = await testGpu();
  const g = new Graph({ profile, training: true });
  const context = new KeyValueCache(1, 8).context(g, 1);
  const qkv = g.input("qkv", [1, 2, 12], "f32");
  throws(
    () => packedAttention(g, qkv, { numHeads: 1, cache: { context, layer: 0 } }),
    /training graph must attend without a cache/,
  );
});
