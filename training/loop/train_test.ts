import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { gpt2 } from "../../models/gpt2.ts";
import { adamw } from "../../optim/adamw.ts";
import { testGpu } from "../../tests/check_op.ts";
import type { StepInputs } from "../step/recording.ts";
import { languageModelLoss, Trainer } from "../step/trainer.ts";
import { isDue, type StepEvent, type TrainEvent } from "./events.ts";
import { NonFiniteLossError, train, type TrainOptions } from "./train.ts";

const STEPS = 10;
const model = gpt2({ vocab_size: 32, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 });

async function newTrainer(lr = 0.01): Promise<Trainer & Disposable> {
  const record = languageModelLoss(model, 2, 8);
  const trainer = await Trainer.create(await testGpu(), { record, optimizer: adamw({ lr }) });
  return Object.assign(trainer, { [Symbol.dispose]: () => trainer.destroy() });
}

function batch(step: number): StepInputs[] {
  const tokens = Uint32Array.from({ length: 16 }, (_, i) => (step * 5 + i * 3) % 32);
  return [{ tokens, targets: tokens.map((id) => (id + 3) % 32) }];
}

/** Batches of a trainer's own steps. */
const batchesOf = (trainer: Trainer) => ({ next: () => batch(trainer.nextStep) });

/** The losses of the plain loop, which reads after every step. */
async function plainLosses(): Promise<number[]> {
  using trainer = await newTrainer();
  const losses = [];
  for (let step = 0; step < STEPS; step++) {
    trainer.step(batch(step), 1 - step / STEPS);
    losses.push((await trainer.metrics())[0].loss);
  }
  return losses;
}

const schedule = (step: number) => 1 - step / STEPS;
const isStep = (event: TrainEvent): event is StepEvent => event.kind === "step";
/** What happened, in short: s1 s2 e2 c2 ... */
const story = (events: readonly TrainEvent[]) => events.map((e) => e.kind[0] + e.step).join(" ");

Deno.test("train() does the plain loop's steps, bit for bit, however often it reads", async () => {
  const expected = await plainLosses();
  for (const logEvery of [undefined, 1, 3, 64]) {
    using trainer = await newTrainer();
    const events = await Array.fromAsync(
      train(trainer, { batches: batchesOf(trainer), steps: STEPS, schedule, logEvery }),
    );
    const steps = events.filter(isStep);
    deepEqual(steps.map((e) => e.loss), expected);
    deepEqual(steps.map((e) => e.step), expected.map((_, i) => i + 1));
    deepEqual(steps.map((e) => e.scheduleFactor), expected.map((_, i) => schedule(i)));
    ok(steps.every((e) => e.tokensPerSecond > 0 && e.gradientNorm > 0));
    equal(steps[STEPS - 1].latest, true);
    const end = events[events.length - 1];
    ok(end.kind === "end" && !end.stopped && end.step === STEPS && end.tokensPerSecond > 0);
  }
});

Deno.test("train() evaluates and saves when it is due, an evaluation before each checkpoint", async () => {
  using trainer = await newTrainer();
  const saved: unknown[] = [];
  const events = await Array.fromAsync(train(trainer, {
    batches: batchesOf(trainer),
    steps: 5,
    logEvery: 2,
    evaluate: () => Promise.resolve({ loss: 100 - trainer.nextStep }),
    evalEvery: 2,
    saveEvery: 3,
    save: (evaluation) => Promise.resolve(`${saved.push([trainer.nextStep, evaluation?.loss])}`),
  }));
  equal(story(events), "s1 s2 e2 s3 e3 c3 s4 e4 s5 e5 c5 e5");
  deepEqual(saved, [[3, 97], [5, 95]]);
  deepEqual(events.flatMap((e) => e.kind === "checkpoint" ? [e.path] : []), ["1", "2"]);
});

/** Runs until an event, at which `act` is called. */
async function upTo(
  at: (event: TrainEvent) => boolean,
  options: Partial<TrainOptions>,
  act: () => void,
): Promise<{ events: TrainEvent[]; saved: (number | undefined)[][] }> {
  using trainer = await newTrainer();
  const [events, saved] = [[] as TrainEvent[], [] as (number | undefined)[][]];
  const save = (evaluation?: { loss: number }) =>
    Promise.resolve(`${saved.push([trainer.nextStep, evaluation?.loss])}`);
  for await (
    const event of train(trainer, {
      batches: batchesOf(trainer),
      steps: STEPS,
      logEvery: 1,
      save,
      ...options,
    })
  ) {
    events.push(event);
    if (at(event)) act();
  }
  return { events, saved };
}

