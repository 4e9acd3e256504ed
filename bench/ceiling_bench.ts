/**
 * What the adapter can do at best, which our kernels are compared with.
 *
 * @module
 */
import type { Ceilings } from "../gpu/measure/ceilings.ts";
import { koala } from "./implementations.ts";
import type { Section } from "./section.ts";
import type { Heat } from "./table.ts";

const names: Record<keyof Ceilings, string> = {
  multiplyAddGflops: "multiply-adds without loads",
  bufferCopyGBps: "copyBufferToBuffer, read + written",
  kernelCopyGBps: "kernel copy, read + written",
};

/**
 * Measures the adapter's ceilings. The bench does so before and after all else, since the machine may be slow at
 * either time.
 */
export const ceilingBench: Section = {
  name: "ceilings",
  implementations: () => [koala],
  async measure([runner], { say }) {
    say("ceilings of the adapter");
    const measured = await runner.child!.ask({ ask: "ceilings" }) as Ceilings;
    return Object.entries(names).map(([key, name]): Heat => ({
      title: "ceilings of the adapter, for 10^9 operations or bytes",
      rate: { unit: key === "multiplyAddGflops" ? "GFLOPS" : "GB/s", scale: 1e9 },
      measured: [{ name, samples: [1 / measured[key as keyof Ceilings]], work: 1e9 }],
    }));
  },
};

/** The ceilings of two times, with the samples of both. */
export function mergeCeilings(before: readonly Heat[], after: readonly Heat[]): Heat[] {
  return before.map((heat, i) => {
    const [one, other] = [heat.measured[0], after[i].measured[0]];
    return { ...heat, measured: [{ ...one, samples: [...one.samples, ...other.samples] }] };
  });
}

/** The best rates among the heats of {@linkcode ceilingBench}, in operations or bytes a second. */
export function ceilingsOf(heats: readonly Heat[]): Record<string, number> {
  return Object.fromEntries(heats.map(({ measured: [{ samples, work }] }, i) => [
    Object.keys(names)[i],
    work! / Math.min(...samples),
  ]));
}
