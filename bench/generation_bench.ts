/**
 * Greedy generation with a cache of keys and values, ours beside Hugging Face's `transformers` on the CPU, with the
 * same random weights.
 *
 * @module
 */
import { koala, transformers } from "./implementations.ts";
import type { GenerationCase, ModelShape } from "./protocol.ts";
import { race } from "./rounds.ts";
import type { Section } from "./section.ts";
import { TOKENS } from "./step_bench.ts";
import { sameIds } from "./tokenizer_bench.ts";

/** As `gpt2-nano` with the default vocabulary: 1.1 million parameters. */
const NANO: ModelShape = { layers: 4, width: 128, heads: 4, seqLen: 128, batch: 1, vocab: 2048 };

/** As OpenAI's smallest GPT-2: 124 million parameters. */
const GPT2: ModelShape = { layers: 12, width: 768, heads: 12, seqLen: 1024, batch: 1, vocab: 50_257 };

const cases: readonly (readonly [string, Omit<GenerationCase, "kind">])[] = [
  ["gpt2-nano, 96 tokens after 32", { model: NANO, promptTokens: 32, tokens: 96 }],
  ["gpt2-nano, 8 sequences at a time", { model: { ...NANO, batch: 8 }, promptTokens: 32, tokens: 96 }],
  ["gpt2-nano, a token after 127", { model: NANO, promptTokens: 127, tokens: 1 }],
  ["GPT-2 124M, 16 tokens after 32", { model: GPT2, promptTokens: 32, tokens: 16 }],
  ["GPT-2 124M, a token after 257", { model: GPT2, promptTokens: 257, tokens: 1 }],
];

/** Measures generation. */
export const generationBench: Section = {
  name: "generation",
  implementations: (python) => [koala, ...(python === undefined ? [] : [transformers(python)])],
  async measure(runners, { rounds, say }) {
    if (runners.length === 1) say("generation: without transformers, which needs --python");
    const heats = [];
    for (const [name, what] of cases) {
      const { model: { batch }, promptTokens, tokens } = what;
      const title = `greedy generation, ${name}; rate: tokens ${tokens > 1 ? "added" : "read"}`;
      say(title);
      const check = sameIds();
      const contestants = runners.map((runner) => ({
        name: runner.name,
        runner,
        what: { kind: "generation" as const, ...what },
        work: batch * (tokens > 1 ? tokens : promptTokens),
        check,
      }));
      heats.push({ title, rate: TOKENS, measured: await race(contestants, { rounds, seconds: 0.5 }) });
    }
    return heats;
  },
};
