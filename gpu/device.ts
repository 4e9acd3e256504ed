/**
 * The WebGPU device: adapter choice, limits, optional features, a self-test, and errors that people can act on.
 *
 * @module
 */

/** What kernels may know about the adapter when they choose a variant. */
export interface Profile {
  /** Lanes of a subgroup where subgroup operations were seen to work and have one fixed size; otherwise 0. */
  readonly subgroupSize: number;
  /** True on an adapter that runs on the CPU (Mesa lavapipe, SwiftShader). */
  readonly isSoftware: boolean;
  /** The largest byte length that one storage binding may have. */
  readonly maxBindingBytes: number;
  /** The largest byte length that one buffer may have. */
  readonly maxBufferBytes: number;
  /** The most tensors that one kernel may bind; default 8, which WebGPU guarantees. */
  readonly maxStorageBuffers?: number;
  /** The most threads of a workgroup; default 256, which WebGPU guarantees. */
  readonly maxInvocations?: number;
  /** The most bytes of a workgroup's memory; default 16,384, which WebGPU guarantees. */
  readonly maxWorkgroupBytes?: number;
  /** Whether WGSL's `fma` is as fast as a product and a sum; default true. On SwiftShader it is not. */
  readonly hasFastFma?: boolean;
  /** Whether kernels may store f16 (WebGPU's `shader-f16`); default false. */
  readonly halfPrecision?: boolean;
}

/** A WebGPU device that passed its self-test. Made by {@linkcode requestGpu}. */
export interface Gpu {
  /** The device itself, for code that needs WebGPU directly. */
  readonly device: GPUDevice;
  /** The adapter's own description, such as `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  /** Optional features that the device was given, such as `timestamp-query`. */
  readonly features: readonly string[];
  /** What every kernel's WGSL must begin with: the directive for subgroups where the compiler wants one, or nothing. */
  readonly preamble: string;
  /** What kernels are specialised for. */
  readonly profile: Profile;
  /**
   * Milliseconds that one submission of a program should take, as far as kernels can be parted; default 100, and on
   * software adapters without bound.
   */
  readonly submissionMs?: number;
  /**
   * Throws the first error that WebGPU reported since the last call, or the loss of the device.
   *
   * @throws {GpuError} If there was one; a {@linkcode DeviceLostError} if the device is lost.
   */
  check(): void;
  /** Gives all GPU memory back. Later use of the device does nothing. */
  destroy(): void;
}

/** An error that WebGPU reported: a validation or memory error, a lost device, a failed self-test. */
export class GpuError extends Error {
  /** Always `GpuError`. */
  override name = "GpuError";
}

/** The device is gone, and all that was in its memory: its driver reset it or crashed, or the card was taken away. */
export class DeviceLostError extends GpuError {
  /** Always `DeviceLostError`. */
  override name = "DeviceLostError";
}

/** No adapter can be used. The message says what to install or update. */
export class GpuUnavailableError extends Error {
  /** Always `GpuUnavailableError`. */
  override name = "GpuUnavailableError";
}

/** Options of {@linkcode requestGpu}. */
export interface GpuOptions {
  /** Use subgroup operations where they work; default true. False is for testing the other kernels. */
  subgroups?: boolean;
  /** Which of several adapters: the fastest, by default, or the one that takes the least power. */
  powerPreference?: GPUPowerPreference;
  /** Take OpenGL's software renderer where that is all there is; default false, since Vulkan's is faster. */
  softwareGl?: boolean;
}

/** What to do where there is no adapter, by how the platform's name begins. */
const REMEDIES = {
  Linux: "install your GPU vendor's Vulkan driver, or the software adapter: sh setup.sh " +
    "(Debian and Ubuntu: apt-get install mesa-vulkan-drivers; Fedora: dnf install mesa-vulkan-drivers; " +
    "Arch: pacman -S vulkan-swrast)",
  Mac: "Metal should be there on every Mac since 2013; run outside of a virtual machine without Metal",
  Win: "update the graphics driver: Deno needs Direct3D 12 or Vulkan",
};

/** What to do on this platform where there is no adapter. */
function remedy(): string {
  const { platform } = navigator;
  return Object.entries(REMEDIES).find(([name]) => platform.startsWith(name))?.[1] ??
    "install a Vulkan driver";
}

