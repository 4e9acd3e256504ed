/**
 * What the adapter can do at best: the ceilings that kernels are measured against. Copies are larger than caches,
 * so a kernel on small tensors may be above their ceiling.
 *
 * @module
 */
import { timeSubmission } from "../clock.ts";
import type { Gpu } from "../device.ts";

/** The best of several measurements, so that other work on the machine counts as little as possible. */
export interface Ceilings {
  /** Billions of floating point operations per second of independent f32 multiply-adds without loads. */
  readonly multiplyAddGflops: number;
  /** Billions of bytes per second, read and written ones, of `copyBufferToBuffer`. */
  readonly bufferCopyGBps: number;
  /** Billions of bytes per second, read and written ones, of a copying kernel. */
  readonly kernelCopyGBps: number;
}

/** Bytes that are copied: more than caches hold, where the adapter allows it. */
const COPY_BYTES = 64 << 20;
/** Time that a measurement should take at least, in nanoseconds: many short ones find the quiet moments. */
const ENOUGH = 15e6;
const TRIES = 8;

/**
 * Measures the adapter's ceilings in a few seconds.
 *
 * @param gpu The device, which should have nothing else to do.
 */
export async function measureCeilings(gpu: Gpu): Promise<Ceilings> {
  const copies = await copyCeilings(gpu);
  let multiplyAddGflops = 0;
  // How many chains hide the latency of a multiply-add and still fit into the registers depends on the adapter.
  for (const chains of [2, 4, 8]) {
    multiplyAddGflops = Math.max(multiplyAddGflops, await multiplyAdds(gpu, chains));
  }
  return { multiplyAddGflops, ...copies };
}

/** GFLOPS of threads with `chains` chains of vec4f multiply-adds each. */
async function multiplyAdds(gpu: Gpu, chains: number): Promise<number> {
  const [threads, unrolled] = [64 * 1024, 16];
  const all = [...Array(chains).keys()];
  const code = `
@group(0) @binding(0) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(1) var<storage, read> turns: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  // Not known to the compiler, and both keep the chains away from infinity and from denormal numbers.
  let factor = values[0];
  let added = values[1];
  ${all.map((c) => `var x${c} = vec4f(f32(id.x + ${c}u));`).join(" ")}
  for (var i = 0u; i < turns[0]; i++) {
    ${
    [...Array(unrolled)].map(() => all.map((c) => `x${c} = fma(x${c}, factor, added);`).join(" ")).join(
      "\n    ",
    )
  }
  }
  values[id.x + 2u] = ${all.map((c) => `x${c}`).join(" + ")};
}`;
  const values = gpu.device.createBuffer({
    size: (threads + 2) * 16,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  const turns = gpu.device.createBuffer({
    size: 4,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  try {
    gpu.device.queue.writeBuffer(values, 0, Float32Array.of(0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1));
    const dispatch = await dispatcher(gpu, code, [values, turns], threads / 64);
    return await best(gpu, dispatch, (count) => {
      gpu.device.queue.writeBuffer(turns, 0, Uint32Array.of(count));
      return threads * count * unrolled * chains * 4 * 2;
    });
  } finally {
    values.destroy();
    turns.destroy();
  }
}

async function copyCeilings(gpu: Gpu): Promise<Pick<Ceilings, "bufferCopyGBps" | "kernelCopyGBps">> {
  const { maxBindingBytes } = gpu.profile;
  const size = Math.min(COPY_BYTES, maxBindingBytes - maxBindingBytes % 256);
  const vectors = size / 16;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const [from, to] = [gpu.device.createBuffer({ size, usage }), gpu.device.createBuffer({ size, usage })];
  try {
    const repeat = (encode: (encoder: GPUCommandEncoder) => void) => {
      let times = 1;
      return best(gpu, (encoder) => {
        for (let i = 0; i < times; i++) encode(encoder);
      }, (count) => (times = count) * size * 2);
    };
    // Neighbouring threads copy neighbouring vectors, one each or many: which is faster depends on the driver.
    let kernelCopyGBps = 0;
    for (const threads of [16 * 1024, vectors]) {
      const copy = "values[i] = source[i];";
      const code = `
@group(0) @binding(0) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3u) {
  ${
        threads === vectors
          ? `let i = id.x; ${copy}`
          : `for (var i = id.x; i < ${vectors}u; i += ${threads}u) { ${copy} }`
      }
}`;
      const dispatch = await dispatcher(gpu, code, [to, from], Math.ceil(threads / 256));
      kernelCopyGBps = Math.max(kernelCopyGBps, await repeat(dispatch));
    }
    const copyBuffers = (encoder: GPUCommandEncoder) => encoder.copyBufferToBuffer(from, 0, to, 0, size);
    return { bufferCopyGBps: await repeat(copyBuffers), kernelCopyGBps };
  } finally {
    from.destroy();
    to.destroy();
  }
}

/** Compiles a kernel over a written and a read buffer; returns what encodes its dispatch. */
async function dispatcher(
  gpu: Gpu,
  code: string,
  buffers: readonly GPUBuffer[],
  groups: number,
): Promise<(encoder: GPUCommandEncoder) => void> {
  const module = gpu.device.createShaderModule({ code });
  const pipeline = await gpu.device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const bindGroup = gpu.device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return (encoder) => {
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(groups);
    pass.end();
  };
}

/**
 * The most work per nanosecond over some tries.
 *
 * @param encode Encodes as much work as `prepare` was last told.
 * @param prepare Sets how often the work is done, and returns how much that is in all.
 */
async function best(
  gpu: Gpu,
  encode: (encoder: GPUCommandEncoder) => void,
  prepare: (count: number) => number,
): Promise<number> {
  prepare(1);
  await timeSubmission(gpu, encode); // compiles the kernel and touches the memory
  let count = 1;
  for (; count < 1 << 16; count *= 2) {
    prepare(count);
    if ((await timeSubmission(gpu, encode)).gpu >= ENOUGH) break;
  }
  let rate = 0;
  for (let i = 0; i < TRIES; i++) {
    const work = prepare(count);
    rate = Math.max(rate, work / (await timeSubmission(gpu, encode)).gpu);
  }
  return rate;
}
