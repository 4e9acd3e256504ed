import { ok } from "node:assert/strict";
import { fillNormal } from "../../ops/random.ts";
import { relativeDistance, testGpu } from "../../tests/check_op.ts";
import { OptimizerBench } from "../../tests/optimizer_bench.ts";
import { koalaPlusPlus } from "./koala_plus_plus.ts";
import { KoalaPlusPlusReference } from "./koala_plus_plus_reference.ts";
import { partition } from "../partition.ts";

/** Large sigma, small Q and turning gradients: what drives v.h below zero. */
const options = { lr: 0.1, sigma: 4, q: 0.01, r: 0.25, alphaR: 0.9, weightDecay: 0, symmetric: true };

/** Steps on gradients of two values; gives the last step's displacement on the GPU and by `reference`. */
async function lastStep(
  gradients: readonly number[][],
  reference: (steps: readonly number[][]) => Float64Array,
) {
  const optimizer = koalaPlusPlus(options);
  const start = { name: "x", shape: [2], values: new Float32Array(2) };
  const bench = await OptimizerBench.create(await testGpu(), partition([{ optimizer }]), [start]);
  let before: Float32Array = start.values;
  let after = before;
  for (const x of gradients) {
    bench.step({ x: Float32Array.from(x) }, 1, 0);
    [before, after] = [after, (await bench.read()).get("x")!];
  }
  bench.destroy();
  return { got: Array.from(after, (x, i) => x - before[i]), expected: reference(gradients) };
}

/** The last displacement of the unguarded recursion over some steps. */
function unguarded(steps: readonly number[][]): Float64Array {
  const x = new Float64Array(2);
  const filter = new KoalaPlusPlusReference([x], options);
  for (const g of steps.slice(0, -1)) filter.step([g], 1, 0);
  const before = x.slice();
  filter.step([steps[steps.length - 1]], 1, 0);
  return x.map((value, i) => value - before[i]);
}

Deno.test("koalaPlusPlus() starts a tensor's filter again where S would fall below 0", async () => {
  // Without the guard: v.h = -4.2 Q h.h, S = -0.04, and the last step overshoots.
  const turning = [[1, 0], [-1, -1], [-3, 2], [0, 3]];
  // With any covariance a step lowers the linearised loss by lr L (S - R) / S, at most by lr L = 0.1.
  ok(-3 * unguarded(turning)[1] > 0.5, "the example must need the guard");
  const { got, expected } = await lastStep(turning, (steps) => unguarded(steps.slice(-1)));
  ok(relativeDistance(got, expected) < 1e-5, `the step must be ${expected}, got ${got}`);
});

Deno.test("koalaPlusPlus() does not interfere while v.h is negative but the step leads downhill", async () => {
  const { got, expected } = await lastStep([[1, 0], [-3, -3], [-3, 0], [-3, 2]], unguarded); // v.h = -0.6 Q h.h
  ok(relativeDistance(got, expected) < 1e-5, `the step must be ${expected}, got ${got}`);
});

for (const r of ["variance", "second-moment", 0] as const) {
  for (const symmetric of [true, false]) {
    Deno.test(`koalaPlusPlus({ r: ${r}, symmetric: ${symmetric} }) survives scales from 1e-12 to 1e12`, async () => {
      const optimizer = koalaPlusPlus({ r, symmetric, lr: 1e-3, weightDecay: 0.01 });
      const shape = [16_385]; // two chunks
      const start = { name: "x", shape, values: new Float32Array(shape[0]).fill(1) };
      const bench = await OptimizerBench.create(await testGpu(), partition([{ optimizer }]), [start]);
      const scales = [1e-12, 1, -1, 1e12, 1e-12, -1e12, 1e-12, 1e-6, 1e12, 1e12, 0, -1, 1e-9, 1e6, -1e-6, 1];
      for (const [k, scale] of scales.entries()) {
        const x = new Float32Array(shape[0]);
        fillNormal(x, k % 3, 1);
        bench.step({ x: x.map((v) => v * scale) }, 1, 0);
      }
      const names = ["x", ...bench.state.map((s) => s.name)];
      const values = await bench.program.read(
        ...bench.segments.map((s) => s.parameters),
        ...bench.state.map((s) => s.tensor),
      );
      values.forEach((v, i) => ok(v.every(Number.isFinite), `${names[i]} must stay finite`));
      bench.destroy();
    });
  }
}
