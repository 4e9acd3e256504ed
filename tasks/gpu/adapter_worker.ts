/**
 * Asks for adapters in a thread of its own: Deno loads graphics drivers once in each, so that another thread may
 * still be given others.
 *
 * @module
 */

/** What an adapter says of itself. */
export interface AdapterFacts {
  /** Its name, such as `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly description: string;
  /** The number of its vendor. */
  readonly vendor: string;
  /** The vendor's number for it. */
  readonly device: string;
  /** Whether it runs on the CPU. */
  readonly software: boolean;
  /** WebGPU features that the toolkit looks at and that it does not list. */
  readonly lacks: readonly string[];
  /** Storage buffers that a kernel may bind. */
  readonly max_storage_buffers: number;
  /** The largest binding in bytes. */
  readonly max_binding_bytes: number;
  /** The power preference by which it was asked for. */
  readonly power_preference: GPUPowerPreference;
}

/** Adapters for both power preferences: one, two or none. */
async function adapters(): Promise<AdapterFacts[]> {
  const found: AdapterFacts[] = [];
  for (const power_preference of ["high-performance", "low-power"] as const) {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: power_preference });
    if (!adapter) continue;
    const { info, limits, features } = adapter;
    const wanted = ["shader-f16", "timestamp-query"] as const;
    const facts = {
      description: info.description,
      vendor: info.vendor,
      device: info.device,
      software: info.isFallbackAdapter,
      lacks: wanted.filter((feature) => !features.has(feature)),
      max_storage_buffers: limits.maxStorageBuffersPerShaderStage,
      max_binding_bytes: limits.maxStorageBufferBindingSize,
    };
    const isKnown = found.some(({ power_preference: _, ...other }) =>
      JSON.stringify(other) === JSON.stringify(facts)
    );
    if (!isKnown) found.push({ ...facts, power_preference });
  }
  return found;
}

const thread = self as unknown as {
  onmessage: () => void;
  postMessage(message: readonly AdapterFacts[]): void;
};
thread.onmessage = async () => thread.postMessage(await adapters());
