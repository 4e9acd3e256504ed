/**
 * What the adapter can do at best, which our kernels are compared with.
 *
 * @module
 */
import { koala } from "./implementations.ts";
import { BYTES } from "./optimizer_bench.ts";
import type { CeilingCase } from "./protocol.ts";
import { race } from "./rounds.ts";
import type { Section } from "./section.ts";
import type { Ceilings, Heat } from "./table.ts";

const ceilingNames: Record<CeilingCase["what"], string> = {
  multiply_add: "multiply-adds without loads",
  copy_buffer: "copyBufferToBuffer, read + written",
  copy_kernel: "kernel copy, read + written",
};

const whats = Object.keys(ceilingNames) as CeilingCase["what"][];

/**
 * Measures the adapter's ceilings. The bench does so before and after all else, since the machine may be slow at
 * either time.
 */
export const ceilingBench: Section = {
  name: "ceilings",
  implementations: () => [koala],
  async measure([runner], { rounds, say }) {
    say("ceilings of the adapter");
    const measured = await race(
      whats.map((what) => ({ name: ceilingNames[what], runner, what: { kind: "ceiling", what } })),
      { rounds, seconds: 0.3 },
    );
    const title = "ceilings of the adapter";
    return measured.map((one, i) => ({
      title,
      rate: whats[i] === "multiply_add" ? { unit: "GFLOPS", scale: 1e9 } : BYTES,
      measured: [one],
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

/** The best rates among the heats of {@linkcode ceilingBench}. */
export function ceilingsOf(heats: readonly Heat[]): Ceilings {
  return Object.fromEntries(
    heats.flatMap(({ measured: [{ samples, work }] }, i) =>
      samples.length > 0 ? [[whats[i], work! / Math.min(...samples)]] : []
    ),
  );
}
