import { closeTo, relativeDistance, testGpu, testProfiles } from "../../tests/check_op.ts";
import { ok } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import { linearCrossEntropy } from "./cross_entropy.ts";
import { IGNORED_TARGET } from "../ignored_target.ts";
import { crossEntropyReference } from "./cross_entropy_reference.ts";
import { normal } from "../../models/model.ts";

interface Case {
  batch: number;
  length: number;
  channels: number;
  vocab: number;
}
const cases: Case[] = [
  { batch: 2, length: 8, channels: 8, vocab: 16 },
  { batch: 1, length: 1, channels: 1, vocab: 2 },
  { batch: 3, length: 7, channels: 5, vocab: 11 },
  { batch: 2, length: 70, channels: 4, vocab: 131 },
];

for (const { batch, length, channels, vocab } of cases) {
  Deno.test(`linearCrossEntropy() matches the reference at ${[batch, length, channels, vocab]}`, async () => {
    const gpu = await testGpu();
    const rows = batch * length;
    const targets = Uint32Array.from(
      { length: rows },
      (_, i) => (i % 5 === 3 ? IGNORED_TARGET : (i * 7) % vocab),
    );
    let expected: ReturnType<typeof expectedOf> | undefined;
    for (const [name, own] of Object.entries(await testProfiles())) {
      // A small binding limit forces several chunks of rows: of 64, in vectors of four.
      const chunk = Math.ceil(vocab / 4) * 4 * 64 * 4;
      for (const profile of [own, { ...own, maxBindingBytes: Math.max(chunk, rows * channels * 4) }]) {
        const g = new Graph({ profile, training: true });
        const x = g.parameter("x", [batch, length, channels], { init: normal(1) });
        const w = g.parameter("w", [vocab, channels], { init: normal(1) });
        const losses = linearCrossEntropy(g, x, w, g.input("targets", [batch, length], "u32"));
        g.backward();
        const [segments] = g.beginUpdate([g.parameters.all]);
        const [loss, sequences] = [g.collect(losses.loss), g.collect(losses.sequenceLosses)];
        await g.parameters.allocate(gpu, 3);
        const program = await compileProgram(gpu, g);
        program.write("targets", targets);
        program.run();
        const [[gotLoss], gotSequences] = await program.read(loss, sequences);
        // The same seed gives every profile the same values, so that they are differentiated once.
        expected ??= expectedOf(await g.parameters.read(gpu), targets, channels);
        const { loss: wantedLoss, losses: wantedLosses, gradients: wanted } = expected;
        closeTo([gotLoss], [wantedLoss], 1e-5, `${name}: loss`);
        const means = Array.from({ length: batch }, (_, b) => {
          const counted = targets.subarray(b * length, (b + 1) * length).filter((t) => t < vocab).length;
          return wantedLosses.slice(b * length, (b + 1) * length).reduce((s, l) => s + l, 0) /
            Math.max(counted, 1);
        });
        closeTo(gotSequences, means, 1e-5, `${name}: sequence losses`);
        for (const segment of segments) {
          const [gradients] = await program.read(segment.gradients);
          for (const { item, start, size } of segment.items) {
            const distance = relativeDistance(
              gradients.subarray(start, start + size),
              wanted.get(item.name)!,
            );
            ok(distance < 1e-4, `${name}: gradient of ${item.name} is off by ${distance}`);
          }
        }
        program.destroy();
        g.parameters.destroy();
      }
    }
  });
}

/** The reference's losses at these parameters, and its central differences. */
function expectedOf(parameters: Map<string, Float32Array>, targets: Uint32Array, channels: number) {
  const values = new Map([...parameters].map(([name, own]) => [name, Float64Array.from(own)]));
  const at = () => crossEntropyReference(values.get("x")!, values.get("w")!, targets, channels);
  const gradients = new Map([...values].map(([name, own]) => [
    name,
    own.map((keep, i) => {
      own[i] = keep + 1e-4;
      const plus = at().loss;
      own[i] = keep - 1e-4;
      const minus = at().loss;
      own[i] = keep;
      return (plus - minus) / 2e-4;
    }),
  ]));
  return { ...at(), gradients };
}
