import { equal, ok } from "node:assert/strict";
import { testGpu } from "../tests/check_op.ts";
import { clockMethod, encodeMark, Timestamps, timeSubmissions } from "./clock.ts";
import { submitCommands } from "./replay.ts";

const gpu = await testGpu();
const hasTimestamps = gpu.features.includes("timestamp-query");

Deno.test("times are measured by timestamps where the device has right ones, else by waiting", async () => {
  equal(await clockMethod(gpu), hasTimestamps ? "timestamps" : "waiting");
  equal(await clockMethod({ ...gpu, features: [] }), "waiting");
});

Deno.test("timestamps that fall are known to be wrong", { ignore: !hasTimestamps }, async () => {
  const stamps = new Timestamps(gpu, 2);
  const mark = (index: number, which: "start" | "end") =>
    submitCommands(gpu.device, (encoder) => encodeMark(gpu, encoder, stamps.writes(index, which)));
  try {
    for (const index of [0, 1]) {
      mark(index, "start");
      mark(index, "end");
    }
    ok((await stamps.nanoseconds())!.every((time) => time > 0));
    mark(1, "end");
    mark(1, "start"); // later than its end
    equal(await stamps.read(), undefined);
    equal(await stamps.nanoseconds(), undefined);
  } finally {
    stamps.destroy();
  }
});

Deno.test("several submissions are timed as one stretch, longer than each of them", async () => {
  const size = 32 << 20;
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [0, 1].map(() => gpu.device.createBuffer({ size, usage }));
  const copies = (count: number) =>
    timeSubmissions(gpu, (start, end) => {
      submitCommands(gpu.device, start);
      for (let i = 0; i < count; i++) {
        submitCommands(gpu.device, (encoder) => encoder.copyBufferToBuffer(from, 0, to, 0, size));
      }
      submitCommands(gpu.device, end);
    });
  await copies(1);
  // The shortest of some: other work on the machine makes them longer. 16 copies for one are far beyond its noise.
  const best = async (count: number) => {
    const times: number[] = [];
    for (let i = 0; i < 5; i++) times.push((await copies(count)).gpu);
    return Math.min(...times);
  };
  const [one, many] = [await best(1), await best(16)];
  ok(many > 2 * one, `16 copies took ${many} ns, one took ${one} ns`);
  [from, to].forEach((buffer) => buffer.destroy());
});
