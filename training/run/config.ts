/**
 * The whole configuration of a training run, as run.json records it.
 *
 * @module
 */
import { withoutSecrets } from "../../files/address.ts";
import type { AdapterConfig } from "../../checkpoint/adapter/config.ts";
import type { Precision } from "../../gpu/precision/precision.ts";
import { learningRateSchedule, type ScheduleKind } from "../../optim/schedule.ts";
import type { OptimizerConfig } from "./hyper_parameters.ts";

/** Version of run.json that this code writes; `recordedConfig` reads those before too. */
export const RUN_VERSION = 2;

/** A LoRA that a run trains, and the model that stays as it is. */
export interface RunLora extends AdapterConfig {
  /** Folder of the model. */
  readonly base_model_name_or_path: string;
  /** Fingerprint of its weights, see `weightsDigest`. */
  readonly base_weights: string;
}

/** What decides the weights that a run ends with, and whether it fits into memory. */
export interface RunConfig {
  /** Text sources, as `openCorpus` takes them, without what may be secret in addresses: see `withoutSecrets`. */
  readonly data: readonly string[];
  /** Field or column that holds the text, in formats with such. Absent: `text`. */
  readonly textField?: string;
  /** Encoding of the text. Absent: UTF-8. */
  readonly encoding?: string;
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
  /** Path of the Hugging Face folder, or adapter's, whose weights the run starts from; absent: random weights. */
  readonly initFrom?: string;
  /** Fingerprint of these weights, see `weightsDigest`. */
  readonly initWeights?: string;
  /** Whether token and position embeddings, and a head tied to them, stay as they are; absent: they are trained. */
  readonly freezeEmbeddings?: boolean;
  /** Path of the Hugging Face folder whose embeddings the run starts from; absent: random ones or those of initFrom. */
  readonly embeddingsFrom?: string;
  /** Fingerprint of these embeddings, see `weightsDigest`. */
  readonly embeddingWeights?: string;
  /** The adapters that are trained instead of the weights; absent: the weights are. */
  readonly lora?: RunLora;
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
  /** How activations are stored; absent: f32. */
  readonly precision?: Precision;
  /** Kernels that were measured to be fastest, by what they are for; others are the adapter's usual ones. */
  readonly kernels?: Readonly<Record<string, string>>;
  /** Steps of the whole run. */
  readonly steps: number;
  /** The optimizer with all its hyper-parameters. */
  readonly optimizer: OptimizerConfig;
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
export type StepConfig = Omit<
  RunConfig,
  | "data"
  | "textField"
  | "encoding"
  | "validationData"
  | "validationFraction"
  | "crossDocument"
  | "tokenizer"
  | "initFrom"
  | "initWeights"
  | "freezeEmbeddings"
  | "embeddingsFrom"
  | "embeddingWeights"
  | "lora"
  | "steps"
  | "schedule"
  | "warmup"
  | "minLrRatio"
  | "seed"
>;

/** What the learning rates of a run are multiplied with at a 0-based step. */
export function scheduleFactor({ schedule, steps, warmup, minLrRatio }: RunConfig): (step: number) => number {
  return learningRateSchedule({
    kind: schedule,
    peak: 1,
    totalSteps: steps,
    warmupSteps: Math.min(warmup, steps),
    minRatio: minLrRatio,
  });
}

/**
 * Compares a run's recorded configuration with what is asked for now; of addresses what may be secret is left out.
 *
 * @throws {RangeError} If resuming would not continue the same run; the message lists every difference.
 */
export function checkSameRun(
  recorded: Readonly<Record<string, unknown>>,
  asked: Readonly<Record<string, unknown>>,
): void {
  const text = (value: unknown) =>
    JSON.stringify(value, (_key, part) => typeof part === "string" ? withoutSecrets(part) : part);
  const differences = Object.entries(asked)
    .map(([key, value]) => ({ key, before: text(recorded[key]), now: text(value) }))
    .filter(({ before, now }) => before !== now)
    .map(({ key, before, now }) => `${key} ${before}, now ${now}`);
  if (differences.length > 0) {
    throw new RangeError(
      `A resumed run must keep its configuration, but differs in ${differences.join("; ")}; ` +
        "leave these options out or start a new run",
    );
  }
}
