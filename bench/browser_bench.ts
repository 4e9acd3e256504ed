/**
 * The training step of the same tiny GPT in headless Chromium, on Dawn and SwiftShader, ours beside the peers'.
 *
 * @module
 */
import { browserImplementations, koala } from "./implementations.ts";
import { race } from "./rounds.ts";
import type { Section } from "./section.ts";
import { checkLosses, TINY, TINY_LOSSES, TOKENS } from "./step_bench.ts";

/** Measures a step with AdamW. */
export const browserBench: Section = {
  name: "browser",
  implementations: () => browserImplementations,
  async measure(runners, { rounds, say }) {
    const title = "GPT step in Chromium, SwiftShader: 4 layers, d=128, 4 heads, T=128, B=8, V=2048";
    say(title);
    const contestants = runners.map((runner) => ({
      name: runner.name,
      runner,
      what: { kind: "step" as const, model: TINY, optimizer: "adamw" },
      work: TINY.batch * TINY.seqLen,
      // Peers without biases, and with another gelu, agree less after updates.
      check: checkLosses(TINY_LOSSES, runner.name === koala.name ? 1e-4 : 5e-3),
    }));
    const aims = Object.fromEntries(runners.slice(1).map(({ name }) => [name, "3.00x"]));
    return [{ title, rate: TOKENS, aims, measured: await race(contestants, { rounds, seconds: 1 }) }];
  },
};