/**
 * Whether an adapter is Mesa's software renderer by way of OpenGL, which is what there is without a Vulkan driver. It
 * has the name of Mesa's Vulkan adapter, but wgpu's OpenGL knows no subgroup sizes, so that WebGPU's bounds stand in
 * their place; on Vulkan there is one size.
 */
function isSoftwareGl(info: GPUAdapterInfo): boolean {
  return /llvmpipe|softpipe/i.test(info.description) && info.subgroupMinSize === 4 &&
    info.subgroupMaxSize === 128;
}

/**
 * Opens the fastest adapter with its own limits and runs a self-test with known answers, since drivers
 * have been seen to return zeros without an error.
 *
 * @param options See {@linkcode GpuOptions}.
 * @returns The device. Call `destroy()` when done.
 * @throws {GpuUnavailableError} If there is no adapter, or none but OpenGL's software renderer, with the remedy for
 * this platform.
 * @throws {GpuError} If the self-test fails.
 */
export async function requestGpu(options: GpuOptions = {}): Promise<Gpu> {
  const { powerPreference = "high-performance" } = options;
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference });
  if (!adapter) {
    throw new GpuUnavailableError(
      `WebGPU needs a graphics adapter and found none on ${navigator.platform}: ${remedy()}`,
    );
  }
  if (!options.softwareGl && isSoftwareGl(adapter.info)) {
    throw new GpuUnavailableError(
      `WebGPU needs a Vulkan driver and found only OpenGL's software renderer: ${remedy()}`,
    );
  }
  // lavapipe does not list "subgroups" but grants it, so it is asked for and done without if refused.
  const listed = ["shader-f16", "timestamp-query"].filter((f) => adapter.features.has(f as GPUFeatureName));
  const wanted = options.subgroups === false ? [listed] : [[...listed, "subgroups"], listed];
  const limits = adapter.limits;
  const requiredLimits = {
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
  };
  let opened: GPUDevice | undefined;
  let refusal: unknown;
  for (const features of wanted) {
    // A refused request uses up the adapter, so the next try asks for a fresh one.
    const fresh = features === wanted[0] ? adapter : await navigator.gpu.requestAdapter({ powerPreference });
    try {
      opened = await fresh!.requestDevice({ requiredFeatures: features as GPUFeatureName[], requiredLimits });
      break;
    } catch (error) {
      refusal = error;
    }
  }
  if (!opened) {
    throw new GpuUnavailableError(`the adapter ${adapter.info.description} gives no device: ${refusal}`);
  }
  return await testedGpu(opened, adapter.info, listed);
}

/** Watches a device for errors, tests it and tells what it has. */
async function testedGpu(device: GPUDevice, info: GPUAdapterInfo, listed: readonly string[]): Promise<Gpu> {
  let firstError: GpuError | undefined;
  let gone = false;
  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault();
    if (gone) return;
    const { error } = event as GPUUncapturedErrorEvent;
    const remedy = error instanceof GPUOutOfMemoryError ? "; use a smaller batch or model" : "";
    firstError ??= new GpuError(
      `WebGPU reported an error on ${info.description}: ${error.message}${remedy}`,
    );
  });
  device.lost.then(({ message, reason }) => {
    if (gone) return;
    gone = true;
    const why = message && message !== "device was lost"
      ? ` (${message})`
      : reason === "destroyed"
      ? ` (${reason})`
      : "";
    // Other errors may have come of it.
    firstError = new DeviceLostError(
      `The device ${info.description} was lost${why}: its driver reset it or crashed. Update the driver, ` +
        "close what else uses the card, or give it less to do at a time",
    );
  });

  const check = () => {
    if (firstError === undefined) return;
    const error = firstError;
    firstError = undefined;
    throw error;
  };
  const destroy = () => {
    gone = true;
    device.destroy();
  };

  try {
    await selfTest(device, check);
    const subgroups = device.features.has("subgroups" as GPUFeatureName)
      ? await probeSubgroups(device, info)
      : undefined;
    return {
      device,
      description: info.description ||
        [info.vendor, info.architecture, info.device].filter(Boolean).join(" "),
      features: [...listed, ...(subgroups ? ["subgroups"] : [])].sort(),
      preamble: subgroups?.preamble ?? "",
      profile: {
        subgroupSize: subgroups?.size ?? 0,
        isSoftware: info.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader/i.test(info.description),
        maxBindingBytes: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
        maxBufferBytes: device.limits.maxBufferSize,
        maxStorageBuffers: device.limits.maxStorageBuffersPerShaderStage,
        maxInvocations: device.limits.maxComputeInvocationsPerWorkgroup,
        maxWorkgroupBytes: device.limits.maxComputeWorkgroupStorageSize,
        hasFastFma: info.architecture !== "swiftshader",
        halfPrecision: listed.includes("shader-f16"),
      },
      check,
      destroy,
    };
  } catch (error) {
    destroy();
    throw error;
  }
}

