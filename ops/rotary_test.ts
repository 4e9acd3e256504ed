import { ok, throws } from "node:assert/strict";
import { Graph } from "../gpu/graph.ts";
import { checkOp, testGpu } from "../tests/check_op.ts";
import { rotary, rotaryFrequencies, rotaryTable } from "./rotary.ts";
import { rotaryReference } from "./rotary_reference.ts";

// Of 1 to 8 pairs some keep their frequency, some are blended and some are slowed down.
const llama3 = {
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 32,
};
const scaling = { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalLength: 32 };

for (
  const [batch, length, numHeads, headDim, theta, scaled] of [
    [1, 1, 1, 2, 10_000, false],
    [2, 5, 3, 8, 10_000, false],
    [3, 7, 2, 6, 500_000, false],
    [1, 37, 2, 16, 10_000, true],
    [2, 33, 1, 10, 100, true],
  ] as const
) {
  const shape = `[${batch}, ${length}, ${numHeads} x ${headDim}]${scaled ? ", scaled" : ""}`;
  Deno.test(`rotary() matches the reference at ${shape}`, async () => {
    const options = { theta, ...(scaled ? { scaling } : {}) };
    await checkOp({
      inputs: { x: [batch, length, numHeads * headDim] },
      record: (g, { x }) => rotary(g, x, rotaryTable(g, length, headDim, options)),
      reference: ({ x }) =>
        rotaryReference(x, { length, numHeads, headDim, theta, ...(scaled ? { scaling: llama3 } : {}) }),
    });
  });
}

Deno.test("rotaryFrequencies() gives what transformers computes for Llama 3.2", () => {
  const found = rotaryFrequencies(64, {
    theta: 500_000,
    scaling: { factor: 32, lowFreqFactor: 1, highFreqFactor: 4, originalLength: 8192 },
  });
  // transformers 5.18: some kept, some blended (15 to 17), some divided by 32.
  const expected: [number, number][] = [
    [0, 1],
    [1, 0.663601279258728],
    [14, 0.0032114461064338684],
    [15, 0.0012905480107292533],
    [16, 0.000429556705057621],
    [17, 9.708286233944818e-05],
    [18, 1.9461638657958247e-05],
    [31, 9.418306490260875e-08],
  ];
  for (const [c, frequency] of expected) {
    // Blending subtracts, and transformers does it in f32.
    ok(Math.abs(found[c] / frequency - 1) < 5e-6, `frequency ${c} must be ${frequency}, got ${found[c]}`);
  }
});

Deno.test("rotary() refuses odd heads, split heads and tables of another length", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  const x = g.input("x", [1, 4, 12], "f32");
  throws(() => rotaryTable(g, 4, 3), /must be an even number, got 3/);
  throws(() => rotary(g, x, rotaryTable(g, 4, 8)), /whole heads of 8 values, got 12 columns/);
  throws(() => rotary(g, x, rotaryTable(g, 5, 4)), /table must be f32 of shape \[4, any\], got f32 \[5, 4\]/);
});
