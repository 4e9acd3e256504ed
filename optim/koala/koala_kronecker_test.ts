import { deepEqual, ok, throws } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { fillNormal } from "../../ops/random.ts";
import { testGpu, testProfiles } from "../../tests/check_op.ts";
import { OptimizerBench } from "../../tests/optimizer_bench.ts";
import { partition } from "../partition.ts";
import { recordUpdates } from "../update.ts";
import { KoalaKroneckerReference } from "./koala_kronecker_reference.ts";
import { koalaPlusPlus } from "./koala_plus_plus.ts";

const normal = (size: number, seed: number, deviation = 1) => {
  const values = new Float32Array(size);
  fillNormal(values, seed, deviation);
  return values;
};

const options = { lr: 0.05, beta: 0.9, beta2: 0.9, shampooBeta: 0.9, frequency: 3, weightDecay: 0 };

// Square matrices, whose first gradient already spans both sides: f32 holds all that the scaling needs.
for (const covariance of ["one-sided", "kronecker"] as const) {
  Deno.test(`koalaPlusPlus() with a ${covariance} covariance follows the reference through refreshes of its bases`, async () => {
    const start = [[8, 8], [20, 20]].map((shape, i) => ({
      name: `t${i}`,
      shape,
      values: normal(shape[0] * shape[1], i, 0.1),
    }));
    for (const [name, profile] of Object.entries(await testProfiles())) {
      const gpu = Object.assign(Object.create(await testGpu()), { profile });
      const optimizer = koalaPlusPlus({ ...options, covariance, orthogonal: "unit" });
      const bench = await OptimizerBench.create(gpu, partition([{ optimizer }]), start);
      const theta = start.map(({ values }) => Float64Array.from(values));
      const references = start.map(({ shape: [rows, columns] }, i) =>
        new KoalaKroneckerReference(theta[i], [rows, columns], { ...options, covariance })
      );
      for (let k = 0; k < 12; k++) {
        // Noise that is larger in some rows and columns, as a covariance is made for.
        const gradients = start.map(({ shape: [rows, columns] }, i) =>
          normal(rows * columns, 50 + 10 * k + i).map((x, j) =>
            x * (1 + Math.floor(j / columns) % 3) * (1 + j % columns % 4)
          )
        );
        bench.step(Object.fromEntries(gradients.map((g, i) => [`t${i}`, g])), 1, 0.1);
        references.forEach((r, i) => r.step(gradients[i]));
      }
      const got = await bench.read();
      start.forEach(({ name: tensor, values }, i) => {
        const distance = (x: ArrayLike<number>) => Math.hypot(...theta[i].map((y, j) => x[j] - y));
        const error = distance(got.get(tensor)!) / distance(values);
        // f32 sums, of which Newton-Schulz steps make a polynomial of degree 5^5, and bases that are refreshed in f32.
        ok(error < 2e-3, `${name}: ${tensor} moved with an error of ${error}`);
      });
      bench.destroy();
    }
  });
}

Deno.test("a Kronecker covariance's metrics say what the mean has of the squares, and how unequal the noise is", async () => {
  const optimizer = koalaPlusPlus({ ...options, covariance: "kronecker", orthogonal: "unit" });
  const values = new Float32Array(30);
  const start = { name: "x", shape: [5, 6], values };
  const bench = await OptimizerBench.create(await testGpu(), partition([{ optimizer }]), [start]);
  const gradient = normal(30, 1);
  bench.step({ x: gradient }, 1, 0.1);
  // At the first step the basis is I, V / (1 - b2) = G^2 and U = (1 - mu) (1 + mu) G.
  const logs = [...gradient].map((x) => Math.log(Math.abs(x)));
  const mean = logs.reduce((a, b) => a + b) / 30;
  const spread = Math.sqrt(logs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 30);
  const summary = await bench.summary();
  deepEqual(Object.keys(summary), ["koala_plus_plus.signal", "koala_plus_plus.spread"]);
  for (const [i, expected] of [0.19 ** 2, spread].entries()) {
    const [name, value] = Object.entries(summary)[i];
    ok(Math.abs(value - expected) < 1e-4 * expected, `${name} must be ${expected}, got ${value}`);
  }
  bench.destroy();
});

Deno.test("a Kronecker covariance's batches fit a binding with the square of their longer side", async () => {
  const profile = { ...(await testGpu()).profile, maxBindingBytes: 128 << 20 };
  const g = new Graph({ profile, training: true });
  for (let i = 0; i < 8; i++) g.gradientTarget(g.parameter(`x${i}`, [2048, 512], { init: () => {} }));
  const optimizer = koalaPlusPlus({ covariance: "kronecker", orthogonal: "unit" });
  const [losses, sequenceLosses] = [
    g.input("loss", [1, 1], "f32"),
    g.input("sequence_losses", [1, 2], "f32"),
  ];
  const { optimizers } = recordUpdates(g, partition([{ optimizer }]), { losses, sequenceLosses, clip: 0 });
  const sizes = optimizers[0].update.state.map(({ tensor }) => 4 * tensor.size);
  // Together the squares would be of 128 MiB, which is at the limit, and a batch is of at most 48.
  ok(Math.max(...sizes) <= 48 << 20, `state must be bindable, got ${sizes}`);
});

Deno.test("a covariance is refused without orthogonal steps, and out of range", () => {
  throws(
    () => koalaPlusPlus({ covariance: "kronecker" }),
    /^RangeError: koalaPlusPlus: a covariance needs orthogonal "unit", got "none"; set it, or covariance to "none"$/,
  );
  const unit = { orthogonal: "unit", covariance: "kronecker" } as const;
  throws(
    () => koalaPlusPlus({ ...unit, covariance: "both" as "kronecker" }),
    /covariance must be "none", "one-/,
  );
  throws(
    () => koalaPlusPlus({ ...unit, beta2: 1 }),
    /beta2 must be a finite number at least 0 and below 1, got 1/,
  );
  throws(
    () => koalaPlusPlus({ ...unit, frequency: 0 }),
    /frequency must be a finite number at least 1, got 0/,
  );
});
