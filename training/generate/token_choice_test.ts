import { deepEqual, equal, ok } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import { fillNormal, uniform } from "../../ops/random.ts";
import { testGpu, testProfiles } from "../../tests/check_op.ts";
import { sampleToken, type SamplingOptions, tokenDistribution } from "./sampling.ts";
import {
  choiceInputs,
  type ChoosingSequence,
  INFINITE_TOKEN,
  NAN_TOKEN,
  recordTokenChoice,
} from "./token_choice.ts";

/** Choosing from [B, V] in two blocks of columns, which are those that a test gives. */
async function chooser(batch: number, vocab: number, kept: number, profile?: string) {
  const gpu = await testGpu();
  const g = new Graph({ profile: profile ? (await testProfiles())[profile] : gpu.profile });
  const widths = vocab > 1 ? [vocab - (vocab >> 2), vocab >> 2].filter((width) => width > 0) : [vocab];
  const logits = widths.map((width, i) => g.input(`logits.${i}`, [batch, width], "f32"));
  const [tokens, starts] = ["tokens", "starts"].map((name) => g.input(name, [batch], "u32"));
  const { chosen } = recordTokenChoice(g, { logits, tokens, starts, kept });
  const program = await compileProgram(gpu, g);
  const u32 = async (tensor: typeof tokens) => new Uint32Array((await program.read(tensor))[0].buffer);
  return {
    /** Ids [runs, B] of as many draws, all from the same logits. */
    async choose(values: ArrayLike<number>, sequences: readonly ChoosingSequence[], runs: number) {
      let first = 0;
      widths.forEach((width, i) => {
        const block = Float32Array.from({ length: batch * width }, (_, at) => {
          return values[Math.floor(at / width) * vocab + first + at % width];
        });
        program.write(`logits.${i}`, block);
        first += width;
      });
      const inputs = choiceInputs(sequences, vocab);
      for (const [name, values] of Object.entries(inputs)) program.write(name, values);
      program.write("starts", Uint32Array.from(sequences, ({ start }) => start));
      program.run(runs);
      const [last, positions, ring] = [await u32(tokens), await u32(starts), await u32(chosen)];
      deepEqual([...positions], sequences.map(({ start }) => start + runs));
      const ids = Array.from(
        { length: runs },
        (_, run) => sequences.map(({ start }, b) => ring[(start + run) % kept * batch + b]),
      );
      deepEqual([...last], ids[runs - 1]);
      return ids;
    },
    destroy: () => program.destroy(),
  };
}

/** Logits as a model has them, or coarse ones of which many are equal. */
function testLogits(count: number, coarse: boolean): Float32Array {
  const values = new Float32Array(count);
  fillNormal(values, count, 2);
  return coarse ? values.map((x) => Math.round(2 * x) / 2) : values;
}

const cases: readonly SamplingOptions[] = [
  { temperature: 0 },
  { temperature: 1 },
  { temperature: 0.7 },
  { topK: 1 },
  { topK: 3 },
  { topK: 40, temperature: 1.3 },
  { topP: 0.01 },
  { topP: 0.6, temperature: 2 },
  { topP: 0.93 },
  { minP: 0.3 },
  { minP: 1 },
  { topK: 20, topP: 0.8, minP: 0.1, temperature: 1.5 },
  { temperature: 0, repetitionPenalty: 1.5 },
  { repetitionPenalty: 1.25, topP: 0.9 },
];

