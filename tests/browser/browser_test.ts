/**
 * Beside what else pages test in Chromium: that it is SwiftShader, at WebGPU's default limits.
 *
 * @module
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { requestGpu } from "../../gpu/device.ts";

Deno.test("the WebGPU of this page is SwiftShader at WebGPU's default limits, with subgroups of 4 or none", async () => {
  const { description, preamble, profile, destroy } = await requestGpu();
  const { maxBindingBytes, maxBufferBytes, maxStorageBuffers, maxInvocations, maxWorkgroupBytes } = profile;
  equal(description, "google swiftshader");
  ok(profile.isSoftware, "it is known to run on the CPU");
  equal(profile.hasFastFma, false);
  equal(preamble, profile.subgroupSize === 0 ? "" : "enable subgroups;\n");
  ok([0, 4].includes(profile.subgroupSize), `got subgroups of ${profile.subgroupSize}`);
  deepEqual([maxBindingBytes, maxBufferBytes, maxStorageBuffers, maxInvocations, maxWorkgroupBytes], [
    128 << 20,
    256 << 20,
    8,
    256,
    16_384,
  ]);
  destroy();
});
