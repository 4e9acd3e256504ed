import { equal, ok } from "node:assert/strict";
import { parseSafetensors } from "../checkpoint/safetensors.ts";
import { toFloat32 } from "../checkpoint/float_formats.ts";
import { type Gpu, requestGpu } from "../gpu/device.ts";
import { Graph } from "../gpu/graph.ts";
import { compileProgram } from "../gpu/program.ts";
import { modelFromConfig } from "../models/load.ts";
import { IGNORED_TARGET } from "../ops/cross_entropy.ts";
import { linear } from "../ops/linear.ts";
import { adamw } from "../optim/adamw.ts";
import { koalaPlusPlus } from "../optim/koala_plus_plus.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { relativeDistance } from "../tests/check_op.ts";
import { goldenPath } from "../tests/golden.ts";
import { languageModelLoss, Trainer } from "./trainer.ts";

const folder = goldenPath("gpt2/")!;
const expected = JSON.parse(await Deno.readTextFile(`${folder}/expected.json`));
const config = JSON.parse(await Deno.readTextFile(`${folder}/config.json`));
const ids: number[][] = expected.input_ids;
const [batch, length] = [ids.length, ids[0].length];
const tokens = Uint32Array.from(ids.flat());
// The last position of each sequence predicts nothing.
const targets = Uint32Array.from(ids.flatMap((row) => [...row.slice(1), IGNORED_TARGET]));

async function golden(name: string): Promise<Map<string, Float32Array>> {
  const { tensors } = parseSafetensors(await Deno.readFile(`${folder}/${name}.safetensors`));
  return new Map([...tensors].map(([key, { data }]) => [key, toFloat32("F32", data)]));
}

/** The adapter as it is, without subgroups, and with the kernels of a graphics card. */
const devices: Readonly<Record<string, () => Promise<Gpu>>> = {
  "this adapter": requestGpu,
  "this adapter without subgroups": () => requestGpu({ subgroups: false }),
  "a graphics card's kernels": async () => {
    const gpu = await requestGpu({ subgroups: false });
    return { ...gpu, profile: { ...gpu.profile, isSoftware: false } };
  },
};

async function train(
  open: () => Promise<Gpu>,
  optimizer: Optimizer,
  use: (trainer: Trainer) => Promise<void>,
) {
  const gpu = await open();
  const model = modelFromConfig(config);
  const trainer = await Trainer.create(gpu, { record: languageModelLoss(model, batch, length), optimizer });
  for (const [name, values] of await golden("model")) trainer.parameters.write(gpu, name, values);
  await use(trainer);
  trainer.destroy();
  gpu.destroy();
}

for (const [device, open] of Object.entries(devices)) {
  Deno.test(`GPT-2's logits match PyTorch's within 1e-4 on ${device}`, async () => {
    const gpu = await open();
    const model = modelFromConfig(config);
    const g = new Graph({ profile: gpu.profile });
    const hidden = model.hidden(g, g.input("tokens", [batch, length], "u32"));
    const logits = g.collect(linear(g, hidden, model.head(g), { layout: "out-in" }));
    g.parameters.allocate(gpu, 0);
    for (const [name, values] of await golden("model")) g.parameters.write(gpu, name, values);
    const program = await compileProgram(gpu, g);
    program.write("tokens", tokens);
    program.run();
    const [got] = await program.read(logits);
    const wanted = (await golden("logits")).get("logits")!;
    equal(got.length, wanted.length);
    const worst = wanted.reduce((m, z, i) => Math.max(m, Math.abs(z - got[i])), 0);
    ok(worst <= 1e-4, `logits are off by ${worst}`);
    program.destroy();
    g.parameters.destroy();
    gpu.destroy();
  });

  Deno.test(`every gradient of GPT-2 matches PyTorch's within 1e-3 relative on ${device}`, async () => {
    const gpu = await open();
    const model = modelFromConfig(config);
    const g = new Graph({ profile: gpu.profile, training: true });
    languageModelLoss(model, batch, length)(g);
    g.backward();
    const [segments] = g.beginUpdate([g.parameters.all]);
    g.parameters.allocate(gpu, 0);
    for (const [name, values] of await golden("model")) g.parameters.write(gpu, name, values);
    const program = await compileProgram(gpu, g);
    program.write("tokens", tokens);
    program.write("targets", targets);
    program.run();
    const wanted = await golden("gradients");
    for (const segment of segments) {
      const [gradients] = await program.read(segment.gradients);
      for (const { item, start, size } of segment.items) {
        const distance = relativeDistance(gradients.subarray(start, start + size), wanted.get(item.name)!);
        ok(distance <= 1e-3, `the gradient of ${item.name} is off by ${distance}`);
        wanted.delete(item.name);
      }
    }
    equal(wanted.size, 0, `no gradient for ${[...wanted.keys()]}`);
    program.destroy();
    g.parameters.destroy();
    gpu.destroy();
  });
}

const { adamw: a, koala_plus_plus: k } = expected;
// PyTorch's golden AdamW decays every parameter.
const optimizers: [string, number[], Optimizer][] = [
  [
    "AdamW",
    a.losses,
    adamw({
      lr: a.lr,
      beta1: a.betas[0],
      beta2: a.betas[1],
      eps: a.eps,
      weightDecay: a.weight_decay,
      decayAll: true,
    }),
  ],
  [
    "KOALA++",
    k.losses,
    koalaPlusPlus({
      lr: k.lr,
      sigma: k.sigma,
      q: k.q,
      r: k.r ?? "variance",
      alphaR: k.alpha_r,
      weightDecay: k.weight_decay,
      symmetric: k.symmetric,
    }),
  ],
];

for (const [device, open] of Object.entries(devices)) {
  for (const [name, losses, optimizer] of optimizers) {
    Deno.test(`ten steps of ${name} on GPT-2 match PyTorch's losses within 1e-3 on ${device}`, async () => {
      await train(open, optimizer, async (trainer) => {
        for (let step = 0; step < losses.length; step++) trainer.step([{ tokens, targets }]);
        const metrics = await trainer.metrics();
        metrics.forEach(({ loss }, step) =>
          ok(Math.abs(loss - losses[step]) <= 1e-3, `step ${step} must give ${losses[step]}, got ${loss}`)
        );
      });
    });
  }
}
