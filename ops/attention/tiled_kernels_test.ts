import { deepEqual, ok } from "node:assert/strict";
import type { Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { closeTo, testGpu } from "../../tests/check_op.ts";
import { elementwise } from "../elementwise.ts";
import { fillNormal } from "../random.ts";
import { attention, packedAttention } from "./attention.ts";
import { tilesFor } from "./tiles.ts";

/** Attention of more than one block of rows, so that tiles are whole, on the diagonal and ragged. */
interface Case {
  readonly headDim: number;
  readonly length: number;
  readonly numHeads: number;
  /** Default all, packed in one tensor. */
  readonly numKeyValueHeads?: number;
  readonly dropout?: number;
  /** Tokens of a document; default the sequence. */
  readonly document?: number;
}

const cases: Case[] = [
  { headDim: 64, length: 150, numHeads: 2 },
  { headDim: 64, length: 128, numHeads: 4, numKeyValueHeads: 2, dropout: 0.2, document: 45 },
  { headDim: 32, length: 70, numHeads: 2, dropout: 0.2 },
  { headDim: 80, length: 70, numHeads: 2, numKeyValueHeads: 1, document: 23 },
  { headDim: 96, length: 101, numHeads: 1 },
  { headDim: 128, length: 130, numHeads: 2, numKeyValueHeads: 1 },
  { headDim: 256, length: 70, numHeads: 1 },
  { headDim: 61, length: 67, numHeads: 2, dropout: 0.2, document: 30 },
];

/** What attention and its gradients are with a profile's kernels, the same in two steps. */
async function results(profile: Profile, c: Case): Promise<Float32Array[]> {
  const gpu = await testGpu();
  const { headDim, length, numHeads, numKeyValueHeads, dropout, document } = c;
  const g = new Graph({ profile, training: true });
  const init = (values: Float32Array, seed: number) => fillNormal(values, seed, 1);
  const batch = 2;
  const of = (name: string, heads: number) => g.parameter(name, [batch, length, heads * headDim], { init });
  const starts = document === undefined ? undefined : g.input("starts", [batch, length], "u32");
  const options = { numHeads, numKeyValueHeads, dropout, starts };
  const y: Tensor = numKeyValueHeads === undefined
    ? packedAttention(g, of("qkv", 3 * numHeads), options)
    : attention(g, of("q", numHeads), of("k", numKeyValueHeads), of("v", numKeyValueHeads), options);
  const dy = g.input("dy", y.shape, "f32");
  elementwise(g, {
    label: "seed",
    read: { dy },
    out: g.gradientTarget(y)!.tensor,
    statements: "out[i] = dy[i];",
  });
  g.backward();
  const [segments] = g.beginUpdate([g.parameters.all]);
  const out = g.collect(y);
  g.parameters.allocate(gpu, 7);
  const program = await compileProgram(gpu, g);
  const dyValues = new Float32Array(y.size);
  fillNormal(dyValues, 99, 1);
  program.write("dy", dyValues);
  if (dropout) program.write("random_seed", Uint32Array.of(5));
  if (document !== undefined) {
    const startOf = (at: number) => at % length - at % length % document;
    program.write("starts", Uint32Array.from({ length: batch * length }, (_, at) => startOf(at)));
  }
  const run = async () => {
    program.run();
    const read = [(await program.read(out))[0]];
    for (const { gradients, items } of segments) {
      const [values] = await program.read(gradients);
      for (const { start, size } of items) read.push(values.slice(start, start + size));
    }
    return read;
  };
  const first = await run();
  deepEqual(await run(), first, "the same bits twice");
  program.destroy();
  g.parameters.destroy();
  return first;
}

for (const c of cases) {
  Deno.test(`the tiled kernels agree with those by rows, the same bits twice: ${JSON.stringify(c)}`, async () => {
    const { profile } = await testGpu();
    const byRows = await results({ ...profile, isSoftware: true }, c);
    const card = { ...profile, isSoftware: false, subgroupSize: 0 };
    const tiled = await results(card, c);
    // Sums of up to 256 products and 150 rows in another order: f32's rounding.
    tiled.forEach((values, n) => closeTo(values, byRows[n], 2e-5, `result ${n}`));
  });
}

Deno.test("tilesFor() keeps to what WebGPU guarantees, up to heads of 256 values", () => {
  for (let headDim = 1; headDim <= 256; headDim++) {
    for (const teams of ["one", "shared", "apart"] as const) {
      const { threads, team, width, lines, kept, columns, parts, walk, slice } = tilesFor(headDim, teams)!;
      ok(threads >= 64 && threads <= 256, `${threads} threads`);
      ok(threads / team * width * (lines + kept) * 16 <= 16_384, "workgroup memory");
      ok(4 * columns * parts >= headDim && walk % slice === 0, `columns and slices for ${headDim}`);
    }
  }
  deepEqual(tilesFor(257, "one"), undefined);
});
