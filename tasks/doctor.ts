/**
 * `deno task doctor`: what this machine offers, and what to do where it lacks something.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { asTyped } from "./command/commands.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
} from "./command/command_line.ts";
import { adapterDocument, checkReportPath, writeReport } from "./doctor/report.ts";
import { type FoundAdapter, listAdapters } from "./gpu/adapters.ts";
import { describeAdapter, gpuOption, openGpu } from "./gpu/open_gpu.ts";

const options = {
  "report": {
    type: "string",
    placeholder: "FILE",
    description:
      "also measure the adapter, for about a minute, and write everything to a JSON file to attach to an issue; " +
      "no user names or paths are in it, and it must be in the folder where the command runs",
  },
  "gpu": gpuOption,
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  if (values.report !== undefined) checkReportPath(values.report);
  const adapters = await listAdapters();
  const machine = {
    deno: Deno.version.deno,
    os: `${Deno.build.os} ${Deno.build.arch}`,
    adapters: adapters.map(adapterDocument),
  };
  let gpu: Gpu;
  try {
    // Fails with the remedy if there is no adapter or its self-test gives wrong values.
    gpu = await openGpu(values.gpu);
  } catch (error) {
    if (values.report !== undefined) await writeReport(values.report, machine, error as Error, output.say);
    throw error;
  }
  try {
    const found = { ...machine, ...examine(gpu, adapters) };
    if (!output.json) { for (const line of linesOf(found, adapters)) output.say(line); }
    if (values.report !== undefined) {
      const isWell = await writeReport(values.report, found, gpu, output.say);
      output.say(
        `report     ${values.report}${isWell ? "" : ": something is wrong with this adapter, see there"}`,
      );
      if (!isWell) Deno.exitCode = 1;
    }
    output.result(found);
  } finally {
    gpu.destroy();
  }
}

/** What the adapter in use offers. */
function examine({ profile, features, description, device: { limits } }: Gpu, adapters: FoundAdapter[]) {
  return {
    adapter: description,
    software: profile.isSoftware,
    self_test: "passed",
    features,
    subgroup_size: profile.subgroupSize,
    limits: {
      max_buffer_bytes: limits.maxBufferSize,
      max_binding_bytes: limits.maxStorageBufferBindingSize,
      max_storage_buffers: limits.maxStorageBuffersPerShaderStage,
      max_workgroup_invocations: limits.maxComputeInvocationsPerWorkgroup,
      max_workgroup_storage_bytes: limits.maxComputeWorkgroupStorageSize,
    },
    advice: advice(profile.isSoftware, adapters.filter((a) => a.description === description)).map(asTyped),
  };
}

function linesOf(
  found: ReturnType<typeof examine> & { readonly deno: string; readonly os: string },
  adapters: FoundAdapter[],
): string[] {
  return [
    `Deno       ${found.deno} on ${found.os}`,
    ...adapters.map((adapter, i) =>
      `--gpu ${`${i}`.padEnd(5)}${describeAdapter(adapter)}${
        adapter.lacks.length > 0 ? `, without ${adapter.lacks.join(" and ")}` : ""
      }`
    ),
    `adapter    ${found.adapter}`,
    `self-test  ${found.self_test}`,
    `features   ${found.features.join(", ") || "none"}`,
    `subgroups  ${found.subgroup_size > 0 ? `${found.subgroup_size} lanes` : "not used"}`,
    ...Object.entries(found.limits).map(([name, value]) =>
      `limit      ${name.replaceAll("_", " ")}: ${value}`
    ),
    ...found.advice.map((line) => `advice     ${line}`),
  ];
}

/** What to do, where `same` are the listed adapters of this name. */
function advice(isSoftware: boolean, same: readonly FoundAdapter[]): string[] {
  if (!isSoftware) return ["train away: deno task train-lm"];
  // The file of Mesa's driver names 1.4 in Mesa 25.0, and 1.1 in 22.3, which knows 1.3.
  const isOldMesa = same.some(({ description, driverVulkan = "" }) =>
    /llvmpipe/.test(description) && /^1\.[0-3]\./.test(driverVulkan)
  );
  return [
    "this adapter runs on the CPU; with a graphics card, install its vendor's Vulkan driver",
    ...(isOldMesa
      ? [
        "a newer Mesa is faster: on Debian 12, Mesa 25 from bookworm-backports is up to four times as fast as 22.3",
      ]
      : []),
    "small models train well all the same: deno task train-lm",
  ];
}

/** The command; started here, or by `cli.ts`. */
export const task: Task<typeof options> = {
  name: "doctor",
  summary:
    "Shows the WebGPU adapters, and the features and limits of the one that is used, runs a self-test and " +
    "says what to do.",
  options,
  examples: ["deno task doctor", "deno task doctor --report doctor.json"],
  main,
};

if (import.meta.main) await runTask(task);
