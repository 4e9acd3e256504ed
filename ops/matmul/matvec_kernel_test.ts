import { deepEqual, equal } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { ParameterStore, writeTensor } from "../../gpu/parameters.ts";
import { compileProgram } from "../../gpu/program.ts";
import { prefersTexels } from "../../gpu/texels/texels.ts";
import { closeTo, testGpu } from "../../tests/check_op.ts";
import { matmulReference } from "../linear_reference.ts";
import { fillNormal } from "../random.ts";
import { matmul } from "./matmul.ts";

const filled = (size: number, seed: number) => {
  const values = new Float32Array(size);
  fillNormal(values, seed, 1);
  return values;
};

interface Case {
  readonly sizes: readonly [m: number, n: number, k: number];
  readonly transposedB?: boolean;
  readonly adds?: boolean;
}

const weightsOf = ({ sizes: [, n, k] }: Case) => filled(n * k, 1);
const rowsOf = ({ sizes: [, , k] }: Case) => filled(32 * k, 2);

/** The product of the first m of the same rows with a parameter, twice with an accumulation where it adds. */
async function product(item: Case): Promise<Float32Array> {
  const { sizes: [m, n, k], transposedB = false, adds = false } = item;
  const gpu = await testGpu();
  const parameters = new ParameterStore();
  const g = new Graph({ profile: gpu.profile, parameters, keepsWeights: true });
  const b = g.parameter("b", transposedB ? [n, k] : [k, n], {
    init: (values) => values.set(weightsOf(item)),
  });
  const [a, bias, residual] = [
    g.input("a", [m, k], "f32"),
    g.input("bias", [n], "f32"),
    g.input("residual", [m, n], "f32"),
  ];
  const out = g.output("out", [m, n]);
  matmul(g, { m, n, k, a, b, transposedB, out, ...(adds ? { bias, residual } : {}) });
  if (adds) matmul(g, { m, n, k, a, b, transposedB, out, accumulate: true });
  equal(g.microKernels.some(({ label }) => label === "matmul_matvec"), prefersTexels(gpu.profile));
  await parameters.allocate(gpu, 0);
  const program = await compileProgram(gpu, g);
  program.write("a", rowsOf(item).slice(0, m * k));
  program.write("bias", filled(n, 3));
  program.write("residual", filled(m * n, 4));
  program.run();
  const [values] = await program.read(out);
  program.destroy();
  return values.slice();
}

// Whole turns of the lanes and tiles, and sizes that end inside of one, of a vector of four, or of both.
const cases: Case[] = [
  { sizes: [1, 16, 64] },
  { sizes: [1, 1, 1] },
  { sizes: [3, 37, 22] },
  { sizes: [8, 40, 36], transposedB: true },
  { sizes: [17, 36, 100], adds: true },
  { sizes: [32, 13, 7], transposedB: true, adds: true },
];

for (const item of cases) {
  const { sizes: [m, n, k], transposedB = false, adds = false } = item;
  const name = `${m} x ${n} x ${k}${transposedB ? ", B^T" : ""}${
    adds ? ", with bias, residual and accumulation" : ""
  }`;
  Deno.test(`a few rows times a kept parameter match the reference: ${name}`, async () => {
    const got = await product(item);
    const [a, b] = [rowsOf(item).slice(0, m * k), weightsOf(item)].map((x) => Float64Array.from(x));
    const [bias, residual] = [filled(n, 3), filled(m * n, 4)];
    const expected = matmulReference(a, b, [m, n, k], false, transposedB)
      .map((x, i) => (adds ? 2 * x + bias[i % n] + residual[i] : x));
    closeTo(got, expected, 1e-5, "out"); // f32 sums of at most 100 terms
  });
}

Deno.test("a row has the same bits whatever rows stand beside it", async () => {
  const all = await product({ sizes: [32, 40, 300] });
  for (const m of [1, 2, 7, 9]) {
    deepEqual(await product({ sizes: [m, 40, 300] }), all.subarray(0, m * 40));
  }
});

Deno.test("what is kept of a parameter is computed again once it was written", async () => {
  const gpu = await testGpu();
  const parameters = new ParameterStore();
  const g = new Graph({ profile: gpu.profile, parameters, keepsWeights: true });
  const b = g.parameter("b", [4, 8], { init: (values) => values.fill(1) });
  const [a, out] = [g.input("a", [1, 4], "f32"), g.output("out", [1, 8])];
  matmul(g, { m: 1, n: 8, k: 4, a, b, out });
  await parameters.allocate(gpu, 0);
  const program = await compileProgram(gpu, g);
  program.write("a", new Float32Array(4).fill(1));
  const result = async () => {
    program.run();
    return (await program.read(out))[0][0];
  };
  equal(await result(), 4);
  writeTensor(gpu, b, new Float32Array(32).fill(2));
  equal(await result(), 8);
  equal(await result(), 8);
  program.destroy();
});
