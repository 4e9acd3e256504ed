/**
 * WebGPU without machine learning: a device that passed its self-test, and a {@linkcode Graph} that records kernels over
 * symbolic tensors (and how to differentiate them), to be compiled once and replayed. Nothing here needs Deno.
 *
 * @example Run a kernel of your own
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * import { compileProgram, Graph, perThread, requestGpu } from "@koala-lm/koala-lm/gpu";
 *
 * const gpu = await requestGpu();
 * const g = new Graph({ profile: gpu.profile });
 * const x = g.input("x", [4], "f32");
 * const y = g.output("y", [4]);
 * g.dispatch({
 *   label: "double",
 *   read: { x },
 *   write: { y },
 *   ...perThread({ count: 4, statements: "y[i] = 2.0 * x[i];" }),
 * });
 * const program = await compileProgram(gpu, g);
 * program.write("x", Float32Array.of(1, 2, 3, 4));
 * program.run();
 * const [values] = await program.read(y);
 * deepEqual([...values], [2, 4, 6, 8]);
 * program.destroy();
 * gpu.destroy();
 * ```
 *
 * @module
 */
export {
  DeviceLostError,
  type Gpu,
  GpuError,
  type GpuOptions,
  GpuUnavailableError,
  type Profile,
  requestGpu,
} from "./device.ts";
export {
  type Choice,
  type Collected,
  type Constant,
  type DispatchOptions,
  type GradientTarget,
  Graph,
  type GraphOptions,
  type Input,
  type Operand,
  type UpdateSegment,
  vec4,
} from "./graph.ts";
export type { Access, Binding, Kernel, WgslType } from "./kernel.ts";
export type { MemoryPlan } from "./plan.ts";
export {
  type Initializer,
  type Parameter,
  type ParameterRole,
  type ParameterSpec,
  ParameterStore,
} from "./parameters.ts";
export type { ClockMethod, SubmissionTime } from "./clock.ts";
export type { KernelTime, ReplayProfile } from "./profile.ts";
export { compileProgram, type Program } from "./program.ts";
export { readTensors } from "./readback.ts";
export { type Precision, requirePrecision } from "./precision/precision.ts";
export { type Dtype, type Place, Storage, type StorageKind, Tensor } from "./tensor.ts";
export { f32, type Launch, type LaunchOptions, mainInputs, opaque, perThread, perWorkgroup } from "./wgsl.ts";
