import { equal, ok } from "node:assert/strict";
import { toFloat32 } from "../../checkpoint/safetensors/float_formats.ts";
import { parseSafetensors } from "../../checkpoint/safetensors/memory.ts";
import { type Gpu, requestGpu } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import { compileProgram } from "../../gpu/program.ts";
import type { Precision } from "../../gpu/precision/precision.ts";
import { modelFromConfig } from "../../models/load.ts";
import { IGNORED_TARGET } from "../../ops/ignored_target.ts";
import { linear } from "../../ops/linear.ts";
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { relativeDistance, testGpu } from "../../tests/check_op.ts";
import { readGolden } from "../../tests/read_golden.ts";
import { languageModelLoss, Trainer } from "./trainer.ts";

/** The adapter as it is, without subgroups, and with the kernels of a graphics card. */
const devices: Readonly<Record<string, () => Promise<Gpu>>> = {
  "this adapter": requestGpu,
  "this adapter without subgroups": () => requestGpu({ subgroups: false }),
  "a graphics card's kernels": async () => {
    const gpu = await requestGpu({ subgroups: false });
    return { ...gpu, profile: { ...gpu.profile, isSoftware: false } };
  },
};

/** A folder of golden files: a checkpoint, a batch, and what PyTorch makes of them. */
class Golden {
  readonly batch: number;
  readonly length: number;
  readonly tokens: Uint32Array;
  readonly targets: Uint32Array;

  constructor(
    readonly name: string,
    readonly config: Record<string, unknown>,
    readonly expected: { input_ids: number[][] } & Record<"adamw" | "koala_plus_plus", Steps>,
  ) {
    const ids = expected.input_ids;
    [this.batch, this.length] = [ids.length, ids[0].length];
    this.tokens = Uint32Array.from(ids.flat());
    // The last position of each sequence predicts nothing.
    this.targets = Uint32Array.from(ids.flatMap((row) => [...row.slice(1), IGNORED_TARGET]));
  }

  get model() {
    return modelFromConfig(this.config);
  }

  get loss() {
    return languageModelLoss(this.model, this.batch, this.length);
  }

  async tensors(name: string): Promise<Map<string, Float32Array>> {
    const { tensors } = parseSafetensors((await readGolden(`${this.name}/${name}.safetensors`))!);
    return new Map([...tensors].map(([key, { data }]) => [key, toFloat32("F32", data)]));
  }

  async writeWeights(gpu: Gpu, parameters: ParameterStore): Promise<void> {
    const weights = await this.tensors("model");
    equal(weights.size, parameters.all.length, "the checkpoint must have the model's tensors");
    for (const [name, values] of weights) parameters.write(gpu, name, values);
  }
}

/** Ten steps of an optimizer: its hyper-parameters and the losses. */
// deno-lint-ignore no-explicit-any
type Steps = { losses: number[] } & Record<string, any>;

async function openGolden(name: string): Promise<Golden> {
  const json = async (file: string) =>
    JSON.parse(new TextDecoder().decode(await readGolden(`${name}/${file}`)));
  return new Golden(name, await json("config.json"), await json("expected.json"));
}

async function checkLogits(golden: Golden, open: () => Promise<Gpu>): Promise<void> {
  const gpu = await open();
  const { model } = golden;
  const g = new Graph({ profile: gpu.profile });
  const hidden = model.hidden(g, g.input("tokens", [golden.batch, golden.length], "u32"));
  const logits = g.collect(linear(g, hidden, model.head(g), { layout: "out-in" }));
  await g.parameters.allocate(gpu, 0);
  await golden.writeWeights(gpu, g.parameters);
  const program = await compileProgram(gpu, g);
  program.write("tokens", golden.tokens);
  program.run();
  const [got] = await program.read(logits);
  const wanted = (await golden.tensors("logits")).get("logits")!;
  equal(got.length, wanted.length);
  const worst = wanted.reduce((m, z, i) => Math.max(m, Math.abs(z - got[i])), 0);
  ok(worst <= 1e-4, `logits are off by ${worst}`);
  program.destroy();
  g.parameters.destroy();
  gpu.destroy();
}

