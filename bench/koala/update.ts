/**
 * What koala-lm's optimizers do in a step, alone: statistics of the gradients and the update, on gradients that
 * are written once and kept.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import { type Parameter, writeTensor } from "../../gpu/parameters.ts";
import { compileProgram } from "../../gpu/program.ts";
import { AdamWReference } from "../../optim/adamw_reference.ts";
import { KoalaPlusPlusReference } from "../../optim/koala/koala_plus_plus_reference.ts";
import type { OptimizerPartition } from "../../optim/partition.ts";
import { recordUpdates } from "../../optim/update.ts";
import { uniform } from "../inputs.ts";
import type { ModelCase } from "../protocol.ts";
import type { Prepared } from "../serve.ts";
import { ADAMW_LR, benchOptimizer, ORTHOGONAL } from "./optimizers.ts";
import { benchModel } from "./step.ts";

const LOSS = 5;
const DEVIATION = 0.5;

/** Compiles the update phase of a model and checks two updates of AdamW and the paper's KOALA++. */
export async function prepareUpdate(gpu: Gpu, { model, optimizer }: ModelCase): Promise<Prepared> {
  const rules = benchOptimizer(optimizer);
  // A recording that is thrown away says which parameters the model has.
  const layout = new Graph({ profile: gpu.profile });
  const recorded = benchModel(model);
  recorded.hidden(layout, layout.input("tokens", [1, model.seqLen], "u32"));
  recorded.head(layout);

  const began = performance.now();
  const g = new Graph({ profile: gpu.profile, training: true });
  const losses = g.input("loss", [1, 1], "f32");
  const sequenceLosses = g.input("sequence_losses", [1, 2], "f32");
  layout.parameters.all.forEach(({ name, shape, role }, i) => {
    g.gradientTarget(g.parameter(name, shape, { init: (out) => out.set(startOf(out.length, i)), role }));
  });
  const all = g.parameters.all;
  const owned = rules.groups(all);
  const { optimizers } = recordUpdates(g, rules, { losses, sequenceLosses, clip: 0 });
  await g.parameters.allocate(gpu, 0);
  const program = await compileProgram(gpu, g);
  const writeGradients = () =>
    all.forEach(({ tensor }, i) => writeTensor(gpu, g.gradientOf(tensor)!, gradientOf(tensor.size, i)));
  program.write("loss", Float32Array.of(LOSS));
  program.write("sequence_losses", Float32Array.of(LOSS - DEVIATION, LOSS + DEVIATION));
  const step = (number: number) => {
    for (const { optimizer, input } of optimizers) {
      program.write(input, Float32Array.from(optimizer.scalars(number, 1)));
    }
    program.run();
  };
  let done = 0;
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) step(done++);
    await gpu.device.queue.onSubmittedWorkDone();
    gpu.check();
  };
  writeGradients();
  await run(1);
  const first = (performance.now() - began) / 1e3;
  // Nothing here computes gradients again, and KOALA++ exchanges two buffers of them: from now on both hold them.
  writeGradients();
  await run(1);
  const checked = optimizer === ORTHOGONAL ? ["adamw"] : ["adamw", "koala_plus_plus"];
  const error = checkUpdate(rules, checked, owned, all, await g.parameters.read(gpu));
  // The first steps are not like the others: SOAP refreshes its bases in each.
  done = 101;
  return {
    ready: { first, error, work: g.updateKernels.reduce((sum, kernel) => sum + kernel.bytes, 0) },
    run,
    release: () => {
      program.destroy();
      g.parameters.destroy();
    },
  };
}

function startOf(size: number, index: number): Float32Array<ArrayBuffer> {
  return uniform(size, 100 + index, 0.05);
}

function gradientOf(size: number, index: number): Float32Array<ArrayBuffer> {
  return uniform(size, 500 + index, 1e-3);
}

/**
 * The largest error among a few parameters of AdamW and KOALA++, relative to how far they were moved. The other
 * optimizers are checked by their tests alone: some overwrite the gradients, which nothing here computes again.
 */
function checkUpdate(
  rules: OptimizerPartition,
  checked: readonly string[],
  owned: readonly (readonly Parameter[])[],
  all: readonly Parameter[],
  got: ReadonlyMap<string, Float32Array>,
): number {
  let error = 0;
  rules.optimizers.forEach(({ name }, i) => {
    if (!checked.includes(name)) return;
    // The large and the small: first and last in the order of sizes.
    const bySize = owned[i].toSorted((a, b) => b.tensor.size - a.tensor.size);
    for (const parameter of [...bySize.slice(0, 2), ...bySize.slice(-2)]) {
      const index = all.indexOf(parameter);
      const start = startOf(parameter.tensor.size, index);
      const expected = Float64Array.from(start);
      const gradient = gradientOf(parameter.tensor.size, index);
      if (name === "adamw") {
        const options = { lr: ADAMW_LR, beta1: 0.9, beta2: 0.95, eps: 1e-8, weightDecay: 0 };
        const reference = new AdamWReference(expected, options);
        for (let step = 0; step < 2; step++) reference.step(gradient);
      } else {
        const options = {
          lr: 0.02,
          sigma: 0.1,
          q: 0.1,
          r: null,
          alphaR: 0.9,
          weightDecay: 0,
          symmetric: true,
        };
        const reference = new KoalaPlusPlusReference([expected], options);
        for (let step = 0; step < 2; step++) reference.step([gradient], LOSS, DEVIATION ** 2);
      }
      let moved = 0;
      let off = 0;
      got.get(parameter.name)!.forEach((value, j) => {
        moved = Math.max(moved, Math.abs(expected[j] - start[j]));
        off = Math.max(off, Math.abs(value - expected[j])); // NaN stays
      });
      if (!(off <= 1e-3 * moved)) {
        throw new Error(`wrong update of ${parameter.name}: off by ${off}, moved by ${moved}`);
      }
      error = Math.max(error, off / moved);
    }
  });
  return error;
}
