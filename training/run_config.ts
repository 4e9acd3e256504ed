/**
 * The whole configuration of a training run, as run.json records it.
 *
 * @module
 */
import { adamw } from "../optim/adamw.ts";
import { koalaPlusPlus, type MeasurementNoise } from "../optim/koala_plus_plus.ts";
import type { Parameter } from "../gpu/parameters.ts";
import { type OptimizerPartition, partition } from "../optim/partition.ts";
import type { ScheduleKind } from "../optim/schedule.ts";
import { sgd } from "../optim/sgd.ts";

/** Version of run.json that this code writes and reads. */
export const RUN_VERSION = 1;

/** Optimizers that a run may name. */
export const OPTIMIZERS = ["koala++", "adamw", "sgd"] as const;

/** What decides the weights that a run ends with, and whether it fits into memory. */
export interface RunConfig {
  /** Text sources, as `openCorpus` takes them. */
  readonly data: readonly string[];
  /** What is held out, as `data`; absent: a share of `data`. */
  readonly validationData?: readonly string[];
  /** Share of the text that is held out. */
  readonly validationFraction: number;
  /** Path of a tokenizer.json, or null to train one. */
  readonly tokenizer: string | null;
  /** Size of the vocabulary when a tokenizer is trained. */
  readonly vocabSize: number;
  /** Hugging Face's configuration keys of the model; vocab_size comes from the tokenizer unless initFrom is there. */
  readonly model: Readonly<Record<string, unknown>>;
  /** Path of the Hugging Face folder whose weights the run starts from; absent: random weights. */
  readonly initFrom?: string;
  /** Fingerprint of these weights, see `weightsDigest`. */
  readonly initWeights?: string;
  /** Tokens per sequence, T. */
  readonly seqLen: number;
  /** Sequences per micro-batch, B. */
  readonly batchSize: number;
  /** Whether attention reaches back over the ends of documents; absent: it does. */
  readonly crossDocument?: boolean;
  /** Micro-batches per step. */
  readonly gradAccum: number;
  /** Whether activations are computed again for the backward pass; no matter for the weights. Absent: false. */
  readonly recompute?: boolean;
  /** Kernels that were measured to be fastest, by what they are for; others are the adapter's usual ones. */
  readonly kernels?: Readonly<Record<string, string>>;
  /** Steps of the whole run. */
  readonly steps: number;
  /** One of {@linkcode OPTIMIZERS}. */
  readonly optimizer: string;
  /** Which parameters KOALA++ owns: the hidden weight matrices (AdamW has the rest) or all. */
  readonly koalaScope: "hidden" | "all";
  /** Peak learning rate of the optimizer. */
  readonly lr: number;
  /** Peak learning rate of the AdamW part beside KOALA++. */
  readonly adamwLr: number;
  /** Weight decay of the optimizer: coupled for KOALA++ and SGD, decoupled for AdamW. */
  readonly weightDecay: number;
  /** KOALA++'s initial variance. */
  readonly sigma: number;
  /** KOALA++'s process noise. */
  readonly q: number;
  /** KOALA++'s measurement noise. */
  readonly r: MeasurementNoise;
  /** KOALA++'s symmetric variant. */
  readonly symmetric: boolean;
  /** Shape of the learning rate over the run. */
  readonly schedule: ScheduleKind;
  /** Steps of warm-up. */
  readonly warmup: number;
  /** Last learning rate as a share of the peak. */
  readonly minLrRatio: number;
  /** Largest gradient norm; 0 does not clip. */
  readonly clip: number;
  /** Seed of weights, batches and dropout. */
  readonly seed: number;
}

/** What decides what one step computes: all of a run but its text, its length and its seed. */
export type ModelConfig = Omit<
  RunConfig,
  | "data"
  | "validationData"
  | "validationFraction"
  | "crossDocument"
  | "tokenizer"
  | "initFrom"
  | "initWeights"
  | "steps"
  | "schedule"
  | "warmup"
  | "minLrRatio"
  | "seed"
>;

/**
 * The optimizers of a run.
 *
 * @throws {RangeError} If a hyper-parameter is out of range or the optimizer is unknown.
 */
export function runOptimizer(config: ModelConfig): OptimizerPartition {
  const { lr, adamwLr, weightDecay, sigma, q, r, symmetric } = config;
  switch (config.optimizer) {
    case "koala++": {
      const koala = koalaPlusPlus({ lr, sigma, q, r, symmetric, weightDecay });
      if (config.koalaScope === "all") return partition([{ optimizer: koala }]);
      const owns = (p: Parameter) => p.role === "matrix";
      return partition([{ owns, optimizer: koala }, { optimizer: adamw({ lr: adamwLr }) }]);
    }
    case "adamw":
      return partition([{ optimizer: adamw({ lr, weightDecay }) }]);
    case "sgd":
      return partition([{ optimizer: sgd({ lr, weightDecay }) }]);
    default:
      throw new RangeError(`The optimizer must be one of ${OPTIMIZERS.join(", ")}, got ${config.optimizer}`);
  }
}

/**
 * Compares a run's recorded configuration with what is asked for now.
 *
 * @throws {RangeError} If resuming would not continue the same run; the message lists every difference.
 */
export function checkSameRun(
  recorded: Readonly<Record<string, unknown>>,
  asked: Readonly<Record<string, unknown>>,
): void {
  const differences = Object.entries(asked).filter(([key, value]) =>
    JSON.stringify(recorded[key]) !== JSON.stringify(value)
  ).map(([key, value]) => `${key} ${JSON.stringify(recorded[key])}, now ${JSON.stringify(value)}`);
  if (differences.length > 0) {
    throw new RangeError(
      `A resumed run must keep its configuration, but differs in ${differences.join("; ")}; ` +
        "leave these options out or start a new run",
    );
  }
}
