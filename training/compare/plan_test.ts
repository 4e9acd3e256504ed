import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { type DoneTrial, type Entry, type Trial, trialsLeft, tuning } from "./plan.ts";

const options = { seeds: [0, 1, 2], extensions: 4 };

/** Does what is left until nothing is; `loss` stands for training. */
function finish(entries: Entry[], loss: (trial: Trial) => number | null, plan = options): DoneTrial[] {
  const done: DoneTrial[] = [];
  for (;;) {
    const [next] = trialsLeft(entries, done, plan);
    if (!next) return done;
    ok(done.length < 100, "the plan must come to an end");
    done.push({ ...next, loss: loss(next) });
  }
}

/** A loss that is lowest at a rate. */
const bowl = (best: number) => ({ lr }: Trial) => 3 + Math.log2(lr / best) ** 2;
const ratesOf = (trials: Trial[], entry: string, seed: number) =>
  trials.filter((c) => c.entry === entry && c.seed === seed).map((c) => c.lr);

Deno.test("every rate runs with the first seed, and only the best with the others", () => {
  const entries = [{ name: "a", rates: [1, 2, 4] }, { name: "b", rates: [0.01, 0.03, 0.09] }];
  const done = finish(entries, (trial) => bowl(trial.entry === "a" ? 2 : 0.03)(trial));
  deepEqual(
    done.map((c) => [c.entry, c.lr, c.seed]),
    [
      ...[1, 2, 4].map((lr) => ["a", lr, 0]),
      ...[0.01, 0.03, 0.09].map((lr) => ["b", lr, 0]),
      ...[1, 2].flatMap((seed) => [["a", 2, seed], ["b", 0.03, seed]]),
    ],
  );
});

Deno.test("a grid whose best rate is at an end grows until a rate beyond it is worse", () => {
  const entry = { name: "a", rates: [0.001, 0.002, 0.004] };
  const up = finish([entry], bowl(0.016));
  deepEqual(ratesOf(up, "a", 0), [0.001, 0.002, 0.004, 0.008, 0.016, 0.032]);
  deepEqual(ratesOf(up, "a", 1), [0.016]);
  deepEqual(tuning(entry, up, options), { missing: [], best: 0.016, border: undefined });
  const down = finish([entry], bowl(0.0005));
  deepEqual(ratesOf(down, "a", 0), [0.001, 0.002, 0.004, 0.0005, 0.00025]);
});

Deno.test("a grid grows only so far, and then its best rate is known to be at the border", () => {
  const entry = { name: "a", rates: [1, 3, 9] };
  const done = finish([entry], bowl(1e6));
  deepEqual(ratesOf(done, "a", 0), [1, 3, 9, 27, 81, 243, 729]);
  deepEqual(tuning(entry, done, options), { missing: [], best: 729, border: "highest" });
});

Deno.test("a rate that diverged is never the best, and where all did, lower ones follow", () => {
  const entry = { name: "a", rates: [1, 2, 4] };
  const done = finish([entry], (trial) => trial.lr >= 0.5 ? null : bowl(0.25)(trial));
  deepEqual(ratesOf(done, "a", 0), [1, 2, 4, 0.5, 0.25, 0.125]);
  equal(tuning(entry, done, options).best, 0.25);
  const hopeless = finish([entry], () => null);
  equal(hopeless.length, 3 + options.extensions);
  deepEqual(tuning(entry, hopeless, options), { missing: [], best: undefined, border: "lowest" });
});

Deno.test("a single rate is taken as it is", () => {
  const done = finish([{ name: "a", rates: [0.5] }], bowl(1e-3));
  deepEqual(done.map((c) => [c.lr, c.seed]), [[0.5, 0], [0.5, 1], [0.5, 2]]);
});

Deno.test("what is left counts the repetitions that will follow a search", () => {
  const entries = [{ name: "a", rates: [1, 2, 4] }, { name: "b", rates: [8] }];
  equal(trialsLeft(entries, [], options).length, 3 + 1 + 2 * 2);
  equal(trialsLeft(entries, [{ entry: "a", lr: 2, seed: 0, loss: 3 }], options).length, 2 + 1 + 2 * 2);
});

Deno.test("entries that cannot be told apart and grids that are none are refused", () => {
  const refuse = (entries: Entry[], message: RegExp) =>
    throws(() => trialsLeft(entries, [], options), { name: "RangeError", message });
  refuse([], /got none/);
  refuse([{ name: "a", rates: [1] }, { name: "a", rates: [2] }], /got a twice/);
  refuse([{ name: "a", rates: [] }], /rates of a must be above 0 and ascending, got none/);
  refuse([{ name: "a", rates: [2, 1] }], /got 2, 1/);
  refuse([{ name: "a", rates: [0, 1] }], /got 0, 1/);
});
