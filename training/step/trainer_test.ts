import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { gpt2 } from "../../models/gpt2.ts";
import { llama } from "../../models/llama.ts";
import { IGNORED_TARGET } from "../../ops/ignored_target.ts";
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { hiddenMatrices, partition } from "../../optim/partition.ts";
import { sgd } from "../../optim/sgd.ts";
import { closeTo, testGpu } from "../../tests/check_op.ts";
import { Evaluator } from "../evaluation.ts";
import { Generator } from "../generate/generation.ts";
import { languageModelLoss, Trainer } from "./trainer.ts";

const model = (dropout = 0, layers = 1) =>
  gpt2({
    vocab_size: 32,
    n_positions: 8,
    n_embd: 16,
    n_layer: layers,
    n_head: 2,
    resid_pdrop: dropout,
    embd_pdrop: dropout,
    attn_pdrop: dropout,
  });
const optimizer = () =>
  partition([{ owns: hiddenMatrices, optimizer: koalaPlusPlus() }, { optimizer: adamw() }]);
const batch = (step: number, sequences: number) => {
  const tokens = Uint32Array.from({ length: sequences * 8 }, (_, i) => (step * 5 + i * 3) % 32);
  return { tokens, targets: tokens.map((id) => (id + 3) % 32) };
};

Deno.test("two micro-batches give the step of one batch twice as large", async () => {
  const gpu = await testGpu();
  const whole = await Trainer.create(gpu, {
    record: languageModelLoss(model(), 4, 8),
    optimizer: adamw(),
    clip: 1,
  });
  const half = await Trainer.create(gpu, {
    record: languageModelLoss(model(), 2, 8),
    optimizer: adamw(),
    clip: 1,
    gradAccum: 2,
  });
  for (let step = 0; step < 3; step++) {
    const { tokens, targets } = batch(step, 4);
    whole.step([{ tokens, targets }]);
    half.step([0, 1].map((m) => ({
      tokens: tokens.slice(m * 16, m * 16 + 16),
      targets: targets.slice(m * 16, m * 16 + 16),
    })));
  }
  const [a, b] = [await whole.metrics(), await half.metrics()];
  // The same sums in another order.
  a.forEach((m, i) =>
    ok(Math.abs(m.loss - b[i].loss) < 1e-4 && Math.abs(m.gradientNorm - b[i].gradientNorm) < 1e-3)
  );
  whole.destroy();
  half.destroy();
});

Deno.test("with ignored targets, too, micro-batches give the step of one large batch: every target weighs the same", async () => {
  const gpu = await testGpu();
  // Of the first micro-batch's 16 targets 1 counts, then 13, then 7; of the fourth step's none at all.
  const counted = [[1, 13], [13, 7], [7, 16], [0, 0], [16, 1]];
  const run = async (gradAccum: number, optimizer: Optimizer) => {
    const record = languageModelLoss(model(), 4 / gradAccum, 8);
    const trainer = await Trainer.create(gpu, { record, optimizer, clip: 1, gradAccum });
    counted.forEach((counts, step) => {
      const { tokens, targets } = batch(step, 4);
      targets.forEach((_, i) => {
        // Ragged: the second sequence of a micro-batch has what the first has no room for.
        if (i % 16 >= counts[i >> 4]) targets[i] = IGNORED_TARGET;
      });
      const size = 32 / gradAccum;
      trainer.step(Array.from({ length: gradAccum }, (_, m) => ({
        tokens: tokens.slice(m * size, (m + 1) * size),
        targets: targets.slice(m * size, (m + 1) * size),
      })));
    });
    const metrics = await trainer.metrics();
    const weights = [...(await trainer.parameters.read(gpu)).values()];
    trainer.destroy();
    return { metrics, weights };
  };
  for (const make of [() => sgd({ lr: 0.5 }), () => koalaPlusPlus({ lr: 0.5 })]) {
    const [whole, halves] = [await run(1, make()), await run(2, make())];
    // The same sums in another order. A mean of the halves' means would be off by some 1e-2 here.
    for (const key of ["loss", "gradientNorm"] as const) {
      const of = ({ metrics }: typeof whole) => metrics.map((m) => m[key]);
      closeTo(of(halves), of(whole), 1e-5, key);
    }
    const summaries = ({ metrics }: typeof whole) => metrics.flatMap((m) => Object.values(m.summary));
    closeTo(summaries(halves), summaries(whole), 1e-4, "summary");
    whole.weights.forEach((values, i) => closeTo(halves.weights[i], values, 1e-4, "weights"));
  }
});

