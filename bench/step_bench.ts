/**
 * The training step of a tiny GPT, ours beside the peers'.
 *
 * @module
 */
import { jaxWasm, jaxWebGpu, koala, tensorflow, torch } from "./implementations.ts";
import { ORTHOGONAL } from "./koala/optimizers.ts";
import type { ModelShape, Ready } from "./protocol.ts";
import { race } from "./rounds.ts";
import type { Section } from "./section.ts";

const TINY: ModelShape = { layers: 4, width: 128, heads: 4, seqLen: 128, batch: 8, vocab: 2048 };

/** The first three losses of TINY with Adam: PyTorch in float64 (`peers/torch_gpt.py --double`). */
const TINY_LOSSES = [8.275350990095701, 7.607853022502664, 6.9854196803730675];

/** How we take part; optimizers by their names in `train-lm`. f16 fails where the adapter has none. */
const OURS = [
  { name: "AdamW", optimizer: "adamw", precision: "f32" },
  { name: "KOALA++", optimizer: ORTHOGONAL, precision: "f32" },
  { name: "AdamW f16", optimizer: "adamw", precision: "f16" },
] as const;

/** Work of a step in tokens. */
export const TOKENS = { unit: "tok/s", scale: 1 };

/** Measures a step. */
export const stepBench: Section = {
  name: "step",
  implementations: (python) => [
    koala,
    koala, // A process of its own, so that its first step is a cold one too.
    koala,
    jaxWebGpu,
    tensorflow,
    jaxWasm,
    ...(python === undefined ? [] : [torch(python)]),
  ],
  async measure(runners, { rounds, say }) {
    const title = "GPT step: 4 layers, d=128, 4 heads, T=128, B=8, V=2048";
    say(title);
    const contestants = runners.map((runner, i) => {
      const own = runner.name === koala.name ? OURS[i] : undefined;
      const { optimizer, precision } = own ?? OURS[0];
      return {
        name: own ? `${runner.name} ${own.name}` : runner.name,
        runner,
        what: { kind: "step" as const, model: TINY, optimizer, precision },
        work: TINY.batch * TINY.seqLen,
        // Peers without biases (and with another gelu), and f16, agree less after updates.
        check: checkLosses(
          optimizer === ORTHOGONAL ? TINY_LOSSES.slice(0, 1) : TINY_LOSSES,
          own && precision === "f32" ? 1e-4 : 5e-3,
        ),
      };
    });
    return [{ title, rate: TOKENS, measured: await race(contestants, { rounds, seconds: 1 }) }];
  },
};

/**
 * Makes a check of the first losses, all on one batch: the first must be as expected to 4 digits, the others within
 * a tolerance, and the last must be lower than the first.
 */
export function checkLosses(expected: readonly number[], tolerance: number): (ready: Ready) => void {
  return ({ losses = [] }) => {
    const agree = expected.every((loss, i) =>
      Math.abs(losses[i] - loss) <= (i === 0 ? 1e-4 : tolerance) * loss
    );
    if (agree && losses[losses.length - 1] < losses[0]) return;
    throw new Error(`wrong losses: ${losses.join(", ")}, expected ${expected.join(", ")} and falling`);
  };
}
