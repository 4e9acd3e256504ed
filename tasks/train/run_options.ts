/**
 * From the run that was asked for to what it needs to start: data, model, kernels, and the weights that it starts from.
 *
 * @module
 */
import { type Checkpoint, readCheckpoint } from "../../checkpoint/run/training_state.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { LanguageModel } from "../../models/model.ts";
import { formatCount } from "../../training/progress.ts";
import type { RunConfig, RunLora } from "../../training/run/config.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import { runModel } from "../../training/run/model.ts";
import type { RunOptions } from "../../training/run/run.ts";
import { openEmbeddings } from "./embedding_options.ts";
import { withFastestKernels } from "./fastest_kernels.ts";
import { withGivenSources } from "./given_sources.ts";
import { keptDocuments, openInitialWeights } from "./init_from.ts";
import { prepareData } from "./prepare_data.ts";
import type { TrainLmValues } from "./train_lm_options.ts";
import type { WhichRun } from "./which_run.ts";

/** What {@linkcode runOptions} takes. */
export interface Asked {
  /** The run. */
  readonly which: WhichRun;
  /** Its folder, which is there. */
  readonly runDir: string;
  /** The options. */
  readonly values: TrainLmValues;
  /** Those that were given. */
  readonly given: ReadonlySet<string>;
  /** The device. */
  readonly gpu: Gpu;
  /** Closes the files that are opened here. */
  readonly resources: DisposableStack;
  /** Told what there is. */
  readonly say: (line: string) => void;
}

/**
 * Prepares a run's data and opens what it starts from.
 *
 * @throws {UsageError} If sources or weights do not go together.
 * @throws {Error} If data, weights or a checkpoint cannot be read, with what to do about it.
 */
export async function runOptions(asked: Asked): Promise<RunOptions> {
  const { which: { draft, existing }, runDir, values, gpu, resources, say } = asked;
  const how = { ...values, runDir, checkpoint: existing?.path, say };
  const { tokenizer, dataset } = await withGivenSources(draft, values, (config) => prepareData(config, how));
  resources.use(dataset);
  // The embedding of a model that was trained before may have more rows than there are tokens.
  const vocabSize = draft.initFrom === undefined ? tokenizer.vocabSize : draft.vocabSize;
  const model = runModel(draft, vocabSize);
  const config = await settledConfig(asked, model, dataset.train.length);
  const checkpoint = existing ? resources.use(await readCheckpoint(existing.path)) : undefined;
  if (checkpoint) say(`resuming ${runDir} at step ${checkpoint.state.step}`);
  const start = await openStart(asked, vocabSize, checkpoint);
  if (draft.freezeEmbeddings) say(describeFrozen(model));
  if (draft.lora) say(describeLora(draft.lora));
  return { gpu, runDir, config, model, tokenizer, dataset, checkpoint, ...start, intervals: values };
}

/** The configuration, now that the length of the text is known. */
async function settledConfig(
  { which: { draft, resuming }, values, given, gpu, say }: Asked,
  model: LanguageModel,
  tokens: number,
): Promise<RunConfig> {
  const steps = given.has("steps")
    ? values.steps
    : values.epochs !== undefined
    ? epochSteps(values.epochs, tokens, draft)
    : draft.steps;
  const warmup = values.warmup ?? (resuming ? draft.warmup : Math.round(steps * 0.05));
  // A resumed run needs as little memory as before unless it is told otherwise.
  const recompute = given.has("recompute") ? values.recompute : draft.recompute;
  const keys = draft.initFrom === undefined ? { ...model.config } : { ...model.config, ...draft.model };
  const config: RunConfig = { ...draft, steps, warmup, recompute, model: keys };
  return values.autotune && !resuming
    ? await withFastestKernels(gpu, config, model, values.cache, say)
    : config;
}

function epochSteps(epochs: number, tokens: number, { seqLen, batchSize, gradAccum }: RunConfig): number {
  return Math.max(1, Math.ceil(epochs * Math.floor((tokens - 1) / seqLen) / (batchSize * gradAccum)));
}

/** The weights that a run starts from beside random ones, and the documents that go with them. */
async function openStart(
  { which: { draft }, resources, say }: Asked,
  vocabSize: number,
  checkpoint: Checkpoint | undefined,
): Promise<Partial<RunOptions>> {
  const weights = resources.use(await openInitialWeights(draft, checkpoint !== undefined));
  const { initial, base } = weights;
  if (initial) say(`starting from the weights of ${draft.initFrom}`);
  const embeddings = checkpoint ? undefined : await openEmbeddings(draft, vocabSize);
  if (embeddings) {
    resources.use(embeddings);
    say(`starting from the embeddings of ${draft.embeddingsFrom}`);
  }
  return { initial, base, embeddings, ...keptDocuments(draft, weights, checkpoint?.model) };
}

function describeLora({ r, lora_alpha, target_modules, base_model_name_or_path: base }: RunLora): string {
  const targets = target_modules.join(", ");
  return `training a LoRA of rank ${r} and alpha ${lora_alpha} on ${targets} of ${base}, which stays as it is`;
}

function describeFrozen(model: LanguageModel): string {
  const { count, trainableCount } = declareParameters(model);
  return `embeddings stay as they are: ${formatCount(trainableCount)} of ${
    formatCount(count)
  } parameters are trained`;
}
