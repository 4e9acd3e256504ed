import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { GpuUnavailableError, requestGpu } from "./device.ts";

Deno.test("requestGpu() opens an adapter that passed its self-test", async () => {
  const gpu = await requestGpu();
  ok(gpu.description.length > 0);
  ok(gpu.profile.maxBindingBytes >= 128 << 20);
  gpu.check();
  gpu.destroy();
});

Deno.test("requestGpu() gives kernels all that the adapter has, and says so", async () => {
  const gpu = await requestGpu();
  const { maxBufferBytes, maxStorageBuffers, maxInvocations, maxWorkgroupBytes } = gpu.profile;
  const { limits } = (await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }))!;
  deepEqual([maxBufferBytes, maxStorageBuffers, maxInvocations, maxWorkgroupBytes], [
    limits.maxBufferSize,
    limits.maxStorageBuffersPerShaderStage,
    limits.maxComputeInvocationsPerWorkgroup,
    limits.maxComputeWorkgroupStorageSize,
  ]);
  gpu.destroy();
});

Deno.test("WGSL behind the preamble may use every feature that the device has", async () => {
  const gpu = await requestGpu();
  const [half, subgroups] = ["shader-f16", "subgroups"].map((name) => gpu.features.includes(name));
  const code = `${gpu.preamble}${half ? "enable f16;" : ""}
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64) fn main() {
  out[0] = ${half ? "f32(f16(0.5))" : "0.5"};
  out[1] = ${subgroups ? "subgroupBroadcast(0.5, 0u)" : "0.5"};
}`;
  gpu.device.pushErrorScope("validation");
  gpu.device.createShaderModule({ code });
  equal((await gpu.device.popErrorScope())?.message, undefined);
  gpu.check(); // nothing of what was refused when the device was opened
  gpu.destroy();
});

Deno.test("requestGpu() with subgroups off reports none", async () => {
  const gpu = await requestGpu({ subgroups: false });
  ok(gpu.profile.subgroupSize === 0 && !gpu.features.includes("subgroups"));
  gpu.destroy();
});

Deno.test("requestGpu() without an adapter says what to install", async () => {
  const { gpu } = navigator;
  const own = Object.getOwnPropertyDescriptor(gpu, "requestAdapter");
  Object.defineProperty(gpu, "requestAdapter", { value: () => Promise.resolve(null), configurable: true });
  try {
    await rejects(requestGpu(), (error: Error) => {
      ok(error instanceof GpuUnavailableError);
      // Not the words for platforms that nobody has heard of.
      ok(/found none on \w+.*: (?!install a Vulkan)/.test(error.message), error.message);
      return true;
    });
  } finally {
    if (own) Object.defineProperty(gpu, "requestAdapter", own);
    else delete (gpu as unknown as Record<string, unknown>).requestAdapter;
  }
});

Deno.test("check() reports a validation error once", async () => {
  const gpu = await requestGpu();
  const buffer = gpu.device.createBuffer({ size: 16, usage: GPUBufferUsage.COPY_DST });
  const encoder = gpu.device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, buffer, 0, 64);
  encoder.finish();
  await gpu.device.queue.onSubmittedWorkDone();
  let message = "";
  try {
    gpu.check();
  } catch (error) {
    message = (error as Error).message;
  }
  ok(message.startsWith("WebGPU reported an error"), message);
  gpu.check();
  buffer.destroy();
  gpu.destroy();
});
