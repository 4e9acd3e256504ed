/**
 * Optimizers: the update of every optimizer alone on two models, and the whole step, KOALA++ beside AdamW.
 *
 * @module
 */
import { koala } from "./implementations.ts";
import type { ModelCase, ModelShape } from "./protocol.ts";
import { ORTHOGONAL } from "./koala/optimizers.ts";
import { race } from "./rounds.ts";
import type { Section } from "./section.ts";
import { checkLosses, TOKENS } from "./step_bench.ts";

/** A GPT of 4.0 million parameters. */
const FOUR_MILLION: ModelShape = { layers: 4, width: 256, heads: 8, seqLen: 128, batch: 8, vocab: 3072 };

/** Its first three losses with AdamW: PyTorch in float64 (`peers/torch_gpt.py --double`). */
const FOUR_MILLION_LOSSES = [9.365618517730903, 7.402658511992681, 5.577254321587361];

/** Work in bytes. */
export const BYTES = { unit: "GB/s", scale: 1e9 };
const optimizers = [["AdamW", "adamw"], ["KOALA++", "koala++"]] as const;
const others = [
  ["KOALA++ orthogonal", ORTHOGONAL],
  ["KOALA-V", "koala-v"],
  ["KOALA-M", "koala-m"],
  ["SGD", "sgd"],
  ["Lion", "lion"],
  ["Muon", "muon"],
  ["SOAP", "soap"],
] as const;

/** As `gpt2-nano` with the default vocabulary: 1.1 million parameters. */
const NANO: ModelShape = { layers: 4, width: 128, heads: 4, seqLen: 128, batch: 16, vocab: 2048 };

/** Measures optimizers. */
export const optimizerBench: Section = {
  name: "optimizer",
  implementations: () => [koala],
  async measure([runner], { rounds, say }) {
    const contestants = (
      kind: ModelCase["kind"],
      chosen: readonly (readonly [string, string])[],
      model: ModelShape,
    ) =>
      chosen.map(([name, optimizer]) => ({
        name: `${koala.name} ${name}`,
        runner,
        what: { kind, model, optimizer },
        ...kind === "step"
          ? {
            work: FOUR_MILLION.batch * FOUR_MILLION.seqLen,
            check: checkLosses(FOUR_MILLION_LOSSES.slice(0, optimizer === "adamw" ? 3 : 1), 1e-4),
          }
          : {},
      }));
    const updates = [];
    for (const [size, model] of [["1.1", NANO], ["4.0", FOUR_MILLION]] as const) {
      const title = `optimizer update alone, ${size} M parameters; rate: planned bytes / time`;
      say(title);
      const all = contestants("update", [...optimizers, ...others], model);
      const measured = await race(all, { rounds: 2 * rounds, seconds: 0.3 });
      updates.push({ title, rate: BYTES, measured, ceiling: "kernelCopyGBps" as const });
    }
    const step = "whole step of the same model";
    say(step);
    const steps = await race(contestants("step", optimizers, FOUR_MILLION), {
      rounds: 2 * rounds,
      seconds: 0.6,
    });
    return [
      ...updates,
      { title: step, rate: TOKENS, measured: steps },
    ];
  },
};
