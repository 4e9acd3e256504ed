/** Training with activations stored as f16, beside the same with f32. */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import type { Profile } from "../../gpu/device.ts";
import { Graph } from "../../gpu/graph.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { llama } from "../../models/llama.ts";
import { constant, type LanguageModel } from "../../models/model.ts";
import { linearCrossEntropy } from "../../ops/cross_entropy/cross_entropy.ts";
import { hashCombine } from "../../ops/random.ts";
import { scale } from "../../ops/scale.ts";
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import { hiddenMatrices, partition } from "../../optim/partition.ts";
import { sgd } from "../../optim/sgd.ts";
import { relativeDistance, testGpu, testProfiles } from "../../tests/check_op.ts";
import type { TrainerOptions } from "./recording.ts";
import { languageModelLoss, Trainer } from "./trainer.ts";

const gpu = await testGpu();
/** Such as on Mesa 22.3's software adapter: there tests are skipped by their names. */
const ignore = !gpu.profile.halfPrecision;

const [VOCAB, BATCH, LENGTH] = [67, 4, 14];
const models: Record<string, LanguageModel> = {
  "GPT-2": gpt2({ vocab_size: VOCAB, n_positions: LENGTH, n_embd: 24, n_layer: 2, n_head: 3 }),
  "Llama": llama({
    vocab_size: VOCAB,
    hidden_size: 24,
    intermediate_size: 44,
    num_hidden_layers: 2,
    num_attention_heads: 3,
    num_key_value_heads: 1,
    max_position_embeddings: LENGTH,
  }),
};

/** Tokens of which each follows from the one before, of some sequences from `first` on. */
function batch(step: number, sequences = BATCH, first = 0) {
  const tokens = Uint32Array.from({ length: sequences * LENGTH }, (_, i) => {
    const sequence = first + Math.floor(i / LENGTH);
    return (hashCombine(step, sequence) + (i % LENGTH) * (1 + sequence % 3)) % VOCAB;
  });
  return { tokens, targets: tokens.map((id, i) => (id + 1 + (first + Math.floor(i / LENGTH)) % 3) % VOCAB) };
}

/** Trains, and returns the losses, gradient norms and weights. */
async function trained(
  profile: Profile,
  options: Omit<TrainerOptions, "record">,
  { model, steps }: { model: LanguageModel; steps: number },
) {
  const { gradAccum = 1 } = options;
  const record = languageModelLoss(model, BATCH / gradAccum, LENGTH);
  const trainer = await Trainer.create({ ...gpu, profile }, { ...options, record });
  for (let step = 0; step < steps; step++) {
    const size = BATCH / gradAccum;
    trainer.step(Array.from({ length: gradAccum }, (_, micro) => batch(step, size, micro * size)));
  }
  const metrics = await trainer.metrics();
  const weights = await trainer.parameters.read(gpu);
  trainer.destroy();
  return { losses: metrics.map((m) => m.loss), norms: metrics.map((m) => m.gradientNorm), weights };
}

for (const [name, model] of Object.entries(models)) {
  Deno.test(`the gradients of a ${name} with f16 are those with f32 to 1%`, { ignore }, async () => {
    // What a step of SGD with a rate of 1 changes is the gradient.
    const optimizer = sgd({ lr: 1, momentum: 0 });
    for (const [adapter, profile] of Object.entries(await testProfiles())) {
      const run = (precision: "f32" | "f16", steps: number) =>
        trained(profile, { optimizer, precision }, { model, steps });
      const [{ weights: start }, full, half] = [
        await run("f32", 0),
        await run("f32", 1),
        await run("f16", 1),
      ];
      for (const [parameter, from] of start) {
        const [a, b] = [full, half].map(({ weights }) => weights.get(parameter)!.map((v, i) => v - from[i]));
        // Every result of a layer is off by up to 2^-11 on the way there and back.
        const distance = relativeDistance(b, a);
        ok(distance < 0.01, `${adapter}: ${parameter} differs by ${distance}`);
      }
      ok(Math.abs(half.losses[0] / full.losses[0] - 1) < 1e-3, `${half.losses} instead of ${full.losses}`);
    }
  });

  Deno.test(`20 steps of a ${name} with f16 end within 1% of the loss with f32`, { ignore }, async () => {
    const optimizer = partition([{ owns: hiddenMatrices, optimizer: koalaPlusPlus() }, {
      optimizer: adamw({ lr: 3e-3 }),
    }]);
    const run = async (precision: "f32" | "f16") =>
      (await trained(gpu.profile, { optimizer, clip: 1, precision }, { model, steps: 20 })).losses;
    const [full, half] = [await run("f32"), await run("f16")];
    ok(full[19] < 0.9 * full[0], `the loss must fall, got ${full}`);
    ok(Math.abs(half[19] / full[19] - 1) < 0.01, `${half[19]} instead of ${full[19]}`);
  });
}

Deno.test(
  "two micro-batches with f16 give the step of one twice as large, recomputed or not",
  { ignore },
  async () => {
    const run = (options: Partial<TrainerOptions>) =>
      trained(gpu.profile, { optimizer: adamw(), precision: "f16", ...options }, {
        model: models["GPT-2"],
        steps: 3,
      });
    const [whole, two, again] = [
      await run({}),
      await run({ gradAccum: 2 }),
      await run({ gradAccum: 2, recompute: true }),
    ];
    whole.norms.forEach((norm, i) =>
      ok(Math.abs(two.norms[i] / norm - 1) < 5e-3, `${two.norms} instead of ${whole.norms}`)
    );
    deepEqual(again, two);
  },
);

Deno.test("what overflows f16 shows in the loss, and the step changes nothing", { ignore }, async () => {
  const trainer = await Trainer.create(gpu, {
    record(g) {
      const x = g.parameter("x", [1, 4, 8], { init: constant(1) });
      const head = g.parameter("head", [8, 8], { init: constant(0.5) });
      return linearCrossEntropy(g, scale(g, x, 1e5), head, g.input("targets", [1, 4], "u32"));
    },
    optimizer: adamw(),
    precision: "f16",
  });
  trainer.step([{ targets: Uint32Array.of(0, 1, 2, 3) }]);
  const [{ loss }] = await trainer.metrics();
  const weights = await trainer.parameters.read(gpu);
  trainer.destroy();
  equal(Number.isFinite(loss), false);
  deepEqual([...weights.get("x")!], Array(32).fill(1));
});

Deno.test("f16 is refused with a reason where an adapter has none", () => {
  const { halfPrecision: _, ...profile } = gpu.profile;
  throws(
    () => new Graph({ profile, precision: "f16" }),
    /RangeError: .*f16 needs an adapter.*shader-f16.*use f32/,
  );
});
