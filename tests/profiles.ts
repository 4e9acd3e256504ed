/**
 * Profiles like those of adapters that are not at hand, to record for them. Where drivers and cards of a kind differ,
 * a limit is the smaller one.
 */
import type { Profile } from "../gpu/device.ts";

const MIB = 1 << 20;
const GIB = 1 << 30;

/** What Vulkan drivers of graphics cards have in common; they allow a million storage buffers. */
const card = { halfPrecision: true, isSoftware: false, maxStorageBuffers: 1 << 20, maxInvocations: 1024 };

const nvidia: Profile = {
  ...card,
  subgroupSize: 32,
  maxBindingBytes: 2 * GIB - 4,
  maxBufferBytes: 4 * GIB,
  maxWorkgroupBytes: 49_152,
};

/** Mesa's lavapipe: its subgroups are as wide as the CPU's vectors. */
const lavapipe: Profile = {
  subgroupSize: 8,
  isSoftware: true,
  maxBindingBytes: 128 * MIB,
  maxBufferBytes: 2 * GIB,
  maxStorageBuffers: 1 << 20,
  maxInvocations: 1024,
  maxWorkgroupBytes: 32_768,
  halfPrecision: true,
};

/** By the name of what has them. */
export const PROFILES = {
  "WebGPU's guarantees": {
    subgroupSize: 0,
    isSoftware: false,
    maxBindingBytes: 128 * MIB,
    maxBufferBytes: 256 * MIB,
  },
  // Ten storage buffers whatever the card has; not every card's subgroups have one size, so without them.
  "Chromium": {
    subgroupSize: 0,
    isSoftware: false,
    maxBindingBytes: 2 * GIB - 4,
    maxBufferBytes: 2 * GIB,
    maxStorageBuffers: 10,
    maxInvocations: 1024,
    maxWorkgroupBytes: 32_768,
    halfPrecision: true,
  },
  "NVIDIA": nvidia,
  "NVIDIA without subgroups": { ...nvidia, subgroupSize: 0 },
  "AMD": { ...nvidia, subgroupSize: 64, maxWorkgroupBytes: 65_536 },
  // The width of its subgroups varies, so they are not used.
  "Intel": { ...nvidia, subgroupSize: 0, maxBindingBytes: GIB, maxWorkgroupBytes: 32_768 },
  "Apple": { ...nvidia, maxStorageBuffers: 31, maxWorkgroupBytes: 32_768 },
  "Direct3D 12": {
    ...nvidia,
    halfPrecision: false,
    subgroupSize: 0,
    maxStorageBuffers: 16,
    maxWorkgroupBytes: 32_768,
  },
  "lavapipe": lavapipe,
  "lavapipe without subgroups": { ...lavapipe, subgroupSize: 0 },
} satisfies Record<string, Profile>;