/** Runs one kernel over `count` u32 values and returns them; an error of its code is thrown and not reported again. */
async function runProbe(
  device: GPUDevice,
  code: string,
  count: number,
  groups: number,
): Promise<Uint32Array> {
  const out = device.createBuffer({
    size: count * 4,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const staging = device.createBuffer({
    size: count * 4,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  try {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code });
    const invalid = await device.popErrorScope();
    if (invalid) throw new GpuError(invalid.message);
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: out } }],
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(groups);
    pass.end();
    encoder.copyBufferToBuffer(out, 0, staging, 0, count * 4);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    return new Uint32Array(staging.getMappedRange().slice(0));
  } finally {
    out.destroy();
    staging.destroy();
  }
}

/**
 * Runs a kernel with known answers, of the largest workgroups and the most memory that WebGPU guarantees, in more
 * workgroups than run at once. WGSL's workgroup memory begins as zeros whatever the workgroup before left there, and
 * clearing it must be over before anything is written: a driver was seen where it was not (wgpu issue 4591).
 */
async function selfTest(device: GPUDevice, check: () => void): Promise<void> {
  const [threads, groups] = [256, 128];
  const code = `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
var<workgroup> partial: array<f32, 4096>;
@compute @workgroup_size(256) fn main(
  @builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  var x = exp(f32(id.x % 8u)) * 0.5;
  for (var i = 2048u + lane; i < 4096u; i += 256u) { x += partial[i]; } // zeros
  for (var i = lane; i < 2048u; i += 256u) { partial[2047u - i] = x; }
  workgroupBarrier();
  var sum = 0.0;
  for (var i = lane; i < 2048u; i += 256u) { sum += partial[i]; }
  for (var i = 2048u + lane; i < 4096u; i += 256u) { partial[6143u - i] = f32(lane); }
  workgroupBarrier();
  out[id.x] = bitcast<u32>(sum + partial[2048u + lane]);
}`;
  const got = new Float32Array((await runProbe(device, code, threads * groups, groups)).buffer);
  check();
  for (let i = 0; i < got.length; i++) {
    const other = threads - 1 - i % threads;
    const expected = 8 * Math.exp(other % 8) / 2 + other;
    if (!(Math.abs(got[i] - expected) <= 1e-5 * expected)) {
      throw new GpuError(
        `the GPU self-test computes wrong values: element ${i} must be ${expected}, got ${got[i]}; ` +
          "update the graphics driver or Deno (deno upgrade), or use another adapter",
      );
    }
  }
}

/**
 * Whether broadcasts give the known answer.
 *
 * @returns The size of subgroups, 0 if it varies, and what kernels must begin with; nothing if they don't work.
 */
async function probeSubgroups(
  device: GPUDevice,
  info: GPUAdapterInfo,
): Promise<{ size: number; preamble: string } | undefined> {
  const body = `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u,
  @builtin(subgroup_size) size: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let x = id.x * 3u + 1u;
  let third = subgroupBroadcast(x, 3u);
  out[id.x * 2u] = size;
  out[id.x * 2u + 1u] = select(0u, 1u, third == (id.x - lane + 3u) * 3u + 1u);
}`;
  // WGSL requires the directive, and naga (Deno) refuses it.
  for (const preamble of ["enable subgroups;\n", ""]) {
    try {
      const got = await runProbe(device, preamble + body, 256, 2);
      if (got.some((value, i) => i % 2 === 1 && value !== 1)) return undefined;
      const isFixed = info.subgroupMinSize === info.subgroupMaxSize &&
        got.every((value, i) => i % 2 === 1 || value === got[0]);
      return { size: isFixed ? got[0] : 0, preamble };
    } catch {
      // The other one, or none.
    }
  }
  return undefined;
}
