/**
 * The options of `deno task compare-optimizers`, and who takes part.
 *
 * @module
 */
import type { Contestant } from "../../training/compare/comparison.ts";
import { OPTIMIZERS } from "../../training/run/optimizer_table.ts";
import { gpuOption } from "../gpu/open_gpu.ts";
import { jsonOption, type OptionValues } from "../command/command_line.ts";
import { contestantsFor, entryOptions, parseContestants, parseGrids } from "./contestants.ts";
import { embeddingOptions } from "../train/embedding_options.ts";
import { scheduleOptions } from "../train/optimizer_options.ts";
import { dataOptions, modelOptions } from "../train/train_lm_options.ts";

const COMPARISON = "Comparison";
const LENGTH = "Length";

/** SGD needs far more steps than anybody would want to wait for; whoever wants to see that can name it. */
const DEFAULT_OPTIMIZERS = Object.keys(OPTIMIZERS).filter((name) => name !== "sgd")
  .flatMap((name) => name === "koala++" ? [name, `${name}:orthogonal=none`] : [name]);

/** What `--quick` changes where nothing else was said. */
const QUICK = {
  steps: 100,
  seeds: 2,
  batchSize: 4,
  validationFraction: 0.005,
  evalPoints: 5,
  evalBatches: 10,
  timingRounds: 5,
};

/** The options of `compare-optimizers`. */
export const comparisonOptions = {
  "optimizers": {
    type: "string",
    multiple: true,
    placeholder: "NAMES",
    group: COMPARISON,
    description: `who takes part, with hyper-parameters of their own where they differ from the rest: ` +
      `koala++,koala++:q=0.05,adamw.beta2=0.99,adamw:lr=0.001/0.003 (train-lm --help lists them) (default: ${
        DEFAULT_OPTIMIZERS.join(",")
      }; all: ${Object.keys(OPTIMIZERS).join(", ")})`,
  },
  "lr": {
    type: "string",
    multiple: true,
    placeholder: "NAME=RATES",
    group: COMPARISON,
    description: "learning rates to try, such as adamw=0.001,0.003; one is taken as it is " +
      "(default: half of train-lm's default, that, and twice that)",
  },
  "extensions": {
    type: "integer",
    min: 0,
    default: 4,
    group: COMPARISON,
    description: "most learning rates to add while the best is the lowest or highest tried",
  },
  "seeds": {
    type: "integer",
    min: 1,
    default: 3,
    group: COMPARISON,
    description: "number of seeds, 0 and up; they change weights, batches and dropout",
  },
  "quick": {
    type: "boolean",
    default: false,
    group: COMPARISON,
    description: `a first impression in minutes: ${QUICK.steps} steps, ${QUICK.seeds} seeds, batches of ` +
      `${QUICK.batchSize}, ${QUICK.validationFraction} of the text held out and less of it evaluated on the way, ` +
      "where nothing else is given",
  },
  "out": {
    type: "string",
    placeholder: "DIR",
    group: COMPARISON,
    description: "folder of the report; runs that are done there are not run again " +
      "(default: runs/compare-MODEL-STEPS)",
  },
  "steps": { type: "integer", min: 1, default: 1200, group: LENGTH, description: "steps of each run" },
  "eval-points": {
    type: "integer",
    min: 1,
    default: 12,
    group: LENGTH,
    description: "evaluations along a run, for the curves",
  },
  "eval-batches": {
    type: "integer",
    min: 0,
    default: 20,
    group: LENGTH,
    description:
      "batches of each, of --batch-size sequences, or on a GPU of about 2,048 tokens if that is more; 0 for all " +
      "held-out text, which the end always takes",
  },
  "timing-rounds": {
    type: "integer",
    min: 0,
    default: 15,
    group: LENGTH,
    description:
      "turns of each optimizer when the time of a step is measured, which needs memory for two of " +
      "them at once; 0 not to measure it",
  },
  ...dataOptions,
  ...modelOptions,
  ...embeddingOptions,
  ...scheduleOptions,
  ...entryOptions,
  "gpu": gpuOption,
  "json": jsonOption,
} as const;

/** Their values. */
export type ComparisonValues = OptionValues<typeof comparisonOptions>;

/** The values with what `--quick` changes, if it was given. */
export function withQuick(values: ComparisonValues, given: ReadonlySet<string>): ComparisonValues {
  if (!values.quick) return values;
  const changes = Object.entries(QUICK).filter(([key]) => !given.has(key));
  return { ...values, ...Object.fromEntries(changes) };
}

/** The optimizers that the values name, ready to run. */
export async function contestantsOf(
  values: ComparisonValues,
  given: ReadonlySet<string>,
): Promise<Contestant[]> {
  const asked = parseContestants(values.optimizers.length > 0 ? values.optimizers : DEFAULT_OPTIMIZERS);
  const grids = parseGrids(values.lr, [...new Set(asked.map(({ optimizer }) => optimizer.name))]);
  return await contestantsFor(asked, grids, values, given);
}
