/**
 * `--checkpoint` of tasks that take text: a model with its tokenizer.
 *
 * @module
 */
import type { OpenModel } from "../../checkpoint/open_model.ts";
import { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import { modelFromConfig } from "../../models/load.ts";
import type { LanguageModel } from "../../models/model.ts";
import { type StringOption, UsageError } from "../command/command_line.ts";
import { openCheckpoint } from "./open_checkpoint.ts";

/** The option. */
export const checkpointOption = {
  type: "string",
  required: true,
  placeholder: "DIR",
  description:
    "a checkpoint, any Hugging Face GPT, GPT-2 or Llama folder or LoRA adapter, or a run's folder for its newest " +
    "checkpoint",
} as const satisfies StringOption;

/** A model folder that is open, and what it says; close it, or declare it with `using`. */
export interface TextModel extends Disposable {
  /** The folder with the weights. */
  readonly folder: OpenModel;
  /** The model, without weights. */
  readonly model: LanguageModel;
  /** Its tokenizer, all of whose ids the model knows. */
  readonly tokenizer: Tokenizer;
}

/**
 * Opens what {@linkcode checkpointOption} names.
 *
 * @param checkpoint A model folder, an adapter's, or a run's.
 * @param base Of an adapter the folder of its model. Default: what the adapter says.
 * @throws {UsageError} If `base` is given without an adapter, there is no tokenizer, or it has more ids than the model.
 * @throws {RangeError} If the model is of an architecture that is not supported; the message names it.
 * @throws {Error} If a file cannot be read, with what to do about it.
 */
export async function openTextModel(checkpoint: string, base?: string): Promise<TextModel> {
  const folder = await openCheckpoint(checkpoint, base);
  try {
    if (folder.tokenizerJson === null) {
      throw new UsageError(
        `${folder.path} must hold tokenizer.json to turn text into token ids; copy it there`,
      );
    }
    const tokenizer = Tokenizer.fromJson(JSON.parse(folder.tokenizerJson));
    const model = modelFromConfig(folder.config);
    if (tokenizer.vocabSize > model.vocabSize) {
      throw new UsageError(
        `The tokenizer's ids must be below the model's vocabulary of ${model.vocabSize}, but it has ${tokenizer.vocabSize}`,
      );
    }
    return { folder, model, tokenizer, [Symbol.dispose]: () => folder[Symbol.dispose]() };
  } catch (error) {
    folder[Symbol.dispose]();
    throw error;
  }
}
