/**
 * What the adapter can do at best, in plain WebGPU: multiply-adds without loads, and copies.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import type { CeilingCase } from "../protocol.ts";
import type { Prepared } from "../serve.ts";

// Vectors of four a thread, and uses of each in the loop's body: the fastest of many pairs on lavapipe.
const CHAINS = 12;
const UNROLLED = 8;
const LOOPS = 512;
const THREADS = 16_384;
const COPY_BYTES = 64 << 20;

const multiplyAddCode = `
@group(0) @binding(0) var<storage, read> factors: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let a = vec4f(factors[0]);
  let b = vec4f(factors[1]);
  ${chains((c) => `var x${c} = vec4f(f32(id.x & 1023u) + ${c}.0, 0.25, 0.5, 0.75);`)}
  for (var i = 0u; i < ${LOOPS}u; i++) {
    ${Array(UNROLLED).fill(chains((c) => `x${c} = fma(x${c}, a, b);`)).join("\n    ")}
  }
  out[id.x] = ${[...Array(CHAINS).keys()].map((c) => `x${c}`).join(" + ")};
}`;

const COPY_THREADS = 4096;

const copyCode = `
@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  for (var i = id.x; i < ${COPY_BYTES / 16}u; i += ${COPY_THREADS}u) { out[i] = source[i]; }
}`;

/** Compiles one of the kernels, runs it and checks what it leaves. */
export async function prepareCeiling(gpu: Gpu, { what }: CeilingCase): Promise<Prepared> {
  const { device } = gpu;
  const isCopy = what !== "multiply_add";
  const factors = Float32Array.of(0.999, 0.001);
  const source = isCopy ? Float32Array.from({ length: COPY_BYTES / 4 }, (_, i) => i % 65_521) : factors;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const from = device.createBuffer({ size: source.byteLength, usage });
  const to = device.createBuffer({ size: isCopy ? COPY_BYTES : THREADS * 16, usage });
  device.queue.writeBuffer(from, 0, source);
  let encode = (encoder: GPUCommandEncoder) => encoder.copyBufferToBuffer(from, 0, to, 0, COPY_BYTES);
  if (what !== "copy_buffer") {
    const module = device.createShaderModule({ code: isCopy ? copyCode : multiplyAddCode });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
    const bindGroup = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [from, to].map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    encode = (encoder) => {
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups((isCopy ? COPY_THREADS : THREADS) / 64);
      pass.end();
    };
  }
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const encoder = device.createCommandEncoder();
      encode(encoder);
      device.queue.submit([encoder.finish()]);
    }
    await device.queue.onSubmittedWorkDone();
    gpu.check();
  };
  await run(1);
  const got = await readBuffer(device, to);
  const wrong = isCopy ? source.findIndex((x, i) => got[i] !== x) : firstWrongSum(got, factors);
  if (wrong >= 0) throw new Error(`${what}: wrong value ${got[wrong]} at ${wrong}`);
  return {
    ready: { work: isCopy ? 2 * COPY_BYTES : 2 * THREADS * LOOPS * UNROLLED * CHAINS * 4 },
    run,
    release: () => [from, to].forEach((buffer) => buffer.destroy()),
  };
}

/** The first of the results' x components that the chains in f32 do not give, or -1. */
function firstWrongSum(got: Float32Array, [a, b]: Float32Array): number {
  for (const thread of [0, 1, 777, THREADS - 1]) {
    let sum = 0;
    for (let c = 0; c < CHAINS; c++) {
      let x = (thread & 1023) + c;
      for (let i = 0; i < LOOPS * UNROLLED; i++) x = Math.fround(x * a + b);
      sum += x;
    }
    if (!(Math.abs(got[thread * 4] - sum) <= 1e-3 * sum)) return thread * 4;
  }
  return -1;
}

function chains(statement: (chain: number) => string): string {
  return [...Array(CHAINS).keys()].map(statement).join(" ");
}

async function readBuffer(device: GPUDevice, buffer: GPUBuffer): Promise<Float32Array> {
  const staging = device.createBuffer({
    size: buffer.size,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const values = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return values;
}
