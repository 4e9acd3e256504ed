import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { sequentialBatches } from "../data/batches.ts";
import { IGNORED_TARGET } from "../ops/ignored_target.ts";
import type { Gpu } from "../gpu/device.ts";
import type { ParameterStore } from "../gpu/parameters.ts";
import { gpt2 } from "../models/gpt2.ts";
import { hashCombine } from "../ops/random.ts";
import { testGpu } from "../tests/check_op.ts";
import {
  evaluateTokens,
  evaluationBatchSize,
  type EvaluationProgress,
  Evaluator,
  type TokenBatch,
} from "./evaluation.ts";
import { declareParameters } from "./run/load_weights.ts";

// Large weights, so that the losses of tokens differ.
const model = gpt2({
  vocab_size: 32,
  n_positions: 8,
  n_embd: 16,
  n_layer: 1,
  n_head: 2,
  initializer_range: 0.5,
});
const ids = Uint16Array.from({ length: 101 }, (_, i) => hashCombine(3, i) % 32);

/** Random weights. */
async function weights(gpu: Gpu): Promise<ParameterStore> {
  const parameters = declareParameters(model, gpu.profile);
  await parameters.allocate(gpu, 1);
  return parameters;
}

/** The loss of each token of `ids` but the first, by itself, from as many tokens before it as `context` says. */
async function lossOfEach(
  evaluators: readonly Evaluator[],
  context: (i: number) => number,
): Promise<number[]> {
  const losses: number[] = [];
  for (let i = 1; i < ids.length; i++) {
    const length = context(i);
    const tokens = Uint32Array.from(ids.subarray(i - length, i));
    const targets = new Uint32Array(length).fill(IGNORED_TARGET);
    targets[length - 1] = ids[i];
    losses.push((await evaluators[length - 1].evaluate([{ tokens, targets }])).loss);
  }
  return losses;
}

Deno.test("evaluateTokens() is the mean over tokens, each predicted from the context that the stride gives", async () => {
  const gpu = await testGpu();
  const parameters = await weights(gpu);
  // One for each number of tokens before the one that is predicted.
  const evaluators = await Promise.all(
    Array.from({ length: 8 }, (_, i) => Evaluator.create(gpu, model, parameters, 1, i + 1)),
  );
  for (const [seqLen, stride] of [[8, 8], [8, 3], [6, 1]]) {
    // The tokens before token i in the first sequence that has it as a target.
    const context = (i: number) => i <= seqLen ? i : seqLen - stride + (i - seqLen - 1) % stride + 1;
    const losses = await lossOfEach(evaluators, context);
    const mean = losses.reduce((a, b) => a + b) / losses.length;
    const byteLengths = Uint32Array.from({ length: 32 }, (_, id) => id % 5);
    const bytes = ids.subarray(1).reduce((sum, id) => sum + byteLengths[id], 0);
    for (const batchSize of [1, 4, 1000]) {
      const got = await evaluateTokens(gpu, model, parameters, ids, {
        batchSize,
        seqLen,
        stride,
        byteLengths,
      });
      // The same sums in f32, in another order within a sequence.
      ok(Math.abs(got.loss - mean) < 1e-5, `stride ${stride}: ${got.loss} must be ${mean}`);
      equal(got.perplexity, Math.exp(got.loss));
      equal(got.tokens, 100);
      ok(
        Math.abs(got.bitsPerByte! - 100 * mean / Math.LN2 / bytes) < 1e-4,
        `${got.bitsPerByte} bits per byte`,
      );
    }
  }
  evaluators.forEach((evaluator) => evaluator.destroy());
  parameters.destroy();
});

Deno.test("evaluateTokens() gives the same bits for ids that come piece by piece, and ends their source", async () => {
  const gpu = await testGpu();
  const parameters = await weights(gpu);
  let ended = 0;
  async function* pieces(length: number) {
    try {
      for (let i = 0; i < length; i += 7) yield await Promise.resolve(ids.slice(i, Math.min(i + 7, length)));
    } finally {
      ended++;
    }
  }
  const byteLengths = new Uint32Array(32).fill(3);
  for (const length of [101, 8]) {
    for (const [batchSize, stride] of [[1, 8], [4, 3], [1000, 8]]) {
      const shape = { batchSize, seqLen: 8, stride, byteLengths };
      const expected = await evaluateTokens(gpu, model, parameters, ids.subarray(0, length), shape);
      deepEqual(await evaluateTokens(gpu, model, parameters, pieces(length), shape), expected);
    }
  }
  equal(ended, 6);
  const seen: object[] = [];
  await evaluateTokens(gpu, model, parameters, pieces(101), {
    batchSize: 1,
    seqLen: 2,
    byteLengths,
    onProgress: ({ loss: _, ...rest }) => seen.push(rest),
  });
  deepEqual(seen[0], { batches: 1, tokens: 2, bytes: 6, totalBatches: undefined });
  await rejects(evaluateTokens(gpu, model, parameters, pieces(101), { batchSize: 1, seqLen: 9 }), RangeError);
  await rejects(evaluateTokens(gpu, model, parameters, pieces(1), { batchSize: 1, seqLen: 8 }), {
    name: "RangeError",
    message: /at least 2 tokens: got 1/,
  });
  equal(ended, 9);
  parameters.destroy();
});

