import { deepEqual, ok, throws } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import { matmulReference } from "../../ops/linear_reference.ts";
import { fillNormal } from "../../ops/random.ts";
import { closeTo, testGpu, testProfiles } from "../../tests/check_op.ts";
import { matrixBatches } from "./matrix_batches.ts";
import { orthogonalizePacked } from "./orthogonalize.ts";
import { orthogonalizeReference } from "./orthogonalize_reference.ts";

/** Matrices, given as [out, in] of each part. */
const cases = [
  { name: "square", outputs: 12, inputs: 12 },
  { name: "wide", outputs: 8, inputs: 20 },
  { name: "tall", outputs: 20, inputs: 8 },
  { name: "turned", outputs: 20, inputs: 8, layout: "in-out" },
  { name: "ragged", outputs: 7, inputs: 18 },
  { name: "packed", outputs: 12, inputs: 12, layout: "in-out", parts: 3 },
  { name: "stacked", outputs: 5, inputs: 9, parts: 2 },
] as const;

interface Case {
  readonly name: string;
  readonly outputs: number;
  readonly inputs: number;
  readonly layout?: "in-out" | "out-in";
  readonly parts?: number;
}

/** Where the value of a part's output and input lies in its parameter. */
const index = ({ outputs, inputs, layout, parts = 1 }: Case, part: number, o: number, i: number) =>
  layout === "in-out" ? i * outputs * parts + part * outputs + o : (part * outputs + o) * inputs + i;

/** A part as [out, in]. */
function partOf(c: Case, values: ArrayLike<number>, part: number): Float64Array {
  return Float64Array.from(
    { length: c.outputs * c.inputs },
    (_, k) => values[index(c, part, Math.floor(k / c.inputs), k % c.inputs)],
  );
}

async function orthogonalized(profile: Graph["profile"], scale: number) {
  const gpu = await testGpu();
  const g = new Graph({ profile, training: true });
  const values = cases.map((c: Case, n) => {
    const { name, outputs, inputs, layout = "out-in", parts = 1 } = c;
    const own = new Float64Array(outputs * inputs * parts);
    const start = Float32Array.from(own);
    fillNormal(start, n + 1, scale);
    const shape = layout === "in-out" ? [inputs, outputs * parts] : [outputs * parts, inputs];
    const p = g.parameter(name, shape, { init: (out) => out.set(start), layout, parts });
    g.gradientTarget(p);
    return start;
  });
  const [segments] = g.beginUpdate([g.parameters.all]);
  orthogonalizePacked(g, matrixBatches(g, "test", segments), segments.map((s) => s.parameters));
  await g.parameters.allocate(gpu, 0);
  const program = await compileProgram(gpu, g);
  program.run();
  const results = await g.parameters.read(gpu);
  program.destroy();
  g.parameters.destroy();
  return { values, results, kernels: g.updateKernels.length };
}

for (const scale of [1, 1e-5, 1e5]) {
  Deno.test(`orthogonalizePacked() matches the reference for matrices of size ${scale} in every layout`, async () => {
    for (const profile of Object.values(await testProfiles())) {
      const { values, results } = await orthogonalized(profile, scale);
      cases.forEach((c: Case, n) => {
        for (let part = 0; part < (c.parts ?? 1); part++) {
          const expected = orthogonalizeReference(partOf(c, values[n], part), c.outputs, c.inputs);
          // Rounding errors along small singular values grow by up to 3.4 in each of five steps.
          closeTo(partOf(c, results.get(c.name)!, part), expected, 2e-4, `${c.name} ${part}`);
        }
      });
    }
  });
}

Deno.test("orthogonalizePacked() gives nearly orthonormal rows or columns, in one batch per shape", async () => {
  const { profile } = await testGpu();
  const { results, kernels } = await orthogonalized(profile, 1);
  const { outputs, inputs } = cases[1];
  const x = results.get("wide")!;
  const gram = matmulReference(x, x, [outputs, outputs, inputs], false, true);
  const trace = gram.reduce((sum, v, i) => sum + (i % (outputs + 1) === 0 ? v : 0), 0);
  const rest = gram.filter((_, i) => i % (outputs + 1) !== 0);
  ok(
    trace / outputs > 0.6 && trace / outputs < 1.3,
    `squares of singular values must be about 1, got ${trace}`,
  );
  ok(rest.every((v) => Math.abs(v) < 0.4), `rows must be nearly orthogonal, got ${rest}`);
  // square and packed; wide, tall, turned and ragged; stacked: 3 shapes of 3 + 15 kernels and two copies.
  deepEqual(kernels, 3 * 20);
});

Deno.test("matrixBatches() refuses outputs that its parts cannot share", async () => {
  const { profile } = await testGpu();
  const g = new Graph({ profile, training: true });
  g.gradientTarget(g.parameter("x", [6, 4], { init: () => {}, parts: 4 }));
  const [segments] = g.beginUpdate([g.parameters.all]);
  throws(() => matrixBatches(g, "test", segments), /x must have a multiple of 4 outputs/);
});
