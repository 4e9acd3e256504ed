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
  /** All that it lists. */
  readonly features: readonly string[];
  /** WebGPU's limits by their names. */
  readonly limits: Readonly<Record<string, number>>;
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
      features: [...features].sort(),
      limits: numbersOf(limits),
    };
    const isKnown = found.some(({ power_preference: _, ...other }) =>
      JSON.stringify(other) === JSON.stringify(facts)
    );
    if (!isKnown) found.push({ ...facts, power_preference });
  }
  return found;
}

/** The limits are getters of a class, which neither JSON nor messages carry. */
function numbersOf(limits: GPUSupportedLimits): Record<string, number> {
  const numbers: Record<string, number> = {};
  for (const name in limits) {
    const value: unknown = limits[name as keyof GPUSupportedLimits];
    if (typeof value === "number") numbers[name] = value;
  }
  return numbers;
}

const thread = self as unknown as {
  onmessage: () => void;
  postMessage(message: readonly AdapterFacts[]): void;
};
thread.onmessage = async () => thread.postMessage(await adapters());
