/**
 * Tokenizer and token ids of a run, from the options that name them.
 *
 * @module
 */
import { join } from "node:path";
import { holdTemporaryFolder } from "../../files/temporary_folder.ts";
import { readCheckpoint, readTrainingState } from "../../checkpoint/run/training_state.ts";
import { isRemote } from "../../data/corpus/sources.ts";
import { spoolCorpus } from "../../data/corpus/spool.ts";
import { scanCorpus } from "../../data/corpus/split.ts";
import type { DownloadProgress } from "../../data/bytes/download.ts";
import { openTokenFiles } from "../../data/tokens/bins.ts";
import {
  checkDataset,
  combineDatasets,
  type DataProgress,
  prepareTokens,
  readCachedTokens,
  type TokenDataset,
  trainOrLoadTokenizer,
} from "../../data/tokens/dataset.ts";
import { type KnownPass, recallPass } from "../../data/tokens/corpus_record.ts";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { formatCount } from "../../training/progress.ts";
import type { RunConfig } from "../../training/run/config.ts";
import { UsageError } from "../command/command_line.ts";
import { isTokenFile, openData } from "../data/data_options.ts";

/** What {@linkcode prepareData} takes besides the configuration. */
export interface PrepareOptions {
  /** Folder for downloads, trained tokenizers and token ids. */
  readonly cache: string;
  /** Whether nothing is to be kept there. */
  readonly noCache: boolean;
  /** Threads that tokenise. */
  readonly workers?: number;
  /** The run's folder, on whose disk token ids are that are not cached. */
  readonly runDir: string;
  /** The checkpoint of a run that goes on. */
  readonly checkpoint?: string;
  /** Told what there is. */
  readonly say: (line: string) => void;
}

/**
 * Makes the tokenizer and the token ids of a run; a run that goes on has the tokenizer of its checkpoint.
 *
 * @throws {UsageError} When the sources do not go together.
 * @throws {Error} When the data cannot be read, is too little, or cannot be written.
 */
export async function prepareData(
  config: RunConfig,
  options: PrepareOptions,
): Promise<{ tokenizer: Tokenizer; dataset: TokenDataset }> {
  checkKinds(config);
  const known = options.checkpoint === undefined
    ? config.tokenizer === null ? undefined : await loadTokenizer(config.tokenizer)
    : await checkpointTokenizer(options.checkpoint);
  const prepared = await (isTokenFile(config.data[0]) ? openBins : openTexts)(config, known, options);
  const { tokenizer, dataset } = prepared;
  try {
    checkDataset(dataset, config.seqLen);
  } catch (error) {
    dataset[Symbol.dispose]();
    throw error;
  }
  options.say(
    `data: ${formatCount(dataset.trainBytes + dataset.validationBytes)} bytes, ` +
      `${formatCount(dataset.train.length)} tokens to train on, ` +
      `${formatCount(dataset.validation.length)} held out, vocabulary ${tokenizer.vocabSize}` +
      (dataset.cached ? " (from the cache)" : ""),
  );
  return prepared;
}

/** Refuses sources of which some are text and some are token ids. */
function checkKinds({ data, validationData = [], tokenizer }: RunConfig): void {
  const sources = [...data, ...validationData];
  const other = sources.find((source) => isTokenFile(source) !== isTokenFile(sources[0]));
  if (other !== undefined) {
    throw new UsageError(
      `--data and --validation-data must all be .bin files of token ids or none, got ${
        sources[0]
      } and ${other}`,
    );
  }
  if (isTokenFile(sources[0]) && tokenizer === null) {
    throw new UsageError(
      `--data ${sources[0]} holds token ids; give the tokenizer.json they are of by --tokenizer`,
    );
  }
}

async function checkpointTokenizer(checkpoint: string): Promise<Tokenizer> {
  using open = await readCheckpoint(checkpoint);
  const { tokenizerJson } = open.model;
  if (tokenizerJson === null) {
    throw new TypeError(`${checkpoint} must hold tokenizer.json to be resumed`);
  }
  return Tokenizer.fromJson(JSON.parse(tokenizerJson));
}