Deno.test("an aborted signal ends after the step under way, which is saved without an evaluation", async () => {
  const stop = new AbortController();
  let evaluations = 0;
  const evaluate = () => Promise.resolve({ loss: ++evaluations });
  const { events, saved } = await upTo(
    (e) => e.step === 3,
    { signal: stop.signal, evaluate },
    () => stop.abort(),
  );
  const end = events[events.length - 1];
  ok(end.kind === "end" && end.stopped);
  ok(end.step === 3 || end.step === 4, "the step after the event may be enqueued already");
  deepEqual([saved, evaluations], [[[end.step, undefined]], 0]);
  equal(events.filter(isStep).length, end.step);
  // Before the first step too.
  const never = await upTo(() => false, { signal: AbortSignal.abort() }, () => {});
  equal(story(never.events), "c0 e0");
});

Deno.test("an evaluation that is aborted ends the run, and the step is saved", async () => {
  const stop = new AbortController();
  const evaluate = (signal: AbortSignal) => {
    stop.abort();
    return Promise.reject(signal.reason);
  };
  const { events, saved } = await upTo(
    () => false,
    { signal: stop.signal, evaluate, evalEvery: 2 },
    () => {},
  );
  equal(story(events), "s1 s2 c2 e2");
  deepEqual(saved, [[2, undefined]]);
  const broken = () => Promise.reject(new Error("no such file"));
  await rejects(upTo(() => false, { evaluate: broken, evalEvery: 2 }, () => {}), /no such file/);
});

Deno.test("leaving the loop waits for what was enqueued and saves it", async () => {
  using trainer = await newTrainer();
  const saved: number[] = [];
  const save = () => Promise.resolve(`${saved.push(trainer.nextStep)}`);
  for await (
    const event of train(trainer, { batches: batchesOf(trainer), steps: STEPS, logEvery: 1, save })
  ) {
    if (event.step === 4) break;
  }
  deepEqual(saved, [trainer.nextStep]);
  ok(trainer.nextStep === 4 || trainer.nextStep === 5);
  deepEqual(await trainer.metrics(), []);
  // A second loop goes on from there, to the same losses.
  const rest = await Array.fromAsync(train(trainer, { batches: batchesOf(trainer), steps: STEPS, save }));
  equal(rest.filter(isStep)[0].step, saved[0] + 1);
  deepEqual(saved, [saved[0], STEPS]);
});

Deno.test("a loss that is not finite ends the loop after its event, and nothing is saved", async () => {
  using trainer = await newTrainer(1e30);
  const saved: number[] = [];
  const events: TrainEvent[] = [];
  const save = () => Promise.resolve(`${saved.push(trainer.nextStep)}`);
  const run = async () => {
    for await (
      const event of train(trainer, { batches: batchesOf(trainer), steps: STEPS, logEvery: 3, save })
    ) {
      events.push(event);
    }
  };
  await rejects(run(), (error: unknown) => {
    ok(error instanceof NonFiniteLossError);
    const last = events.filter(isStep).at(-1)!;
    equal(error.step, last.step);
    ok(!Number.isFinite(last.loss) || !Number.isFinite(last.gradientNorm));
    return true;
  });
  deepEqual(saved, []);
});

Deno.test("train() rejects a number of steps or an interval that is none", async () => {
  using trainer = await newTrainer();
  for (const wrong of [{ steps: 1.5 }, { logEvery: 0 }, { logEvery: 1.5 }]) {
    const events = train(trainer, { batches: batchesOf(trainer), steps: 2, ...wrong });
    await rejects(events.next(), /RangeError: .*got (1\.5|0)/);
  }
});

Deno.test("isDue() is true at multiples, at listed steps, and always at the end", () => {
  const due = (every: number | Set<number>) => [1, 2, 3, 4, 5].filter((step) => isDue(step, every, 5));
  deepEqual([due(0), due(2), due(new Set([1, 4]))], [[5], [2, 4, 5], [1, 4, 5]]);
});
