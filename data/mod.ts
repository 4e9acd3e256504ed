/**
 * From text to batches: corpora of files, addresses and standard input, tokenizers, token ids in files, and batches that
 * are shuffled for training or in order for evaluation.
 *
 * @example From two texts to a batch
 * ```ts
 * import { deepEqual, equal } from "node:assert/strict";
 * import { Batches, prepareTokens, trainOrLoadTokenizer } from "@koala-lm/koala-lm/data";
 *
 * const documents = ["the cat sat", "the dog ran"].map((text, i) => ({ name: `text ${i}`, text, part: 0 }));
 * const tokenizer = await trainOrLoadTokenizer({ sources: documents, vocabSize: 257 });
 * using dataset = await prepareTokens({ sources: documents, tokenizer, validationFraction: 0 });
 * equal(dataset.train.length, 23); // an id for each byte, and one between the texts
 * const batches = new Batches(dataset.train, { batchSize: 1, seqLen: 4 });
 * const { tokens, targets } = batches.next();
 * deepEqual(tokens.subarray(1), targets.subarray(0, 3));
 * ```
 *
 * @module
 */
export {
  type Batch,
  Batches,
  type BatchesOptions,
  type BatchShape,
  type DataCursor,
  sequentialBatchCount,
  sequentialBatches,
  type SequentialOptions,
} from "./batches.ts";
export {
  type CorpusOptions,
  type CorpusReport,
  openCorpus,
  type SourceCorpus,
  type SourceShare,
} from "./corpus/corpus.ts";
export type { SourceOptions } from "./corpus/sources.ts";
export type { Corpus, Document, RejectedRow } from "./document.ts";
export type { DownloadProgress } from "./bytes/download.ts";
export type { HttpVersion, RemoteText } from "./bytes/http_version.ts";
export type { HubOptions } from "./bytes/hub_source.ts";
export {
  type CorpusInspection,
  inspectCorpus,
  type InspectOptions,
  type LengthBar,
  type Lengths,
  type SampleSequence,
  type SourceSize,
} from "./corpus/inspect.ts";
export { StepBatches } from "./prefetch.ts";
export { type CorpusScan, scanCorpus } from "./corpus/split.ts";
export { openTokenFiles, type TokenFilesOptions } from "./tokens/bins.ts";
export {
  type DataOptions,
  type DataProgress,
  prepareTokens,
  type TokenDataset,
  trainOrLoadTokenizer,
} from "./tokens/dataset.ts";
export {
  type BytesPerToken,
  readTokens,
  type TokenArray,
  type TokenIds,
  tokenRange,
  type TokenReader,
} from "./tokens/token_ids.ts";
export { TokenFiles } from "./tokens/files.ts";
export { streamTokens, type TokenStreamOptions } from "./tokens/stream.ts";
export { loadTokenizer } from "./tokenizer/load_tokenizer.ts";
export { Tokenizer } from "./tokenizer/tokenizer.ts";
export type { AddedToken, TokenizerJson, TokenizerModel, TokenizerStep } from "./tokenizer/tokenizer_json.ts";