type Prepare = (
  config: RunConfig,
  tokenizer: Tokenizer | undefined,
  options: PrepareOptions,
) => Promise<{ tokenizer: Tokenizer; dataset: TokenDataset }>;

const openBins: Prepare = async ({ data, validationData, validationFraction }, tokenizer) => {
  const files = { train: data, validation: validationData, validationFraction };
  return { tokenizer: tokenizer!, dataset: await openTokenFiles({ ...files, tokenizer: tokenizer! }) };
};

const openTexts: Prepare = async (config, known, options) => {
  const held = config.validationData;
  const validationFraction = held === undefined ? config.validationFraction : 0;
  const { tokenizer, dataset } = await openText(config, validationFraction, known, options);
  if (held === undefined) return { tokenizer, dataset };
  try {
    const heldOut = await openText({ ...config, data: held }, 0, tokenizer, options);
    return { tokenizer, dataset: combineDatasets(dataset, heldOut.dataset) };
  } catch (error) {
    dataset[Symbol.dispose]();
    throw error;
  }
};

async function openText(
  config: RunConfig,
  validationFraction: number,
  known: Tokenizer | undefined,
  { cache, noCache, runDir, workers, checkpoint, say }: PrepareOptions,
): Promise<{ tokenizer: Tokenizer; dataset: TokenDataset }> {
  const cacheDir = noCache ? null : cache;
  const shared = { validationFraction, cacheDir, scratchDir: runDir, workers, ...tellers(say) };
  await using scratch = noCache && config.data.some(isRemote)
    ? await holdTemporaryFolder(join(runDir, "downloads"))
    : undefined;
  const { corpus, sayReport } = openData(config, { downloads: scratch?.path ?? cacheDir, ...shared });
  if (cacheDir !== null && !corpus.replayable && checkpoint !== undefined && known !== undefined) {
    const { seeds } = await readTrainingState(checkpoint);
    const found = await readCachedTokens({
      ...shared,
      cacheDir,
      tokenizer: known,
      corpusDigest: String(seeds.corpus),
    });
    if (found !== null) return { tokenizer: known, dataset: found };
  }
  await using documents = await spoolCorpus(corpus, cacheDir ?? runDir);
  const read = async (): Promise<KnownPass> => {
    const scan = await scanCorpus(documents, validationFraction);
    const said: string[] = [];
    sayReport((line) => said.push(line));
    return { scan, said };
  };
  const { data: sources, textField, encoding } = config;
  const isResumed = checkpoint !== undefined;
  const record = { sources, textField, encoding, validationFraction, offline: isResumed };
  const { scan, said, unchecked } = corpus.isRemote && cacheDir !== null
    ? await recallPass(corpus, read, { ...record, cacheDir })
    : await read();
  said.forEach(say);
  const all = { ...shared, sources: documents, scan };
  const tokenizer = known ?? await trainOrLoadTokenizer({ ...all, vocabSize: config.vocabSize });
  const dataset = await prepareTokens({ ...all, tokenizer });
  if (unchecked !== undefined) {
    const { error: { message }, made } = unchecked;
    say(`without the network (${message}): the text is taken to be what it was on ${made.slice(0, 10)}`);
  }
  return { tokenizer, dataset };
}

/** Those who tell of what takes long, every ten seconds, and of downloads. */
function tellers(say: (line: string) => void) {
  const words = {
    count: "counting words, in bytes",
    merge: "merging tokens",
    tokenize: "tokenising, in bytes",
  };
  let last = performance.now();
  const nowAndThen = (line: string) => {
    if (performance.now() - last < 10_000) return;
    last = performance.now();
    say(line);
  };
  return {
    onProgress: ({ stage, done, total }: DataProgress) =>
      nowAndThen(`${words[stage]}: ${formatCount(done)} of ${formatCount(total)}`),
    onDownload: ({ name, done, total, whole }: DownloadProgress) => {
      if (whole) say(`downloaded: ${name}, ${formatCount(done)} bytes`);
      else {nowAndThen(
          `downloading: ${name}, ${formatCount(done)} of ${formatCount(total ?? NaN)}`,
        );}
    },
    onRetry: (reason: string, seconds: number) => say(`${reason}; trying again in ${seconds} s`),
  };
}
