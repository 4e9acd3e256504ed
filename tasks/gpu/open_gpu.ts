/**
 * Opens the graphics adapter that the user chose.
 *
 * @module
 */
import { basename } from "node:path";
import { type Gpu, requestGpu } from "../../gpu/device.ts";
import { asTyped } from "../command/commands.ts";
import { type StringOption, UsageError } from "../command/command_line.ts";
import { askedBackends, BACKENDS, type FoundAdapter, listAdapters, useDriversOf } from "./adapters.ts";

/** The `gpu` option of tasks that compute. */
export const gpuOption = {
  type: "string",
  placeholder: "INDEX|NAME",
  group: "General",
  description:
    `the adapter to use: its number in the list of ${
      asTyped("deno task doctor")
    }, or a part of its name or ` +
    "its driver's (default: the fastest)",
} as const satisfies StringOption;

/**
 * Opens an adapter. To be called before anything else in this thread asks for one.
 *
 * @param choice The value of `--gpu`. Default: the fastest adapter, and nothing is listed.
 * @throws {UsageError} If no adapter, or more than one, is meant.
 * @throws {GpuUnavailableError} If there is no adapter; OpenGL's software renderer counts where
 * `DENO_WEBGPU_BACKEND` asks for `gl`, or it was chosen.
 * @throws {GpuError} If the self-test fails.
 */
export async function openGpu(choice?: string): Promise<Gpu> {
  if (choice === undefined) return await requestGpu({ softwareGl: askedBackends()?.includes("gl") });
  const chosen = chooseAdapter(await listAdapters(), choice);
  useDriversOf(chosen);
  return await requestGpu({ softwareGl: true, powerPreference: chosen.power_preference });
}

/**
 * The adapter that is meant.
 *
 * @param adapters Those that there are.
 * @param choice A number from 0, or a part of the name of an adapter or of its driver's file, in any case.
 * @throws {UsageError} If none is meant, or more than one.
 */
export function chooseAdapter(adapters: readonly FoundAdapter[], choice: string): FoundAdapter {
  const named = (text: string | undefined) => text?.toLowerCase().includes(choice.toLowerCase());
  const meant = /^\d+$/.test(choice) && Number(choice) < adapters.length
    ? adapters.slice(Number(choice), Number(choice) + 1)
    : adapters.filter(({ description, driverFile }) => named(description) || named(driverFile));
  if (meant.length === 1) return meant[0];
  const list = adapters.map((adapter, i) => `${i}: ${describeAdapter(adapter)}`).join("; ") || "none";
  throw new UsageError(
    `--gpu must mean one adapter, got ${choice}, which means ${meant.length || "none"} of ${list}`,
  );
}

/** An adapter in a line: name, backend, driver. */
export function describeAdapter({ description, backend, driverFile, driverVulkan }: FoundAdapter): string {
  const driver = driverFile === undefined ? "" : `, ${basename(driverFile)}`;
  return `${description}, ${BACKENDS[backend]}${driver}${driverVulkan ? ` of Vulkan ${driverVulkan}` : ""}`;
}
