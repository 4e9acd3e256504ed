import { ok } from "node:assert/strict";
import { toFloat32 } from "../../checkpoint/safetensors/float_formats.ts";
import { parseSafetensors } from "../../checkpoint/safetensors/memory.ts";
import { relativeDistance, testGpu } from "../../tests/check_op.ts";
import { OptimizerBench } from "../../tests/optimizer_bench.ts";
import { readGolden } from "../../tests/read_golden.ts";
import { koalaPlusPlus } from "./koala_plus_plus.ts";
import { partition } from "../partition.ts";

/** Forms of the update, measurement noises and weight decays; two of their trajectories are part of the checkout. */
const kinds = ["symmetric", "vanilla"].flatMap((form) =>
  ["r0.3", "rema"].flatMap((r) => ["wd0.0", "wd0.01"].map((decay) => `${form}_${r}_${decay}`))
);
const files = await Promise.all(
  kinds.map(async (kind) =>
    [kind, await readGolden(`koala_plus_plus/${kind}.json`), `koala_plus_plus/${kind}.safetensors`] as const
  ),
);
const cases = files.filter(([, json]) => json !== undefined);
ok(cases.length >= 2, "the trajectories of the checkout are not there");

for (const [kind, json, path] of cases) {
  Deno.test(`koalaPlusPlus() follows the golden trajectory ${kind} for 12 steps`, async () => {
    const { hyper, shapes, steps } = JSON.parse(new TextDecoder().decode(json));
    const { tensors } = parseSafetensors((await readGolden(path))!);
    const values = (name: string) => toFloat32("F32", tensors.get(name)!.data);
    const optimizer = koalaPlusPlus({
      lr: hyper.lr,
      sigma: hyper.sigma,
      q: hyper.q,
      r: hyper.r ?? "variance",
      alphaR: hyper.alpha_r,
      weightDecay: hyper.weight_decay,
      symmetric: hyper.symmetric,
    });
    const start = shapes.map((shape: number[], i: number) => ({
      name: `t${i}`,
      shape,
      values: values(`start.${i}`),
    }));
    const bench = await OptimizerBench.create(await testGpu(), partition([{ optimizer }]), start);
    for (const [k, { loss, loss_variance }] of steps.entries()) {
      const gradients = shapes.map((_: unknown, i: number) => [`t${i}`, values(`grad.${k}.${i}`)]);
      bench.step(Object.fromEntries(gradients), loss, loss_variance);
      const got = await bench.read();
      shapes.forEach((_: unknown, i: number) => {
        // f32 against float64 over up to 12 steps that build on each other.
        const distance = relativeDistance(got.get(`t${i}`)!, values(`theta.${k}.${i}`));
        ok(distance < 1e-5, `tensor ${i} after step ${k} is off by ${distance}`);
      });
    }
    bench.destroy();
  });
}
