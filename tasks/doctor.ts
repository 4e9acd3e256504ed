/**
 * `deno task doctor`: what this machine offers, and what to do where it lacks something.
 *
 * @module
 */
import { requestGpu } from "../gpu/device.ts";
import { asTyped } from "./command/commands.ts";
import {
  jsonOption,
  type OptionValues,
  runTask,
  type Task,
  type TaskContext,
} from "./command/command_line.ts";

const options = { "json": jsonOption } as const;

async function main(_values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  // Fails with the remedy if there is no adapter or its self-test gives wrong values.
  const gpu = await requestGpu();
  const { profile, features, description } = gpu;
  const limits = gpu.device.limits;
  const report = {
    deno: Deno.version.deno,
    os: `${Deno.build.os} ${Deno.build.arch}`,
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
    advice: advice(profile.isSoftware, description).map(asTyped),
  };
  gpu.destroy();
  const lines = [
    `Deno       ${report.deno} on ${report.os}`,
    `adapter    ${report.adapter}`,
    "self-test  passed",
    `features   ${features.join(", ") || "none"}`,
    `subgroups  ${profile.subgroupSize > 0 ? `${profile.subgroupSize} lanes` : "not used"}`,
    ...Object.entries(report.limits).map(([name, value]) =>
      `limit      ${name.replaceAll("_", " ")}: ${value}`
    ),
    ...report.advice.map((line) => `advice     ${line}`),
  ];
  if (output.json) output.result(report);
  else for (const line of lines) output.say(line);
}

function advice(isSoftware: boolean, description: string): string[] {
  if (!isSoftware) return ["train away: deno task train-lm"];
  return [
    "this adapter runs on the CPU; with a graphics card, install its vendor's Vulkan driver",
    ...(/llvmpipe/.test(description)
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
  summary: "Shows the WebGPU adapter, its features and limits, runs a self-test and says what to do.",
  options,
  main,
};

if (import.meta.main) await runTask(task);
