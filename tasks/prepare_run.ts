/**
 * What every task that trains does first: says what it runs on, reads the data, finds the fastest kernels.
 *
 * @module
 */
import { readCheckpoint } from "../checkpoint/training_state.ts";
import {
  checkDataset,
  prepareTokens,
  type TokenDataset,
  trainOrLoadTokenizer,
} from "../data/token_dataset.ts";
import { loadTokenizer, Tokenizer } from "../data/tokenizer.ts";
import type { Gpu } from "../gpu/device.ts";
import type { LanguageModel } from "../models/model.ts";
import { formatCount } from "../training/progress.ts";
import { stepOptions } from "../training/run.ts";
import type { RunConfig } from "../training/run_config.ts";
import { tuneKernels } from "../training/tuning.ts";
import { openData } from "./data_options.ts";

/** Says which adapter it is. */
export function sayAdapter(gpu: Gpu, say: (line: string) => void): void {
  const note = gpu.profile.isSoftware ? " (software: runs on the CPU, so it is slow)" : "";
  say(`adapter: ${gpu.description}${note}`);
}

/**
 * Tokenizer and token ids of a run.
 *
 * @param config The run.
 * @param cacheDir Folder for trained tokenizers and token ids.
 * @param say Prints a line.
 * @param checkpoint Folder of the checkpoint that a resumed run goes on from; its tokenizer is taken.
 * @throws {RangeError} If there is too little text.
 * @throws {TypeError} If the checkpoint has no tokenizer.
 */
export async function prepareData(
  config: RunConfig,
  cacheDir: string,
  say: (line: string) => void,
  checkpoint?: string,
): Promise<{ readonly tokenizer: Tokenizer; readonly dataset: TokenDataset }> {
  const data = openData(config);
  const shared = {
    sources: data.corpus,
    validationFraction: config.validationFraction,
    cacheDir,
  };
  let tokenizer: Tokenizer;
  if (checkpoint) {
    using open = await readCheckpoint(checkpoint);
    const { tokenizerJson } = open.model;
    if (tokenizerJson === null) {
      throw new TypeError(`${checkpoint} must hold tokenizer.json to be resumed`);
    }
    tokenizer = Tokenizer.fromJson(JSON.parse(tokenizerJson));
  } else if (config.tokenizer !== null) {
    tokenizer = await loadTokenizer(config.tokenizer);
  } else {
    tokenizer = await trainOrLoadTokenizer({ ...shared, vocabSize: config.vocabSize });
  }
  const dataset = await prepareTokens({ ...shared, tokenizer });
  data.sayReport(say);
  checkDataset(dataset, config.seqLen);
  const bytes = dataset.trainBytes + dataset.validationBytes;
  say(
    `data: ${formatCount(bytes)} bytes, ${formatCount(dataset.train.length)} tokens to train on, ` +
      `${formatCount(dataset.validation.length)} held out, vocabulary ${tokenizer.vocabSize}` +
      (dataset.cached ? " (from the cache)" : ""),
  );
  return { tokenizer, dataset };
}

/** The configuration with the kernels that are fastest on this adapter. */
export async function withFastestKernels(
  gpu: Gpu,
  config: RunConfig,
  model: LanguageModel,
  cacheDir: string,
  say: (line: string) => void,
): Promise<RunConfig> {
  const started = performance.now();
  const { kernels, measured } = await tuneKernels(gpu, stepOptions(config, model), cacheDir);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (measured > 0) say(`kernels: the fastest for ${measured} matrix products found in ${seconds} s`);
  return { ...config, kernels };
}
