import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { readMetricsFile } from "../../checkpoint/run/metrics_file.ts";
import { latestCheckpoint, listCheckpoints } from "../../checkpoint/run/run_folder.ts";
import { openModel } from "../../checkpoint/open_model.ts";
import { Batches } from "../../data/batches.ts";
import { StepBatches } from "../../data/prefetch.ts";
import { readTensors } from "../../gpu/readback.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { adamw } from "../../optim/adamw.ts";
import { koalaPlusPlus } from "../../optim/koala/koala_plus_plus.ts";
import { hiddenMatrices, partition } from "../../optim/partition.ts";
import { testGpu } from "../../tests/check_op.ts";
import { inTempDir } from "../../tests/temporary_files.ts";
import { train } from "../loop/train.ts";
import { languageModelLoss, Trainer } from "../step/trainer.ts";
import { loadParameters } from "./load_weights.ts";
import { openRun, type OpenRunOptions } from "./open_run.ts";
import { saveModel } from "./save_model.ts";

const STEPS = 12;
const model = gpt2({ vocab_size: 32, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2, resid_pdrop: 0.1 });
const ids = Uint16Array.from({ length: 500 }, (_, i) => (i * i + 3 * i) % 32);

/** A trainer and its batches, as a program of one's own makes them anew at every start. */
async function parts(seed = 0) {
  const gpu = await testGpu();
  const trainer = await Trainer.create(gpu, {
    record: languageModelLoss(model, 2, 8),
    optimizer: partition([{ owns: hiddenMatrices, optimizer: koalaPlusPlus() }, { optimizer: adamw() }]),
    seed,
  });
  const batches = new StepBatches(new Batches(ids, { batchSize: 2, seqLen: 8, seed }), 1);
  return { gpu, trainer, batches, [Symbol.dispose]: () => trainer.destroy() };
}

/** Starts the program; it leaves after some steps. */
async function start(dir: string, leaveAt = STEPS, more: Partial<OpenRunOptions> = {}) {
  using program = await parts();
  const { gpu, trainer, batches } = program;
  using run = await openRun(dir, { gpu, trainer, batches, config: model.config, ...more });
  const { startStep } = run;
  const events = train(trainer, {
    batches,
    steps: STEPS,
    logEvery: 1,
    save: run.save,
    saveEvery: 4,
    evaluate: () => Promise.resolve({ loss: Math.abs(trainer.nextStep - 5) }),
  });
  for await (const event of events) {
    await run.record(event, 0.5);
    if (event.step === leaveAt && leaveAt < STEPS) break;
  }
  return {
    startStep,
    best: run.best,
    weights: await readTensors(gpu, trainer.parameters.all.map((p) => p.tensor)),
  };
}

const lossesIn = async (dir: string) =>
  (await readMetricsFile(join(dir, "metrics.jsonl"))).filter((line) => "loss" in line).map((
    { step, loss },
  ) => [
    step,
    loss,
  ]);

Deno.test("openRun() goes on bit for bit, wherever the loop was left", () =>
  inTempDir(async (dir) => {
    const whole = await start(join(dir, "whole"));
    equal(whole.startStep, 0);
    const path = join(dir, "parts");
    const starts = [];
    for (const leaveAt of [3, 4, 9, STEPS]) starts.push(await start(path, leaveAt));
    ok(starts[1].startStep >= 3 && starts[2].startStep >= 4, "each start goes on from the one before");
    deepEqual(starts[3].weights, whole.weights);
    // The steps that were enqueued when the loop was left have no line.
    const [all, seen] = [await lossesIn(join(dir, "whole")), await lossesIn(path)];
    equal(all.length, STEPS);
    deepEqual(seen, all.filter(([step]) => seen.some(([other]) => other === step)));
    const again = await start(path);
    deepEqual([again.startStep, again.weights], [STEPS, whole.weights]);
  }));

Deno.test("checkpoints rotate, the best stays, and the folder holds a model", () =>
  inTempDir(async (dir) => {
    const { best } = await start(dir, STEPS, { keep: 1 });
    deepEqual(best, { step: 4, loss: 1 });
    deepEqual((await listCheckpoints(dir)).map(({ step }) => step), [4, 12]);
    using folder = await openModel((await latestCheckpoint(dir))!.path);
    (await loadParameters(await testGpu(), model, folder)).destroy();
    const lines = await readMetricsFile(join(dir, "metrics.jsonl"));
    ok(lines.some((line) => line.step === 4 && "validation" in line));
    ok(lines.every((line) => !("loss" in line) || line.lr === 0.5));
  }));

Deno.test("openRun() holds its folder, and refuses another seed or another model before it changes anything", () =>
  inTempDir(async (dir) => {
    await start(dir, 5, { seeds: { seed: 0 } });
    using program = await parts();
    const before = await Deno.readTextFile(join(dir, "metrics.jsonl"));
    const options = { ...program, config: model.config };
    await rejects(
      openRun(dir, { ...options, seeds: { seed: 1 } }),
      /RangeError: .*keep its seed, which was 0 .*got 1/,
    );
    const gpu = await testGpu();
    const other = await Trainer.create(gpu, { record: languageModelLoss(model, 2, 8), optimizer: adamw() });
    await rejects(openRun(dir, { ...options, trainer: other }), TypeError);
    other.destroy();
    equal(await Deno.readTextFile(join(dir, "metrics.jsonl")), before);
    {
      using _run = await openRun(dir, { ...options, seeds: { seed: 0 } });
      await rejects(openRun(dir, options), Deno.errors.Busy);
    }
    (await openRun(dir, { ...options, seeds: { seed: 0 } })).close();
  }));

Deno.test("saveModel() writes a folder that openModel() gives back to the bit, and replaces none", () =>
  inTempDir(async (dir) => {
    using program = await parts(7);
    const { gpu, trainer } = program;
    const path = join(dir, "model");
    await saveModel(path, { gpu, parameters: trainer.parameters, config: model.config });
    using folder = await openModel(path);
    const loaded = await loadParameters(gpu, model, folder);
    const [saved, read] = await Promise.all(
      [trainer.parameters, loaded].map(({ all }) => readTensors(gpu, all.map((p) => p.tensor))),
    );
    deepEqual(read, saved);
    loaded.destroy();
    await rejects(
      saveModel(path, { gpu, parameters: trainer.parameters, config: model.config }),
      Deno.errors.AlreadyExists,
    );
  }));