Deno.test("the same seed gives the same bits, dropout included, and another seed others", async () => {
  const gpu = await testGpu();
  const run = async (seed: number) => {
    const record = languageModelLoss(model(0.2), 2, 8);
    const trainer = await Trainer.create(gpu, { record, optimizer: optimizer(), seed });
    for (let step = 0; step < 4; step++) trainer.step([batch(step, 2)]);
    const metrics = await trainer.metrics();
    const weights = await trainer.parameters.read(gpu);
    trainer.destroy();
    return { metrics, weights };
  };
  const [first, again, other] = [await run(3), await run(3), await run(4)];
  deepEqual(again, first);
  ok(other.metrics[0].loss !== first.metrics[0].loss);
});

Deno.test("a vocabulary too large for one binding trains and generates as if it fitted", async () => {
  const gpu = await testGpu();
  const wide = gpt2({ vocab_size: 2050, n_positions: 8, n_embd: 32, n_layer: 1, n_head: 2 });
  for (const optimizer of [adamw, koalaPlusPlus]) {
    const run = async (profile: typeof gpu.profile) => {
      const own = { ...gpu, profile };
      const record = languageModelLoss(wide, 1, 4);
      const trainer = await Trainer.create(own, { record, optimizer: optimizer() });
      const ids = (step: number) => Uint32Array.from({ length: 4 }, (_, i) => (step * 700 + i * 311) % 2050);
      for (let step = 0; step < 3; step++) trainer.step([{ tokens: ids(step), targets: ids(step + 1) }]);
      const metrics = await trainer.metrics();
      const generator = await Generator.create(own, wide, trainer.parameters);
      const logits = await generator.logits([2049, 0, 700]);
      const [weights] = [...(await trainer.parameters.read(gpu, ["transformer.wte.weight"])).values()];
      generator.destroy();
      trainer.destroy();
      return { losses: metrics.map((m) => m.loss), logits, weights };
    };
    // The table has 262,400 bytes: five blocks for the ops, five parts for the optimizers.
    const [whole, split] = [await run(gpu.profile), await run({ ...gpu.profile, maxBindingBytes: 65_536 })];
    // Only dx is summed in another order; a wrong block would be off by the size of the values.
    closeTo(split.losses, whole.losses, 1e-5, "losses");
    closeTo(split.logits, whole.logits, 1e-3, "logits");
    closeTo(split.weights, whole.weights, 1e-3, "weights");
  }
});

Deno.test("recomputation gives the same weights bit for bit in less memory", async () => {
  const gpu = await testGpu();
  const run = async (recompute: boolean) => {
    const record = languageModelLoss(model(0.2, 4), 2, 8);
    const trainer = await Trainer.create(gpu, {
      record,
      optimizer: optimizer(),
      gradAccum: 2,
      clip: 1,
      recompute,
    });
    for (let step = 0; step < 3; step++) trainer.step([batch(step, 2), batch(step + 9, 2)]);
    const result = { metrics: await trainer.metrics(), weights: await trainer.parameters.read(gpu) };
    const { activations } = trainer.plan;
    trainer.destroy();
    return { result, activations };
  };
  const [kept, again] = [await run(false), await run(true)];
  deepEqual(again.result, kept.result);
  ok(again.activations * 1.5 < kept.activations, `${kept.activations} bytes become ${again.activations}`);
});

