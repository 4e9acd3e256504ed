import { deepEqual, equal, notDeepEqual, notEqual, ok } from "node:assert/strict";
import { join } from "node:path";
import { gpt2 } from "../../models/gpt2.ts";
import { parseOptions } from "../../tasks/command/options.ts";
import { scheduleOptions } from "../../tasks/train/optimizer_options.ts";
import { configWith, dataOptions, modelOptions } from "../../tasks/train/train_lm_options.ts";
import { testGpu } from "../../tests/check_op.ts";
import { compareSteps, type Contestant, type FinishedTrial, runComparison } from "./comparison.ts";
import { trainTrial, type TrialContext } from "./trial.ts";
import type { HyperValues } from "../run/hyper_parameters.ts";
import { hasAdamWBeside, resolveOptimizer } from "../run/optimizer.ts";
import { OPTIMIZERS } from "../run/optimizer_table.ts";
import { stepOptions } from "../run/step_options.ts";
import { recordStep } from "../step/recording.ts";
import { codeKey, trialKey } from "./trial_key.ts";

const table = { ...dataOptions, ...modelOptions, ...scheduleOptions };
const size = "--data made-up --vocab-size 300 --seq-len 8 --batch-size 2 --grad-accum 2";
const { values } = parseOptions(table, size.split(" "));

/** A run of 8 steps. */
const configOf = (optimizer: string, lr = 0.01) => {
  const rates: HyperValues = hasAdamWBeside(resolveOptimizer(optimizer)) ? { lr, "adamw.lr": lr } : { lr };
  const chosen = { optimizer: resolveOptimizer(optimizer, rates), clip: 1 };
  return configWith({ ...values, steps: 8, seed: 0 }, chosen);
};

/** What runs share: dropout takes part, so that its bits are compared too. */
async function context(overrides: Partial<TrialContext> = {}): Promise<TrialContext> {
  const ids = (length: number, factor: number) =>
    Uint16Array.from({ length }, (_, i) => (i * i * factor + i) % 32);
  return {
    gpu: await testGpu(),
    model: gpt2({
      vocab_size: 32,
      n_positions: 8,
      n_embd: 16,
      n_layer: 1,
      n_head: 2,
      resid_pdrop: 0.1,
      embd_pdrop: 0.1,
      attn_pdrop: 0.1,
    }),
    dataset: {
      train: ids(700, 3),
      validation: ids(90, 5),
      trainBytes: 700,
      validationBytes: 90,
      documents: 1,
      corpusDigest: "made up",
      cached: false,
      [Symbol.dispose]() {},
    },
    tokenizerDigest: "made up",
    byteLengths: new Array(32).fill(1),
    evalPoints: 4,
    evalBatches: 2,
    signal: new AbortController().signal,
    ...overrides,
  };
}

const contestant = async (optimizer: string, rates: number[]): Promise<Contestant> => ({
  name: optimizer,
  rates,
  config: await configOf(optimizer),
});
const contestants = [await contestant("koala++", [0.01, 0.02]), await contestant("adamw", [0.01, 0.02])];
const timeless = (trials: readonly FinishedTrial[]) => trials.map(({ seconds: _, ...rest }) => rest);

Deno.test("with every optimizer the same seed has the same weights, batches and dropout, bit for bit", async () => {
  // At a rate of 1e-30 no optimizer changes a weight in f32, so every loss of every step shows only what it
  // started from and what it saw.
  const run = async (optimizer: string, seed: number) => {
    const config = { ...await configOf(optimizer, 1e-30), seed };
    const { seconds: _, ...result } = (await trainTrial(config, await context(), () => {}))!;
    equal(result.curve.length, 4);
    return result;
  };
  const [first, other] = [await run("adamw", 5), await run("adamw", 6)];
  for (const optimizer of Object.keys(OPTIMIZERS)) deepEqual(await run(optimizer, 5), first, optimizer);
  notDeepEqual(other.curve.map((p) => p.train_loss), first.curve.map((p) => p.train_loss));
  notDeepEqual(other.loss, first.loss);
  // Each point sees other batches.
  equal(new Set(first.curve.map((p) => p.train_loss)).size, 4);
});

