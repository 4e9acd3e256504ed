/**
 * The training step of the same tiny GPT in headless Chromium, on Dawn and SwiftShader, ours beside the peers'.
 *
 * @module
 */
import { browserImplementations, koala } from "./implementations.ts";
import { race } from "./rounds.ts";
import type { Section } from "./section.ts";
import type { ModelShape } from "./protocol.ts";
import { checkLosses, TOKENS } from "./step_bench.ts";

/** A sixteenth of the work of the step that Deno measures: SwiftShader is that slow. */
const SMALL: ModelShape = { layers: 2, width: 128, heads: 4, seqLen: 64, batch: 4, vocab: 512 };

/** The first three losses of SMALL with Adam: PyTorch in float64 (`peers/torch_gpt.py --double`). */
const SMALL_LOSSES = [6.8043691030447935, 5.791594630086347, 4.969691823851132];

/** Measures a step with AdamW. */
export const browserBench: Section = {
  name: "browser",
  onRequest: true, // Chromium
  implementations: () => browserImplementations,
  async measure(runners, { rounds, say }) {
    const title = "GPT step in Chromium, SwiftShader: 2 layers, d=128, 4 heads, T=64, B=4, V=512";
    say(title);
    const contestants = runners.map((runner) => ({
      name: runner.name,
      runner,
      what: { kind: "step" as const, model: SMALL, optimizer: "adamw" },
      work: SMALL.batch * SMALL.seqLen,
      // Peers without biases, and with another gelu, agree less after updates.
      check: checkLosses(SMALL_LOSSES, runner.name === koala.name ? 1e-4 : 5e-3),
    }));
    const aims = Object.fromEntries(runners.slice(1).map(({ name }) => [name, "3.00x"]));
    return [{ title, rate: TOKENS, aims, measured: await race(contestants, { rounds, seconds: 1 }) }];
  },
};