for (const profile of Object.keys(await testProfiles())) {
  for (const [vocab, coarse] of [[1, false], [70, false], [70, true], [1031, false], [1031, true]] as const) {
    const kind = coarse ? "coarse " : "";
    Deno.test(`the GPU chooses as sampleToken() does, ${vocab} ${kind}logits, on ${profile}`, async () => {
      const runs = 64;
      const { choose, destroy } = await chooser(cases.length, vocab, runs, profile);
      const logits = testLogits(cases.length * vocab, coarse);
      // More draws from positions that lie elsewhere; places of a ring go round.
      for (const start of [0, 9]) {
        const sequences = cases.map((options, row) => ({
          options: { ...options, seed: 7 + row },
          ids: [0, 1, 2, 3, 0].map((id) => id * 5 % vocab),
          drawn: 3,
          start,
        }));
        const got = await choose(logits, sequences, runs);
        cases.forEach((options, row) => {
          const own = logits.subarray(row * vocab, (row + 1) * vocab);
          const previous = [...sequences[row].ids];
          for (let run = 0; run < runs; run++) {
            const id = got[run][row];
            const { ids, probabilities } = tokenDistribution(own, options, previous);
            const expected = sampleToken(own, options, 7 + row, 3 + run, previous);
            const label = `${JSON.stringify(options)}, draw ${run}`;
            if (id !== expected) {
              // Only where u is as near to the edge of the other as f32 is exact, with weights of some ulp.
              const at = ids.indexOf(Math.max(id, expected));
              const edge = probabilities.slice(0, at).reduce((sum, p) => sum + p, 0);
              const distance = Math.abs(edge - uniform(7 + row, 3 + run));
              ok(distance < 2e-6, `${label}: ${id} instead of ${expected}, ${distance} from its edge`);
            }
            previous.push(id);
          }
        });
      }
      destroy();
    });
  }
}

Deno.test("every token that the options leave is drawn as often as it is likely", async () => {
  const [batch, vocab, runs] = [16, 12, 256];
  const { choose, destroy } = await chooser(batch, vocab, runs);
  const own = testLogits(vocab, false);
  const logits = Float32Array.from({ length: batch * vocab }, (_, i) => own[i % vocab]);
  const options = { temperature: 1.5, topP: 0.95 };
  const counts = new Array(vocab).fill(0);
  for (let round = 0; round < 4; round++) {
    const sequences = Array.from({ length: batch }, (_, row) => ({
      options: { ...options, seed: row },
      ids: [0],
      drawn: round * runs,
      start: 0,
    }));
    for (const ids of await choose(logits, sequences, runs)) for (const id of ids) counts[id]++;
  }
  destroy();
  const { ids, probabilities } = tokenDistribution(own, options);
  const draws = 4 * batch * runs;
  equal(ids.reduce((sum, id) => sum + counts[id], 0), draws, "nothing else is drawn");
  const chiSquare = ids.reduce((sum, id, i) => {
    const expected = probabilities[i] * draws;
    return sum + (counts[id] - expected) ** 2 / expected;
  }, 0);
  // 99.9% of all such values are below 29.6 for 10 degrees of freedom; there are fewer here.
  ok(ids.length > 5 && ids.length <= 11 && chiSquare < 29.6, `${ids.length} tokens, ${chiSquare}`);
});

Deno.test("broken logits give reserved ids, and infinitely small ones are never drawn", async () => {
  const { choose, destroy } = await chooser(5, 40, 8);
  const logits = testLogits(5 * 40, false);
  logits[3] = NaN;
  logits[40 + 39] = Infinity;
  logits.fill(-Infinity, 80, 120);
  logits.fill(-Infinity, 120, 200);
  logits[120 + 7] = -3;
  logits[160 + 39] = 2;
  const sequences = [0, 1, 2, 3, 4].map((seed) => ({
    options: { temperature: seed === 4 ? 0 : 1, topP: seed === 3 ? 0.9 : 1, seed },
    ids: [1],
    drawn: 0,
    start: 0,
  }));
  for (const ids of await choose(logits, sequences, 8)) {
    deepEqual(ids, [NAN_TOKEN, INFINITE_TOKEN, INFINITE_TOKEN, 7, 39]);
  }
  destroy();
});

Deno.test("a bit pattern of NaN with a sign is NaN, and the two zeros are equal", async () => {
  const { choose, destroy } = await chooser(2, 3, 2);
  const logits = new Float32Array([1, 2, 3, -0, 0, -1]);
  new Uint32Array(logits.buffer)[0] = 0xffc0_0000;
  const sequences = [0, 1].map((seed) => ({
    options: { temperature: 0, seed },
    ids: [0],
    drawn: 0,
    start: 0,
  }));
  deepEqual(await choose(logits, sequences, 1), [[NAN_TOKEN, 0]]);
  destroy();
});
