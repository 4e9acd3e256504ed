/**
 * `deno task bench`: our products, training step, optimizers, tokenizer and generation beside peers, in one run, in turns.
 *
 * @module
 */
import { jsonOption, type OptionValues, runTask, type TaskContext } from "../tasks/command/command_line.ts";
import { browserBench } from "./browser_bench.ts";
import { ceilingBench, ceilingsOf, mergeCeilings } from "./ceiling_bench.ts";
import { generationBench } from "./generation_bench.ts";
import { koala, start, stop } from "./implementations.ts";
import { matmulBench } from "./matmul_bench.ts";
import { optimizerBench } from "./optimizer_bench.ts";
import type { Section } from "./section.ts";
import { stepBench } from "./step_bench.ts";
import { formatTable, type Heat, rowsOf } from "./table.ts";
import { tokenizerBench } from "./tokenizer_bench.ts";

const sections: readonly Section[] = [
  matmulBench,
  stepBench,
  optimizerBench,
  tokenizerBench,
  generationBench,
  browserBench,
];

const options = {
  "rounds": {
    type: "integer",
    min: 1,
    default: 4,
    description: "samples of everyone; more on a noisy machine",
  },
  "only": {
    type: "choice",
    choices: ["matmul", "step", "optimizer", "tokenizer", "generation", "browser"],
    multiple: true,
    description:
      "measure only these; the adapter's ceilings always, browser (headless Chromium) only if named",
  },
  "python": {
    type: "string",
    placeholder: "PATH",
    description: "a Python with PyTorch, transformers and tokenizers, to measure them too",
  },
  "json": jsonOption,
} as const;

async function main(values: OptionValues<typeof options>, { output }: TaskContext): Promise<void> {
  const { rounds, only, python } = values;
  let description: string | undefined;
  const run = async (section: Section): Promise<Heat[]> => {
    const runners = [];
    try {
      for (const implementation of section.implementations(python)) {
        const runner = await start(implementation);
        runners.push(runner);
        if (implementation.name !== koala.name) continue;
        // Without us there is nothing to compare with.
        if (runner.failure !== undefined) throw new Error(`koala-lm does not run: ${runner.failure}`);
        description ??= runner.description;
      }
      return await section.measure(runners, { rounds, say: output.say });
    } finally {
      await Promise.all(runners.map(stop));
    }
  };
  const before = await run(ceilingBench);
  const heats: Heat[] = [];
  for (const section of sections) {
    const isWanted = only.length === 0 ? !section.onRequest : only.some((word) => word === section.name);
    if (isWanted) heats.push(...await run(section));
  }
  const limits = mergeCeilings(before, await run(ceilingBench));
  const ceilings = ceilingsOf(limits);
  const rows = [...limits, ...heats].flatMap((heat) => rowsOf(heat, ceilings));
  const deno = Deno.version.deno;
  const text = [
    "",
    `${description}, Deno ${deno}, ${rounds} rounds in turns.`,
    "ratio: how many times as long as the first row of its group, best against best; paired: the median of that " +
    "ratio round by round.",
    "",
    formatTable(rows),
  ].join("\n");
  output.result({ adapter: description, deno, rounds, rows }, text);
  const broken = rows.find(({ name, failure }) => failure !== undefined && name.startsWith(koala.name));
  if (broken) throw new Error(`${broken.case}: ${broken.name}: ${broken.failure}`);
}

if (import.meta.main) {
  await runTask({
    name: "bench",
    summary:
      "Measures matrix products, the training step, optimizers, the tokenizer and generation beside jax-js and " +
      "TensorFlow.js, which it installs itself, and, with --python, PyTorch and Hugging Face's tokenizers and " +
      "transformers. Takes about eight minutes on a CPU.",
    options,
    examples: [
      "deno task bench",
      "deno task bench --only matmul --rounds 8",
      "deno task bench --json > bench.json",
    ],
    main,
  });
}
