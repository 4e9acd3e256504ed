import { equal, throws } from "node:assert/strict";
import type { FoundAdapter } from "./adapters.ts";
import { chooseAdapter, describeAdapter } from "./open_gpu.ts";

/** A card of this name and driver. */
function card(description: string, driver?: string): FoundAdapter {
  const driverFile = driver && `/drivers/${driver}`;
  return {
    description,
    vendor: "0",
    device: "0",
    software: false,
    lacks: [],
    features: [],
    limits: {},
    power_preference: "low-power",
    backend: driver ? "vulkan" : "metal",
    driverFile,
    driverVulkan: driver && "1.3.1",
  };
}

const cards = [
  card("NVIDIA GeForce RTX 4090", "nvidia_icd.json"),
  card("NVIDIA RTX A2000", "nvidia_icd.json"),
  card("AMD Radeon 780M", "radeon_icd.json"),
];

Deno.test("chooseAdapter() takes a number of the list, or a part of one adapter's or driver's name", () => {
  for (
    const [choice, index] of [["0", 0], ["2", 2], ["4090", 0], ["a2000", 1], ["radeon_ICD", 2]] as const
  ) {
    equal(chooseAdapter(cards, choice), cards[index], choice);
  }
});

Deno.test("chooseAdapter() refuses what means no adapter or several, and lists them", () => {
  const list = "0: NVIDIA GeForce RTX 4090, Vulkan, nvidia_icd.json of Vulkan 1.3.1; 1: NVIDIA RTX A2000";
  for (const [choice, count] of [["3", "none"], ["intel", "none"], ["nvidia", "2"], ["", "3"]]) {
    throws(() => chooseAdapter(cards, choice), (error: Error) => {
      equal(error.name, "UsageError");
      const start = `--gpu must mean one adapter, got ${choice}, which means ${count} of ${list}`;
      return error.message.startsWith(start);
    });
  }
  throws(() => chooseAdapter([], "0"), /which means none of none$/);
});

Deno.test("describeAdapter() names the backend where there is no driver's file", () => {
  equal(describeAdapter(card("Apple M3")), "Apple M3, Metal");
});
