/**
 * Beside what else a process tests on Dawn: that it is Dawn, at WebGPU's default limits.
 *
 * @module
 */
import { deepEqual, match } from "node:assert/strict";
import { requestGpu } from "../../gpu/device.ts";

Deno.test("the WebGPU of this process is Dawn at WebGPU's default limits", async () => {
  const { preamble, profile, destroy } = await requestGpu();
  const { maxBindingBytes, maxBufferBytes, maxStorageBuffers, maxInvocations, maxWorkgroupBytes } = profile;
  match(preamble, /enable subgroups;/, "Dawn wants the directive, and Deno's own WebGPU refuses it");
  deepEqual([maxBindingBytes, maxBufferBytes, maxStorageBuffers, maxInvocations, maxWorkgroupBytes], [
    128 << 20,
    256 << 20,
    8,
    256,
    16_384,
  ]);
  destroy();
});