Deno.test("evaluationBatchSize() takes about 2,048 tokens at a time, or what training takes if that is more or on a CPU", () => {
  const cases = [[16, 128, 16], [2, 64, 32], [1, 1024, 2], [1, 1500, 1], [3, 4096, 3], [64, 128, 64], [
    1,
    1,
    2048,
  ]];
  for (const [batchSize, seqLen, expected] of cases) {
    equal(evaluationBatchSize({ batchSize, seqLen }, { isSoftware: false }), expected);
    equal(evaluationBatchSize({ batchSize, seqLen }, { isSoftware: true }), batchSize);
  }
});

Deno.test("an aborted evaluation ends with the signal's reason, also by what happens in the event loop meanwhile", async () => {
  const gpu = await testGpu();
  const parameters = await weights(gpu);
  const evaluator = await Evaluator.create(gpu, model, parameters, 1, 8);
  const [batch] = sequentialBatches(ids, { batchSize: 1, seqLen: 8 });
  let given = 0;
  function* forever(): Generator<TokenBatch> {
    for (; given < 100_000; given++) yield batch;
  }
  const controller = new AbortController();
  const { signal } = controller;
  // Told by its watcher.
  await rejects(
    evaluator.evaluate(forever(), { signal, onProgress: () => controller.abort(new Error("enough")) }),
    { message: "enough" },
  );
  equal(given, 1);
  await rejects(evaluator.evaluate([batch], { signal }), { message: "enough" });
  const later = new AbortController();
  setTimeout(() => later.abort(), 1);
  await rejects(evaluator.evaluate(forever(), { signal: later.signal }), { name: "AbortError" });
  ok(given < 100_000);
  // It can go on with something else.
  const { tokens } = await evaluator.evaluate([batch], { signal: new AbortController().signal });
  equal(tokens, 8);
  evaluator.destroy();
  parameters.destroy();
});

Deno.test("the loss of a long text keeps its digits: 3,000 times a text has the loss of the text", async () => {
  const gpu = await testGpu();
  const parameters = await weights(gpu);
  const evaluator = await Evaluator.create(gpu, model, parameters, 1, 8);
  const texts = [...sequentialBatches(ids.subarray(0, 9), { batchSize: 1, seqLen: 8 })];
  const once = await evaluator.evaluate(texts);
  function* repeated(): Generator<TokenBatch> {
    for (let i = 0; i < 3000; i++) yield* texts;
  }
  const often = await evaluator.evaluate(repeated());
  equal(often.tokens, 3000 * once.tokens);
  // A sum in f32 may be off by some 1e-5 here already, and by more the longer the text is.
  ok(Math.abs(often.loss / once.loss - 1) < 1e-12, `${often.loss} must be ${once.loss}`);
  evaluator.destroy();
  parameters.destroy();
});

Deno.test("who watches an evaluation sees its batches to the end, and the same result", async () => {
  const gpu = await testGpu();
  const parameters = await weights(gpu);
  const shape = { batchSize: 1, seqLen: 2 };
  const seen: (EvaluationProgress & { totalBatches?: number })[] = [];
  const watched = await evaluateTokens(gpu, model, parameters, ids, {
    ...shape,
    onProgress: (p) => seen.push(p),
  });
  deepEqual(watched, await evaluateTokens(gpu, model, parameters, ids, shape));
  ok(seen.length >= 2, "at least the first batch and one later are told");
  seen.forEach(({ batches, tokens, totalBatches }, i) => {
    equal(tokens, 2 * batches);
    equal(seen[i].bytes, 0);
    equal(totalBatches, 50);
    ok(i === 0 ? batches === 1 : batches > seen[i - 1].batches);
  });
  parameters.destroy();
});

Deno.test("evaluateTokens() refuses a text of one token, and bits per byte need bytes", async () => {
  const gpu = await testGpu();
  const parameters = await weights(gpu);
  const shape = { batchSize: 2, seqLen: 8 };
  await rejects(evaluateTokens(gpu, model, parameters, ids.subarray(0, 1), shape), {
    name: "RangeError",
    message: /at least 2 tokens: got 1/,
  });
  await rejects(evaluateTokens(gpu, model, parameters, ids, { ...shape, seqLen: 9 }), { name: "RangeError" });
  const byteLengths = new Uint32Array(32);
  equal(
    (await evaluateTokens(gpu, model, parameters, ids, { ...shape, byteLengths })).bitsPerByte,
    undefined,
  );
  parameters.destroy();
});
