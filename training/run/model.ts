/**
 * The model that a run trains.
 *
 * @module
 */
import { frozenEmbeddings } from "../../models/layers.ts";
import { modelFromConfig } from "../../models/load.ts";
import type { LanguageModel } from "../../models/model.ts";
import { adapterLayers } from "./lora.ts";
import type { RunConfig } from "./config.ts";

/**
 * Builds the model of a run: with its adapters, or with embeddings that stay as they are.
 *
 * @param config The run.
 * @param vocabSize Number of token ids, V.
 * @throws {RangeError} If the architecture or one of its features is not supported; the message names it.
 */
export function runModel(
  { model, lora, freezeEmbeddings }: RunConfig,
  vocabSize: number,
): LanguageModel {
  const layers = lora ? adapterLayers(lora) : freezeEmbeddings ? frozenEmbeddings : undefined;
  return modelFromConfig({ ...model, vocab_size: vocabSize }, layers);
}
