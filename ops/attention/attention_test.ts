import { throws } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { checkOp, testGpu } from "../../tests/check_op.ts";
import { attention, packedAttention } from "./attention.ts";
import { attentionReference, type AttentionShape } from "./attention_reference.ts";
import { hashCombine } from "../random.ts";

const shapes: AttentionShape[] = [
  { batch: 2, length: 16, numHeads: 2, numKeyValueHeads: 2, headDim: 4 },
  { batch: 1, length: 1, numHeads: 1, numKeyValueHeads: 1, headDim: 1 },
  { batch: 2, length: 19, numHeads: 3, numKeyValueHeads: 3, headDim: 5 },
  { batch: 1, length: 17, numHeads: 1, numKeyValueHeads: 1, headDim: 36 },
  { batch: 1, length: 21, numHeads: 4, numKeyValueHeads: 2, headDim: 8 },
];

/** The mask of dropout that the kernel draws with seed 5: stream 0 of its graph. */
const keepFactor =
  ({ numHeads, length }: AttentionShape, dropout: number) => (b: number, h: number, i: number, j: number) =>
    hashCombine(5, 0, ((b * numHeads + h) * length + i) * length + j) < dropout * 2 ** 32
      ? 0
      : 1 / (1 - dropout);

/** Where documents of 1 to 7 tokens begin, so that many queries see nothing of what comes before them. */
function documentStarts({ batch, length }: AttentionShape): Uint32Array {
  const starts = new Uint32Array(batch * length);
  for (let at = 0, start = 0; at < starts.length; at++) {
    const t = at % length;
    if (t === 0 || hashCombine(3, at) % 4 === 0) start = t;
    starts[at] = start;
  }
  return starts;
}

/** The shapes that kernels of cards get here, to which `tiled_kernels_test.ts` gives whole tiles: ragged, and grouped. */
const [, , ragged, , grouped] = shapes;

const text = (s: AttentionShape) => Object.values(s).join(", ");

for (const shape of shapes) {
  const { batch, length, numHeads, numKeyValueHeads, headDim } = shape;
  const channels = numHeads * headDim;
  const kv = numKeyValueHeads * headDim;
  Deno.test(`attention() matches the reference at ${text(shape)}`, async () => {
    await checkOp({
      inputs: { q: [batch, length, channels], k: [batch, length, kv], v: [batch, length, kv] },
      record: (g, { q, k, v }) => attention(g, q, k, v, { numHeads, numKeyValueHeads }),
      reference: ({ q, k, v }) => attentionReference(q, k, v, shape),
      cards: false,
      tolerance: 5e-5, // exp of scores that f32 sums over the head
    });
  });
  Deno.test(`attention() over documents matches the reference at ${text(shape)}`, async () => {
    const starts = documentStarts(shape);
    await checkOp({
      inputs: { q: [batch, length, channels], k: [batch, length, kv], v: [batch, length, kv] },
      ids: { starts: { shape: [batch, length], values: starts } },
      record: (g, { q, k, v, starts }) => attention(g, q, k, v, { numHeads, numKeyValueHeads, starts }),
      reference: ({ q, k, v }) =>
        attentionReference(q, k, v, shape, () => 1, (b, i) => starts[b * length + i]),
      cards: false,
      tolerance: 5e-5,
    });
  });
  const dropout = 0.25;
  Deno.test(`attention() over documents with dropout matches the reference at ${text(shape)}`, async () => {
    const starts = documentStarts(shape);
    await checkOp({
      inputs: { q: [batch, length, channels], k: [batch, length, kv], v: [batch, length, kv] },
      ids: {
        starts: { shape: [batch, length], values: starts },
        random_seed: { shape: [1], values: Uint32Array.of(5) },
      },
      record: (g, { q, k, v, starts }) =>
        attention(g, q, k, v, { numHeads, numKeyValueHeads, dropout, starts }),
      reference: ({ q, k, v }) =>
        attentionReference(q, k, v, shape, keepFactor(shape, dropout), (b, i) => starts[b * length + i]),
      cards: shape === grouped,
      tolerance: 5e-5,
    });
  });
  if (kv !== channels) continue;
  Deno.test(`packedAttention() with dropout matches the reference at ${text(shape)}`, async () => {
    await checkOp({
      inputs: { qkv: [batch, length, 3 * channels] },
      ids: { random_seed: { shape: [1], values: Uint32Array.of(5) } },
      record: (g, { qkv }) => packedAttention(g, qkv, { numHeads, dropout }),
      reference: ({ qkv }) => {
        const part = (p: number) => qkv.filter((_, i) => Math.floor(i % (3 * channels) / channels) === p);
        return attentionReference(part(0), part(1), part(2), shape, keepFactor(shape, dropout));
      },
      cards: shape === ragged,
      tolerance: 5e-5,
    });
  });
}

Deno.test("attention() refuses heads that do not divide the columns", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  throws(
    () => packedAttention(g, g.input("x", [1, 2, 21], "f32"), { numHeads: 2 }),
    /heads must divide the columns/,
  );
});
