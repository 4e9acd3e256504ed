/**
 * The model that a config.json describes.
 *
 * @module
 */
import { gpt2 } from "./gpt2.ts";
import type { LanguageModel } from "./model.ts";

/** Architectures by the `model_type` of config.json. */
const architectures: Readonly<Record<string, (config: Readonly<Record<string, unknown>>) => LanguageModel>> =
  {
    gpt2,
  };

/**
 * Builds the model of a checkpoint.
 *
 * @param config The content of config.json.
 * @throws {RangeError} If the architecture or one of its features is not supported; the message names it.
 */
export function modelFromConfig(config: Readonly<Record<string, unknown>>): LanguageModel {
  const type = config.model_type;
  if (typeof type !== "string" || !Object.hasOwn(architectures, type)) {
    throw new RangeError(
      `config.json's model_type must be one of ${Object.keys(architectures).join(", ")}, got ${
        JSON.stringify(type)
      }`,
    );
  }
  return architectures[type](config);
}
