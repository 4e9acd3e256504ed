/**
 * `--freeze-embeddings` and `--embeddings-from`: embeddings that stay as they are, and where they come from.
 *
 * @module
 */
import { join } from "node:path";
import { embeddingTables } from "../../checkpoint/embedding_tables.ts";
import { type ModelFolder, readModelFolder } from "../../checkpoint/hugging_face.ts";
import type { FloatTensors } from "../../checkpoint/safetensors/safetensors.ts";
import { weightsDigest } from "../../checkpoint/weights_digest.ts";
import { loadTokenizer } from "../../data/tokenizer/load_tokenizer.ts";
import { TOKENIZER_FILE } from "../../files/hugging_face_names.ts";
import { modelFromConfig } from "../../models/load.ts";
import { declareParameters } from "../../training/run/load_weights.ts";
import type { RunConfig } from "../../training/run/config.ts";
import { UsageError } from "../command/command_line.ts";

const GROUP = "Model and batches";

/** The options. */
export const embeddingOptions = {
  "freeze-embeddings": {
    type: "boolean",
    default: false,
    group: GROUP,
    description: "leave token and position embeddings as they are, and a head that is tied to them: " +
      "no gradient, no optimizer state",
  },
  "embeddings-from": {
    type: "string",
    placeholder: "DIR",
    group: GROUP,
    description:
      "a Hugging Face folder whose token and position embeddings to start from, of the model's vocabulary and width, " +
      "and whose tokenizer to use unless another is named",
  },
} as const;

/** What a run takes from the folder besides the embeddings themselves. */
export interface Embeddings {
  /** Path of the tokenizer: the folder's own, unless another was asked for. */
  readonly tokenizer: string;
  /** Fingerprint of the embeddings. */
  readonly digest: string;
}

/**
 * Reads what `--embeddings-from` names, so that mistakes show before any work is done.
 *
 * @param dir The folder.
 * @param tokenizer The tokenizer that was asked for, if one was.
 * @param model The model's `config.json`; its vocabulary is the tokenizer's.
 * @throws {UsageError} If there is no tokenizer.
 * @throws {RangeError} If the embeddings do not fit the model.
 * @throws {Error} If the folder cannot be read, with what to do about it.
 */
export async function readEmbeddings(
  dir: string,
  tokenizer: string | undefined,
  model: RunConfig["model"],
): Promise<Embeddings> {
  using folder = await readModelFolder(dir);
  if (tokenizer === undefined && folder.tokenizerJson === null) {
    throw new UsageError(
      `--embeddings-from ${dir} must hold tokenizer.json, got none; name the tokenizer that its embeddings belong to ` +
        "with --tokenizer",
    );
  }
  const path = tokenizer ?? join(dir, TOKENIZER_FILE);
  const { vocabSize } = await loadTokenizer(path);
  return { tokenizer: path, digest: await weightsDigest(tablesOf(folder, model, vocabSize)) };
}

/**
 * Opens the embeddings that a run starts from.
 *
 * @param config The run's configuration.
 * @param vocabSize The model's vocabulary.
 * @returns The open embeddings, or nothing where the run takes none; declare them with `using`.
 * @throws {RangeError} If they are not those that the run has recorded.
 * @throws {Error} If the folder cannot be read, with what to do about it.
 */
export async function openEmbeddings(
  { embeddingsFrom, embeddingWeights, model }: RunConfig,
  vocabSize: number,
): Promise<(FloatTensors & Disposable) | undefined> {
  if (embeddingsFrom === undefined) return undefined;
  using opening = new DisposableStack();
  const tables = tablesOf(opening.use(await readModelFolder(embeddingsFrom)), model, vocabSize);
  if (await weightsDigest(tables) !== embeddingWeights) {
    throw new RangeError(
      `The embeddings of ${embeddingsFrom} must be those that the run has recorded, but have changed; start again`,
    );
  }
  const kept = opening.move();
  return { ...tables, [Symbol.dispose]: () => kept.dispose() };
}

function tablesOf(folder: ModelFolder, model: RunConfig["model"], vocabSize: number): FloatTensors {
  const config = { ...model, vocab_size: vocabSize };
  const { all } = declareParameters(modelFromConfig(config));
  return embeddingTables(folder, config, new Map(all.map((p) => [p.name, p])));
}
