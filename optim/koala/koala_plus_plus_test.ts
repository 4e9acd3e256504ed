import { ok } from "node:assert/strict";
import { toFloat32 } from "../../checkpoint/safetensors/float_formats.ts";
import { parseSafetensors } from "../../checkpoint/safetensors/safetensors.ts";
import { relativeDistance, testGpu } from "../../tests/check_op.ts";
import { goldenPath } from "../../tests/golden.ts";
import { OptimizerBench } from "../../tests/optimizer_bench.ts";
import { koalaPlusPlus } from "./koala_plus_plus.ts";
import { partition } from "../partition.ts";

const folder = goldenPath("koala_plus_plus/")!;
const cases = [...Deno.readDirSync(folder)].map((e) => e.name).filter((n) => n.endsWith(".json")).sort();

for (const file of cases) {
  Deno.test(`koalaPlusPlus() follows the golden trajectory ${file.replace(".json", "")} for 12 steps`, async () => {
    const { hyper, shapes, steps } = JSON.parse(await Deno.readTextFile(`${folder}/${file}`));
    const bytes = await Deno.readFile(`${folder}/${file.replace(".json", ".safetensors")}`);
    const { tensors } = parseSafetensors(bytes);
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