async function checkGradients(golden: Golden, open: () => Promise<Gpu>, recompute: boolean): Promise<void> {
  const gpu = await open();
  const g = new Graph({ profile: gpu.profile, training: true, recompute });
  golden.loss(g);
  g.backward();
  const [segments] = g.beginUpdate([g.parameters.all]);
  await g.parameters.allocate(gpu, 0);
  await golden.writeWeights(gpu, g.parameters);
  const program = await compileProgram(gpu, g);
  program.write("tokens", golden.tokens);
  program.write("targets", golden.targets);
  program.run();
  const wanted = await golden.tensors("gradients");
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
}

async function checkLosses(
  golden: Golden,
  open: () => Promise<Gpu>,
  optimizer: Optimizer,
  losses: readonly number[],
  { precision, tolerance }: { precision: Precision; tolerance: number } = {
    precision: "f32",
    tolerance: 1e-3,
  },
): Promise<void> {
  const gpu = await open();
  const trainer = await Trainer.create(gpu, { record: golden.loss, optimizer, precision });
  await golden.writeWeights(gpu, trainer.parameters);
  const { tokens, targets } = golden;
  for (let step = 0; step < losses.length; step++) trainer.step([{ tokens, targets }]);
  const metrics = await trainer.metrics();
  metrics.forEach(({ loss }, step) =>
    ok(Math.abs(loss - losses[step]) <= tolerance, `step ${step} must give ${losses[step]}, got ${loss}`)
  );
  trainer.destroy();
  gpu.destroy();
}

/** The optimizers with PyTorch's hyper-parameters. */
function optimizersOf({ expected: { adamw: a, koala_plus_plus: k } }: Golden): [string, Steps, Optimizer][] {
  // PyTorch's golden AdamW decays every parameter.
  const adam = adamw({
    lr: a.lr,
    beta1: a.betas[0],
    beta2: a.betas[1],
    eps: a.eps,
    weightDecay: a.weight_decay,
    decayAll: true,
  });
  const koala = koalaPlusPlus({
    lr: k.lr,
    sigma: k.sigma,
    q: k.q,
    r: k.r ?? "variance",
    alphaR: k.alpha_r,
    weightDecay: k.weight_decay,
    symmetric: k.symmetric,
  });
  return [["AdamW", a, adam], ["KOALA++", k, koala]];
}

const { halfPrecision } = (await testGpu()).profile;

for (const [name, folder] of [["GPT-2", "gpt2"], ["GPT", "openai_gpt"], ["Llama", "llama"]]) {
  const golden = await openGolden(folder);
  for (const [device, open] of Object.entries(devices)) {
    Deno.test(`${name}'s logits match PyTorch's within 1e-4 on ${device}`, async () => {
      await checkLogits(golden, open);
    });
    Deno.test(`every gradient of ${name} matches PyTorch's within 1e-3 relative on ${device}`, async () => {
      await checkGradients(golden, open, false);
    });
    for (const [optimizer, { losses }, made] of optimizersOf(golden)) {
      Deno.test(
        `ten steps of ${optimizer} on ${name} match PyTorch's losses within 1e-3 on ${device}`,
        async () => await checkLosses(golden, open, made, losses),
      );
    }
  }
  for (const [optimizer, { losses }, made] of optimizersOf(golden)) {
    Deno.test(`ten steps of ${optimizer} on ${name} with f16 match PyTorch's losses within 5e-3`, {
      ignore: !halfPrecision,
    }, async () => {
      await checkLosses(golden, requestGpu, made, losses, { precision: "f16", tolerance: 5e-3 });
    });
  }
  Deno.test(`every gradient of ${name} matches PyTorch's where activations are computed again`, async () => {
    await checkGradients(golden, requestGpu, true);
  });
}
