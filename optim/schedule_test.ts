import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { learningRateSchedule, SCHEDULE_KINDS, type ScheduleOptions } from "./schedule.ts";

function rates(options: ScheduleOptions, count = options.totalSteps): number[] {
  return Array.from({ length: count }, (_, step) => step).map(learningRateSchedule(options));
}

Deno.test("a constant schedule is the peak at every step, and warms up when asked", () => {
  deepEqual(rates({ kind: "constant", peak: 0.5, totalSteps: 3 }), [0.5, 0.5, 0.5]);
  deepEqual(rates({ kind: "constant", peak: 1, totalSteps: 4, warmupSteps: 2 }), [0.5, 1, 1, 1]);
});

Deno.test("warmup-linear rises from peak/warmupSteps and falls by equal amounts to the minimum", () => {
  deepEqual(
    rates({ kind: "warmup-linear", peak: 8, totalSteps: 8, warmupSteps: 4, minRatio: 0.5 }),
    [2, 4, 6, 8, 7, 6, 5, 4],
  );
  deepEqual(rates({ kind: "warmup-linear", peak: 4, totalSteps: 5, minRatio: 0 }), [4, 3, 2, 1, 0]);
});

Deno.test("warmup-cosine is at the peak after warm-up, halfway in the middle and at the minimum at the end", () => {
  const values = rates({ kind: "warmup-cosine", peak: 1, totalSteps: 12, warmupSteps: 4, minRatio: 0.2 });
  deepEqual(values.slice(0, 4), [0.25, 0.5, 0.75, 1]);
  ok(Math.abs(values[7] - 0.6) < 1e-15);
  equal(values[11], 0.2);
});

Deno.test("warmup-stable-decay stays at the peak until its last part, then falls linearly", () => {
  deepEqual(
    rates({
      kind: "warmup-stable-decay",
      peak: 4,
      totalSteps: 10,
      warmupSteps: 2,
      minRatio: 0,
      decayFraction: 0.4,
    }),
    [2, 4, 4, 4, 4, 4, 3, 2, 1, 0],
  );
});

Deno.test("warmup-stable-decay does not begin to decay before it is warm", () => {
  deepEqual(
    rates({
      kind: "warmup-stable-decay",
      peak: 2,
      totalSteps: 4,
      warmupSteps: 2,
      minRatio: 0,
      decayFraction: 1,
    }),
    [1, 2, 1, 0],
  );
});

for (const kind of SCHEDULE_KINDS) {
  Deno.test(`${kind} rises, then never rises again, within peak and minimum, without jumps`, () => {
    for (const totalSteps of [1, 2, 7, 100, 1000]) {
      for (const warmupSteps of new Set([0, 1, Math.floor(totalSteps / 3), totalSteps])) {
        for (const minRatio of [0, 0.1, 1]) {
          const values = rates({ kind, peak: 1, totalSteps, warmupSteps, minRatio });
          const where = JSON.stringify({ totalSteps, warmupSteps, minRatio });
          // The steepest slopes: the warm-up, the cosine's middle, the linear decay of 0.2 of the run.
          const decaySteps = Math.max(1, Math.min(Math.round(0.2 * totalSteps), totalSteps - warmupSteps));
          const steepest = Math.max(
            1 / Math.max(warmupSteps, 1),
            Math.PI / 2 / Math.max(1, totalSteps - Math.max(1, warmupSteps)),
            1 / decaySteps,
          );
          for (let t = 1; t < totalSteps; t++) {
            const change = values[t] - values[t - 1];
            ok(t < warmupSteps ? change > 0 : change <= 0, `direction at step ${t} of ${where}`);
            ok(Math.abs(change) <= steepest + 1e-12, `jump at step ${t} of ${where}`);
          }
          equal(Math.max(...values) <= 1, true, where);
          ok(Math.min(...values.slice(warmupSteps)) >= minRatio, where);
          if (warmupSteps > 0) equal(values[warmupSteps - 1], 1, where);
        }
      }
    }
  });

  Deno.test(`${kind} keeps its last rate after the run`, () => {
    const options: ScheduleOptions = { kind, peak: 0.3, totalSteps: 10, warmupSteps: 3 };
    const values = rates(options, 15);
    deepEqual(values.slice(10), Array(5).fill(values[9]));
    if (kind !== "constant") equal(values[9], 0.3 * 0.1);
  });
}

Deno.test("learningRateSchedule() refuses numbers out of range and says what must hold", () => {
  const good: ScheduleOptions = { kind: "warmup-cosine", peak: 1, totalSteps: 10, warmupSteps: 2 };
  const bad: [Partial<Record<keyof ScheduleOptions, unknown>>, RegExp][] = [
    [{ kind: "cosine" }, /kind must be one of constant, .*received cosine/],
    [{ peak: -1 }, /peak must be .*received -1/],
    [{ peak: Infinity }, /peak/],
    [{ totalSteps: 0 }, /totalSteps must be .*received 0/],
    [{ totalSteps: 1.5 }, /totalSteps/],
    [{ warmupSteps: 11 }, /warmupSteps must be an integer from 0 to totalSteps \(10\).*received 11/],
    [{ warmupSteps: -1 }, /warmupSteps/],
    [{ minRatio: 1.1 }, /minRatio must be .*received 1.1/],
    [{ minRatio: NaN }, /minRatio/],
    [{ decayFraction: -0.1 }, /decayFraction/],
  ];
  for (const [change, message] of bad) {
    throws(() => learningRateSchedule({ ...good, ...change } as ScheduleOptions), {
      name: "RangeError",
      message,
    });
  }
  for (const step of [-1, 0.5, NaN]) throws(() => learningRateSchedule(good)(step), RangeError);
});
