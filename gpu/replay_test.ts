import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { gpt2 } from "../models/gpt2.ts";
import { adamw } from "../optim/adamw.ts";
import { koalaPlusPlus } from "../optim/koala/koala_plus_plus.ts";
import { hiddenMatrices, partition } from "../optim/partition.ts";
import { testGpu } from "../tests/check_op.ts";
import { Evaluator } from "../training/evaluation.ts";
import { Generator } from "../training/generate/generation.ts";
import { languageModelLoss, Trainer } from "../training/step/trainer.ts";
import { type Gpu, GpuError } from "./device.ts";
import { Graph } from "./graph.ts";
import { compileProgram } from "./program.ts";
import { kernelWork, measuredWait, Pace } from "./replay.ts";

/** How often `run` submits commands. */
async function submissions({ device: { queue } }: Gpu, run: () => void | Promise<void>): Promise<number> {
  const submit = queue.submit;
  let count = 0;
  queue.submit = function (buffers) {
    count++;
    return submit.call(queue, buffers);
  };
  try {
    await run();
  } finally {
    delete (queue as Partial<GPUQueue>).submit;
  }
  return count;
}

const model = gpt2({ vocab_size: 64, n_positions: 16, n_embd: 32, n_layer: 2, n_head: 2, resid_pdrop: 0.1 });
const MICRO_BATCHES = 3;
const STEPS = 5;

/** What some steps, an evaluation and a generation leave behind, and how often a step was submitted. */
async function results(gpu: Gpu) {
  // KOALA++ exchanges buffers between steps; micro-batches copy inputs and clear gradients.
  const trainer = await Trainer.create(gpu, {
    record: languageModelLoss(model, 2, 16),
    optimizer: partition([{ owns: hiddenMatrices, optimizer: koalaPlusPlus() }, { optimizer: adamw() }]),
    gradAccum: MICRO_BATCHES,
    clip: 1,
    seed: 3,
  });
  const batch = (i: number) => {
    const tokens = Uint32Array.from({ length: 32 }, (_, at) => (i * 5 + at * at * 3) % 64);
    return { tokens, targets: tokens.map((id) => (id + 3) % 64) };
  };
  const counts: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const micro = Array.from({ length: MICRO_BATCHES }, (_, i) => batch(step * MICRO_BATCHES + i));
    counts.push(await submissions(gpu, () => trainer.step(micro)));
    // Also with two steps under way.
    if (step % 2 === 1) await trainer.metrics();
  }
  const metrics = await trainer.metrics();
  const evaluator = await Evaluator.create(gpu, model, trainer.parameters, 2, 16);
  const evaluation = await evaluator.evaluate([batch(100), batch(101)]);
  const generator = await Generator.create(gpu, model, trainer.parameters);
  const ids = await generator.generate([1, 2, 3], { maxTokens: 8, temperature: 1, seed: 4 });
  const weights = await trainer.parameters.read(gpu);
  const { dispatches } = trainer.plan;
  [generator, evaluator, trainer].forEach((made) => made.destroy());
  return { counts, dispatches, left: { metrics, evaluation, ids, weights } };
}

Deno.test("many submissions give the bits of one: steps of several micro-batches, evaluation, generation", async () => {
  const gpu = await testGpu();
  const whole = await results({ ...gpu, submissionMs: Infinity });
  deepEqual(whole.counts, Array(STEPS).fill(1));
  const single = await results({ ...gpu, submissionMs: 1e-9 });
  deepEqual(single.counts, Array(STEPS).fill(single.dispatches));
  // So little that the rate, whatever it is found to be, cuts between some kernels only.
  const some = await results({ ...gpu, submissionMs: 0.3 });
  ok(some.counts[0] > 1 && some.counts[0] < some.dispatches, `${some.counts}`);
  deepEqual(single.left, whole.left);
  deepEqual(some.left, whole.left);
});

Deno.test("only graphics cards get several submissions by default, and a kernel that is too long one of its own", async () => {
  const gpu = await testGpu();
  const size = 1 << 16;
  for (const [isSoftware, expected] of [[true, 1], [false, 3]] as const) {
    const own = { ...gpu, profile: { ...gpu.profile, isSoftware } };
    const g = new Graph({ profile: own.profile });
    const out = g.output("out", [size]);
    // At 20 GFLOP/s 100 ms are 2 GFLOP: the second is longer, the last two fit together.
    for (const flops of [1e9, 5e9, 0.5e9, 0.5e9]) {
      g.dispatch({
        label: "add",
        write: { out },
        body: "@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {\n" +
          "  out[id.x] += 1.0;\n}",
        workgroups: [size / 64, 1, 1],
        flops,
      });
    }
    const program = await compileProgram(own, g);
    equal(await submissions(own, () => program.run()), expected);
    deepEqual((await program.read(out))[0], new Float32Array(size).fill(4));
    await program.profile();
    deepEqual((await program.read(out))[0], new Float32Array(size).fill(8));
    program.destroy();
  }
});

Deno.test("kernelWork() counts bytes, workgroups that leave a card idle, and the dispatch", () => {
  const kernel = { label: "k", bindings: [], code: "", bytes: 1000 };
  equal(kernelWork({ ...kernel, workgroups: [8, 8, 2] }), 1e4 + 1e6);
  equal(kernelWork({ ...kernel, workgroups: [1, 1, 1], flops: 1e6 }), 64 * (1e4 + 1e6) + 1e6);
});

Deno.test("a pace follows what a wait shows, and leaves alone what is not done", async () => {
  const gpu = await testGpu();
  const pace = new Pace({ ...gpu, submissionMs: 1 });
  const wait = (ms: number) =>
    measuredWait(gpu.device, () => new Promise((resolve) => setTimeout(resolve, ms)));
  const first = pace.most;
  // Fast: no wait of a millisecond takes so long that this would be slow.
  pace.submitting(1e15);
  await wait(1);
  const fast = pace.most;
  ok(fast > first, `${fast}`);
  // A short wait says nothing against it, and one without work nothing at all.
  pace.submitting(1);
  await wait(1);
  await wait(110);
  equal(pace.most, fast);
  // What is submitted during a wait is not counted.
  pace.submitting(10);
  const waiting = wait(110);
  pace.submitting(1e15);
  await waiting;
  ok(pace.most <= 10 / 100, `${pace.most}`);
  // A wait that fails measures nothing.
  const slow = pace.most;
  pace.submitting(1e15);
  await rejects(measuredWait(gpu.device, () => Promise.reject(new GpuError("lost"))));
  equal(pace.most, slow);
});
