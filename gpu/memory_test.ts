import { equal, rejects, throws } from "node:assert/strict";
import { elementwise } from "../ops/elementwise.ts";
import { testGpu } from "../tests/check_op.ts";
import { GpuError } from "./device.ts";
import { Graph } from "./graph.ts";
import { formatBytes, withinMemory } from "./memory.ts";
import { createBuffer } from "./parameters.ts";
import { compileProgram } from "./program.ts";

Deno.test("exhausted memory is an error that says what did not fit and what to do, and the device goes on", async () => {
  const gpu = await testGpu();
  // Software adapters give buffers memory that the machine does not have; of textures they say how much is too much.
  const create = (width: number, depthOrArrayLayers: number) => () => {
    gpu.device.createTexture({
      size: { width, height: width, depthOrArrayLayers },
      format: "rgba32float",
      usage: GPUTextureUsage.COPY_DST,
    });
  };
  await rejects(
    withinMemory(gpu, "275 GB of pictures", "use smaller ones", create(8192, 256)),
    (error: Error) => {
      equal(error.name, "RangeError");
      const [, text] =
        /must hold 275 GB of pictures, but it is exhausted \(.+\); use (smaller ones, or close .*)$/.exec(
          error.message,
        )!;
      equal(text, "smaller ones, or close what else uses it");
      return true;
    },
  );
  await withinMemory(gpu, "a picture", "use none", create(16, 1));
  gpu.check();
  // Small buffers, such as those for reading back, are created without waiting.
  create(8192, 256)();
  await gpu.device.queue.onSubmittedWorkDone();
  throws(() => gpu.check(), /^GpuError: WebGPU reported an error .*; use a smaller batch or model$/);
});

Deno.test("withinMemory() passes on other errors of WebGPU, once, and those of what it calls", async () => {
  const gpu = await testGpu();
  const unusable = () => void gpu.device.createBuffer({ size: 4, usage: 0 });
  await rejects(withinMemory(gpu, "a buffer", "use none", unusable), GpuError);
  await rejects(
    withinMemory(gpu, "a buffer", "use none", () => {
      throw new RangeError("mine");
    }),
    /^RangeError: mine$/,
  );
  await gpu.device.queue.onSubmittedWorkDone();
  gpu.check();
});

Deno.test("a buffer that the adapter cannot have is refused before it is asked for", async () => {
  const gpu = await testGpu();
  const small = { ...gpu, profile: { ...gpu.profile, maxBufferBytes: 1024 } };
  throws(() => createBuffer(small, "large", 1025), /large needs 1280 bytes, but a buffer of .* at most 1024/);
  // Inputs of many micro-batches together, each of which fits.
  const g = new Graph({ profile: small.profile, microBatches: 5 });
  elementwise(g, {
    label: "copy",
    read: { x: g.input("x", [64], "f32") },
    out: g.output("y", [64]),
    statements: "out[i] = x[i];",
  });
  await rejects(compileProgram(small, g), /staged\.x needs 1280 bytes/);
  gpu.check();
});

Deno.test("formatBytes() uses the unit that reads best", () => {
  equal(formatBytes(1.5e9), "1.50 GB");
  equal(formatBytes(2 ** 20), "1.0 MB");
});
