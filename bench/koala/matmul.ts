/**
 * koala-lm's matrix product, as layers record it: in a graph, other layouts transposed inside.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import { matmul } from "../../ops/matmul/matmul.ts";
import { checkProduct, matmulInputs } from "../inputs.ts";
import type { MatmulCase } from "../protocol.ts";
import type { Prepared } from "../serve.ts";

/** Compiles a product and checks it. */
export async function prepareMatmul(gpu: Gpu, what: MatmulCase): Promise<Prepared> {
  const { m, k, n, transposedA, transposedB } = what;
  const values = matmulInputs(what);
  const began = performance.now();
  const g = new Graph({ profile: gpu.profile });
  const a = g.input("a", transposedA ? [k, m] : [m, k], "f32");
  const b = g.input("b", transposedB ? [n, k] : [k, n], "f32");
  const out = g.output("out", [m, n]);
  matmul(g, { m, k, n, a, b, transposedA, transposedB, out });
  const program = await compileProgram(gpu, g);
  program.write("a", values.a);
  program.write("b", values.b);
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) program.run();
    await gpu.device.queue.onSubmittedWorkDone();
    gpu.check();
  };
  await run(1);
  const first = (performance.now() - began) / 1e3;
  const [product] = await program.read(out);
  return { ready: { first, error: checkProduct(what, product) }, run, release: () => program.destroy() };
}
