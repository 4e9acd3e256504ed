import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { readMetricsFile } from "../../checkpoint/run/metrics_file.ts";
import { latestCheckpoint } from "../../checkpoint/run/run_folder.ts";
import { readCheckpoint } from "../../checkpoint/run/training_state.ts";
import { prepareTokens, trainOrLoadTokenizer } from "../../data/tokens/dataset.ts";
import { DeviceLostError, requestGpu } from "../../gpu/device.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { testGpu } from "../../tests/check_op.ts";
import { inTempDir } from "../../tests/temporary_files.ts";
import { resolveOptimizer } from "./optimizer.ts";
import { type RunEvent, type RunOptions, startRun } from "./run.ts";

const STEPS = 4;

/** A run of a tiny model on two sentences, repeated. */
async function options(runDir: string): Promise<RunOptions & Disposable> {
  const text = "the sun rose over a quiet sea. seven old men spoke of rain while their boats lay still. ";
  const sources = [{ name: "sea", text: text.repeat(40), part: 0 }];
  const tokenizer = await trainOrLoadTokenizer({ sources, vocabSize: 280 });
  const dataset = await prepareTokens({ sources, tokenizer, validationFraction: 0.2 });
  const model = gpt2({
    vocab_size: tokenizer.vocabSize,
    n_positions: 8,
    n_embd: 16,
    n_layer: 1,
    n_head: 2,
  });
  return {
    gpu: await testGpu(),
    runDir,
    model,
    tokenizer,
    dataset,
    intervals: { logEvery: 1, evalEvery: 2, evalBatches: 1, saveEvery: 0, keep: 2 },
    config: {
      data: ["sea"],
      validationFraction: 0.2,
      tokenizer: null,
      vocabSize: 280,
      model: { ...model.config },
      seqLen: 8,
      batchSize: 2,
      gradAccum: 1,
      steps: STEPS,
      optimizer: resolveOptimizer("koala++"),
      schedule: "constant",
      warmup: 0,
      minLrRatio: 1,
      clip: 1,
      seed: 0,
    },
    [Symbol.dispose]: () => dataset[Symbol.dispose](),
  };
}

const story = (events: readonly RunEvent[]) => events.map((e) => e.kind[0] + e.step).join(" ");
const finals = async (dir: string) =>
  (await readMetricsFile(join(dir, "metrics.jsonl"))).filter((line) => "final" in line).length;

Deno.test("a run that is stopped in its last evaluation has all steps saved, and is finished when it goes on", () =>
  inTempDir(async (dir) => {
    using own = await options(dir);
    const stop = new AbortController();
    const events: RunEvent[] = [];
    {
      // All steps are done where the last evaluation begins, which takes all of the held-out text.
      const onEvaluation: RunOptions["onEvaluation"] = ({ totalBatches }) => totalBatches > 1 && stop.abort();
      using run = await startRun({ ...own, onEvaluation });
      for await (const event of run.train(stop.signal)) events.push(event);
    }
    equal(story(events), "s1 s2 e2 s3 s4 e4 c4 e4");
    const end = events[events.length - 1];
    ok(end.kind === "end" && end.stopped && end.step === STEPS);
    equal(await finals(dir), 0);
    const entry = (await latestCheckpoint(dir))!;
    equal(entry.step, STEPS);

    using checkpoint = await readCheckpoint(entry.path);
    using run = await startRun({ ...own, checkpoint });
    const rest = await Array.fromAsync(run.train());
    equal(story(rest), "f4 e4");
    ok(rest[1].kind === "end" && !rest[1].stopped);
    equal(await finals(dir), 1);
  }));

Deno.test("a run's events are its metrics' lines", () =>
  inTempDir(async (dir) => {
    using own = await options(dir);
    using run = await startRun(own);
    const events = await Array.fromAsync(run.train());
    equal(story(events), "s1 s2 e2 s3 s4 e4 c4 f4 e4");
    const lines = await readMetricsFile(join(dir, "metrics.jsonl"));
    deepEqual(
      lines.map((line) => [line.step, "loss" in line, "validation" in line, "final" in line]),
      events.filter((e) => ["step", "evaluation", "final"].includes(e.kind))
        .map(({ step, kind }) => [step, kind === "step", kind === "evaluation", kind === "final"]),
    );
  }));

Deno.test("a lost device ends a run with what to do, and the run goes on from its last checkpoint to the same weights", () =>
  inTempDir(async (dir) => {
    const at = (name: string) => join(dir, name);
    using own = await options(at("lost"));
    const intervals = { ...own.intervals, saveEvery: 1 };
    using whole = await startRun({ ...own, intervals, runDir: at("whole") });
    await Array.fromAsync(whole.train());

    const gpu = await requestGpu();
    const events: RunEvent[] = [];
    await rejects(async () => {
      using run = await startRun({ ...own, intervals, gpu });
      for await (const event of run.train()) {
        events.push(event);
        // What is left of the loss of a real card is that the device says it is gone.
        if (event.kind === "checkpoint" && event.step === 2) gpu.device.destroy();
      }
    }, (error: Error) => {
      ok(error instanceof DeviceLostError, String(error));
      ok(/^The device .* was lost .*Update the driver/.test(error.message), error.message);
      const folder = join(at("lost"), "checkpoints", "step-00000002");
      ok(
        error.message.includes(`The last checkpoint is ${folder}; go on from it with --resume ${at("lost")}`),
      );
      ok(error.message.includes("a smaller --batch-size (now 2)"), error.message);
      return true;
    });
    equal(story(events), "s1 e1 c1 s2 e2 c2");

    using checkpoint = await readCheckpoint((await latestCheckpoint(at("lost")))!.path);
    using run = await startRun({ ...own, intervals, checkpoint });
    equal(story(await Array.fromAsync(run.train())), "s3 e3 c3 s4 e4 c4 f4 e4");
    deepEqual(await run.trainer.parameters.read(own.gpu), await whole.trainer.parameters.read(own.gpu));
  }));

Deno.test("a device that is lost before the first checkpoint says that there is none", () =>
  inTempDir(async (dir) => {
    using own = await options(dir);
    const gpu = await requestGpu();
    await rejects(async () => {
      using run = await startRun({ ...own, gpu });
      for await (const event of run.train()) if (event.step === 1) gpu.device.destroy();
    }, /There was no checkpoint yet; a lower --save-every/);
    equal(await latestCheckpoint(dir), undefined);
  }));