Deno.test("a run that diverges ends there and has no loss; the comparison goes on with lower rates", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const { trials, complete } = await runComparison({
      ...await context(),
      outDir: dir,
      contestants: [{ name: "sgd", rates: [1, 1e38], config: { ...await configOf("sgd"), clip: 0 } }],
      seeds: [0],
      extensions: 1,
    });
    ok(complete);
    const [low, high, lower] = trials;
    ok(low.loss! > 0 && low.diverged_at === null);
    equal(high.loss, null);
    ok(high.diverged_at! > 1 && high.diverged_at! <= 8, `diverged at ${high.diverged_at}`);
    ok(high.curve.every((point) => Number.isFinite(point.loss) && point.step < high.diverged_at!));
    equal(lower.lr, 1e-38);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("an interrupted comparison goes on with what is left and ends the same", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const plan = { contestants, seeds: [0, 1], extensions: 0 };
    const run = async (name: string, trials = Infinity) => {
      const started: string[] = [];
      const stop = new AbortController();
      const result = await runComparison({
        ...await context({ signal: stop.signal }),
        ...plan,
        outDir: join(dir, name),
        started: ({ entry, lr, seed }) => void started.push(`${entry} ${lr} ${seed}`),
        progress: () => void (started.length > trials && stop.abort()),
      });
      return { ...result, started };
    };
    const whole = await run("whole");
    equal(whole.started.length, 6);
    ok(whole.complete);
    // Two runs, and a step or more of a third, which leaves no file.
    const stopped = await run("stopped", 2);
    equal(stopped.complete, false);
    deepEqual(stopped.started, whole.started.slice(0, 3));
    deepEqual(timeless(stopped.trials), timeless(whole.trials.slice(0, 2)));
    const resumed = await run("stopped");
    deepEqual(resumed.started, whole.started.slice(2));
    deepEqual(timeless(resumed.trials), timeless(whole.trials));
    const again = await run("stopped");
    deepEqual([again.started, again.trials], [[], resumed.trials]);
    // What decides a result decides the file: another length is another run.
    const longer = contestants.map((c) => ({ ...c, config: { ...c.config, steps: 9 } }));
    const { trials } = await runComparison({
      ...await context(),
      ...plan,
      contestants: longer,
      outDir: join(dir, "stopped"),
    });
    notDeepEqual(timeless(trials), timeless(resumed.trials));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a result is taken again for the same tokenizer, text, adapter and code only", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const shared = await context();
    const plan = { contestants: [await contestant("adamw", [0.01])], seeds: [0], extensions: 0, outDir: dir };
    const trained = async (changes: Partial<TrialContext> = {}) => {
      let count = 0;
      await runComparison({ ...shared, ...plan, ...changes, started: () => void count++ });
      return count;
    };
    deepEqual([await trained(), await trained()], [1, 0]);
    equal(await trained({ tokenizerDigest: "another with as many tokens" }), 1);
    equal(await trained({ dataset: { ...shared.dataset, corpusDigest: "other text" } }), 1);

    const { gpu, model } = shared;
    const [{ config }] = plan.contestants;
    const key = trialKey(config, shared);
    equal(key.version, JSON.parse(await Deno.readTextFile("deno.json")).version);
    // What is measured to be fastest is the same to a result, a kernel with another text is not.
    const { choices } = recordStep(gpu.profile, stepOptions(config, model)).graph;
    const [[work, { candidates }]] = [...choices].filter(([, choice]) => choice.candidates.length > 1);
    deepEqual(trialKey({ ...config, kernels: { [work]: candidates[1] }, recompute: true }, shared), key);
    const { program } = codeKey({ ...gpu.profile, subgroupSize: 0, isSoftware: false }, config, model);
    notEqual(program, key.program);
    const other = resolveOptimizer("adamw", { eps: 1e-6 });
    notEqual(codeKey(gpu.profile, { ...config, optimizer: other }, model).program, key.program);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("costs of a step: the reference is 1, state is what each optimizer keeps, and they are kept", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const options = {
      ...await context(),
      outDir: dir,
      contestants: [...contestants, await contestant("sgd", [0.1])],
      reference: 1,
      rounds: 3,
    };
    const costs = (await compareSteps(options))!;
    equal(costs.length, 3);
    equal(costs[1].ratio, 1);
    for (const { ms, ratio, ratio_quartiles: [low, high], fastest_ms, planned_bytes } of costs) {
      ok(ms > 0 && low <= ratio && ratio <= high && fastest_ms > 0 && planned_bytes > 0);
    }
    equal(costs[1].fastest_ratio, 1);
    const bytes = costs.map((cost) => cost.state_bytes_per_parameter);
    // Two floats per parameter and a little per tensor, whose share is large in a model of 4,000 parameters.
    ok(bytes[0] >= 8 && bytes[0] < 9 && bytes[1] >= 8 && bytes[1] < 9, `${bytes}`);
    ok(bytes[2] < bytes[1], `${bytes}`);
    deepEqual(await compareSteps(options), costs);
    equal(await compareSteps({ ...options, rounds: 4, signal: AbortSignal.abort() }), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