Deno.test("a trained model's evaluation and generation agree with its training loss", async () => {
  const gpu = await testGpu();
  const trainer = await Trainer.create(gpu, {
    record: languageModelLoss(model(), 2, 8),
    optimizer: adamw({ lr: 0.02 }),
  });
  for (let step = 0; step < 60; step++) trainer.step([batch(step, 2)]);
  const losses = (await trainer.metrics()).map((m) => m.loss);
  ok(losses[59] < losses[0] / 4, `the loss must fall, got ${losses[0]} to ${losses[59]}`);
  const evaluator = await Evaluator.create(gpu, model(), trainer.parameters, 2, 8);
  const { loss, tokens } = await evaluator.evaluate([batch(60, 2), batch(61, 2)]);
  equal(tokens, 32);
  ok(Math.abs(loss - losses[59]) < 0.5, `evaluation gives ${loss} after a training loss of ${losses[59]}`);
  await rejects(evaluator.evaluate([]), /at least one target/);
  const generator = await Generator.create(gpu, model(), trainer.parameters);
  // The made-up language counts in threes; longer than the model's 8 positions, so the window slides.
  deepEqual(await generator.generate([1, 4, 7], { temperature: 0, maxTokens: 10 }), [
    10,
    13,
    16,
    19,
    22,
    25,
    28,
    31,
    2,
    5,
  ]);
  await rejects(generator.generate([]), /at least one token/);
  await rejects(generator.generate([99]), /from 0 to 31, got 99/);
  evaluator.destroy();
  generator.destroy();
  trainer.destroy();
});

Deno.test("masked by document, a packed Llama learns and evaluates what it does with each document alone", async () => {
  const gpu = await testGpu();
  const tiny = {
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 16,
  };
  // Rotary positions are relative, so where in its row a document starts makes no difference.
  const llm = llama({ ...tiny, vocab_size: 32 });
  const { tokens, targets } = batch(1, 4);
  const starts = tokens.map((_, i) => i % 16 < 8 ? 0 : 8);
  const optimizer = adamw({ lr: 0.02 });
  const alone = await Trainer.create(gpu, { record: languageModelLoss(llm, 4, 8), optimizer });
  const packed = await Trainer.create(gpu, { record: languageModelLoss(llm, 2, 16, true), optimizer });
  const open = await Trainer.create(gpu, { record: languageModelLoss(llm, 2, 16), optimizer });
  for (let step = 0; step < 10; step++) {
    alone.step([{ tokens, targets }]);
    packed.step([{ tokens, targets, starts }]);
    open.step([{ tokens, targets }]);
  }
  const [a, b, c] = await Promise.all(
    [alone, packed, open].map(async (t) => (await t.metrics()).map((m) => m.loss)),
  );
  // Sums in another order, over ten steps.
  closeTo(b, a, 1e-4, "losses");
  ok(c.some((loss, i) => Math.abs(loss - a[i]) > 1e-3), "without the mask the losses must differ");
  const evaluator = await Evaluator.create(gpu, llm, packed.parameters, 2, 16, true);
  const { loss } = await evaluator.evaluate([{ tokens, targets, starts }]);
  packed.step([{ tokens, targets, starts }]);
  const [last] = await packed.metrics();
  ok(Math.abs(loss - last.loss) < 1e-5, `evaluation gives ${loss} before a step with loss ${last.loss}`);
  evaluator.destroy();
  for (const trainer of [alone, packed, open]) trainer.destroy();
});

Deno.test("missing inputs and a full ring of metrics are refused", async () => {
  const gpu = await testGpu();
  const trainer = await Trainer.create(gpu, { record: languageModelLoss(model(), 2, 8), optimizer: adamw() });
  throws(() => trainer.step([{ tokens: batch(0, 2).tokens }]), /must get the input targets, got tokens/);
  throws(() => trainer.step([]), /must get 1 micro-batches, got 0/);
  for (let step = 0; step < 64; step++) trainer.step([batch(step, 2)]);
  throws(() => trainer.step([batch(64, 2)]), /at least every 64 steps/);
  equal((await trainer.metrics()).length, 64);
  trainer.destroy();
});
