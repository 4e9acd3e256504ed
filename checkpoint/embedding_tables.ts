/**
 * The token and position embeddings of a checkpoint, for another model that starts from them.
 *
 * @module
 */

import type { FloatTensors, TensorInfo } from "./safetensors/safetensors.ts";
import { embeddingNames } from "./tensor_names.ts";

/** Where embeddings are taken from, such as a `ModelFolder`. */
export type EmbeddingSource = FloatTensors & {
  /** Its folder, for messages. */
  readonly path: string;
  /** Its `config.json`; `model_type` matters. */
  readonly config: Readonly<Record<string, unknown>>;
};

/**
 * A checkpoint's token and position embeddings under the names of another model. Of positions the first ones are
 * taken, as many as the model has; those of a checkpoint whose model needs none are left out.
 *
 * @param source The checkpoint; it must stay open while the result is read.
 * @param config The other model's `config.json`; `model_type` matters.
 * @param tensors The other model's tensors by name.
 * @returns The embeddings alone.
 * @throws {RangeError} If vocabulary, width or the number of positions do not fit, or one of the two models is of a
 * type that is not supported; the message says what both have.
 *
 * @example Train four blocks between the frozen embeddings of GPT
 * ```ts ignore
 * using folder = await readModelFolder("models/openai-gpt");
 * const model = openaiGpt({ n_layer: 4, n_positions: 256, vocab_size: 40478 }, frozenEmbeddings);
 * const trainer = await Trainer.create(gpu, { record: languageModelLoss(model, 32, 256), optimizer: koalaPlusPlus() });
 * const { all } = trainer.parameters;
 * const tables = embeddingTables(folder, model.config, new Map(all.map((p) => [p.name, p])));
 * await loadSome(gpu, trainer.parameters, tables);
 * ```
 */
export function embeddingTables(
  source: EmbeddingSource,
  config: Readonly<Record<string, unknown>>,
  tensors: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): FloatTensors {
  const [from, to] = [embeddingNames(source.config), embeddingNames(config)];
  const found = new Map<string, { readonly savedName: string; readonly info: TensorInfo }>();
  const tokens = source.tensors.get(from.tokens);
  const [vocab, width] = tensors.get(to.tokens)!.shape;
  if (tokens === undefined || tokens.shape[0] !== vocab || tokens.shape[1] !== width) {
    throw new RangeError(
      `The token embeddings of ${source.path} must be of the model's vocabulary ${vocab} and width ${width}, got ${
        tokens ? `vocabulary ${tokens.shape[0]} and width ${tokens.shape[1]}` : `no ${from.tokens}`
      }; use a model of that width and the tokenizer that the embeddings belong to`,
    );
  }
  found.set(to.tokens, { savedName: from.tokens, info: tokens });
  if (to.positions !== undefined) {
    const [rows] = tensors.get(to.positions)!.shape;
    const positions = from.positions === undefined ? undefined : source.tensors.get(from.positions);
    if (positions === undefined || positions.shape[0] < rows || positions.shape[1] !== width) {
      throw new RangeError(
        `The position embeddings of ${source.path} must be at least the model's ${rows} of width ${width}, got ${
          positions ? `${positions.shape[0]} of width ${positions.shape[1]}` : "none"
        }; use a model of fewer positions or another folder`,
      );
    }
    const byteLength = positions.byteLength / positions.shape[0] * rows;
    const info = { ...positions, shape: [rows, width], byteLength };
    found.set(to.positions, { savedName: from.positions!, info });
  }
  return {
    tensors: new Map([...found].map(([name, { info }]) => [name, info])),
    piecesF32(name) {
      const { savedName, info: { shape } } = found.get(name)!;
      return firstValues(source.piecesF32(savedName), shape[0] * shape[1]);
    },
  };
}

async function* firstValues(
  pieces: AsyncIterable<Float32Array>,
  count: number,
): AsyncGenerator<Float32Array> {
  for await (const piece of pieces) {
    yield piece.subarray(0, count);
    count -= piece.length;
    if (count <= 0) return;
  }
}
