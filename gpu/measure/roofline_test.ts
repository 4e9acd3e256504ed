import { deepEqual, equal, ok } from "node:assert/strict";
import { CARDS, peakGflops } from "./cards.ts";
import { ceilingTime, modelTime, type Work } from "./roofline.ts";

/** A kernel that a card cannot run any faster: everywhere work, all of it multiply-adds on 64 private values. */
const ideal: Work = {
  workgroups: 132 * 8,
  threads: 256,
  workgroupBytes: 0,
  flops: 1e13,
  bytes: 1e6,
  cost: { privateValues: 64, hotLoop: { multiplyAdds: 64, others: 0, workgroupBytes: 0 } },
};
const card = CARDS.h100;

/** How many times as long as the ideal kernel one takes, and why. */
function against(changes: Partial<Work> & { privateValues?: number; others?: number; read?: number }) {
  const { privateValues = 64, others = 0, read = 0, ...rest } = changes;
  const cost = { privateValues, hotLoop: { multiplyAdds: 64, others, workgroupBytes: read } };
  const { nanoseconds, bound } = modelTime(card, { ...ideal, cost, ...rest });
  // Times are quotients of large numbers: six digits are beyond doubt.
  return [Number((nanoseconds / modelTime(card, ideal).nanoseconds).toPrecision(6)), bound];
}

Deno.test("cards have the peaks that are published of them, in TFLOPS", () => {
  const published = { "h100": 66.9, "rtx4090": 82.6, "m3-max": 14.3, "iris-xe": 2.23 };
  for (const [name, tflops] of Object.entries(published)) {
    // They are rounded to three digits.
    const peak = peakGflops(CARDS[name as keyof typeof published]) / 1e3;
    ok(Math.abs(peak / tflops - 1) < 0.005, `${name}: ${peak}`);
  }
});

Deno.test("a kernel that fills a card runs at its peak", () => {
  const { nanoseconds, bound, residentThreads } = modelTime(card, ideal);
  equal(bound, "multiply-adds");
  ok(Math.abs(nanoseconds * peakGflops(card) / ideal.flops - 1) < 1e-9);
  // 80 registers each: three workgroups of 256 threads fit into 65,536.
  equal(residentThreads, 3 * 256);
});

Deno.test("what leaves a card idle costs as much as it leaves idle", () => {
  deepEqual(against({ workgroups: 66 }), [2, "multiply-adds"], "half of the cores");
  deepEqual(against({ workgroups: 132, threads: 64 }), [2, "multiply-adds"], "half of what hides results");
  deepEqual(
    against({ workgroups: 132 + 1 }),
    [2 * 132 / 133, "multiply-adds"].map(round),
    "one core has two",
  );
  deepEqual(
    against({ threads: 48, workgroups: 132 * 32 }),
    [4 / 3, "multiply-adds"].map(round),
    "half a subgroup",
  );
  deepEqual(against({ others: 32 }), [1.5, "multiply-adds"], "a third of the instructions");
  deepEqual(against({ read: 64 }), [1, "multiply-adds"], "a byte of workgroup memory for each");
  deepEqual(against({ read: 2 * 64 }), [2, "workgroup memory"], "two bytes");
  // 64 values of 255 + 64 are written and read in each turn of 64 multiply-adds: 8 bytes for each of these.
  deepEqual(against({ privateValues: 255 + 64 - 16 }), [8, "spills"]);
});

Deno.test("memory, its latency and dispatches limit kernels without operations", () => {
  const copy = { ...ideal, flops: 0, bytes: 3.35e9 };
  const full = modelTime(card, { ...copy, threads: 1024, cost: { ...ideal.cost, privateValues: 8 } });
  deepEqual([full.bound, Math.round(full.nanoseconds)], ["memory", 1e6]);
  const alone = modelTime(card, { ...copy, workgroups: 1, threads: 64 });
  deepEqual([alone.bound, alone.nanoseconds], ["latency", 3.35e9 / (64 * 16 / 500)]);
  const tiny = modelTime(card, { ...copy, bytes: 1000 });
  deepEqual([tiny.bound, tiny.nanoseconds], ["dispatch", card.dispatch]);
});

Deno.test("at ceilings a kernel takes the longer of its operations and its bytes", () => {
  deepEqual([ceilingTime({ flops: 100, bytes: 10 }, 10, 5), ceilingTime({ bytes: 10 }, 10, 5)], [10, 2]);
});

function round<T>(value: T): T | number {
  return typeof value === "number" ? Number(value.toPrecision(6)) : value;
}
