/**
 * Continuing texts: prompts in, text out while it comes, up to an end token or given strings.
 *
 * @module
 */
import type { ModelDocuments } from "../../checkpoint/hugging_face.ts";
import type { Tokenizer } from "../../data/tokenizer/tokenizer.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import type { LanguageModel } from "../../models/model.ts";
import { type GenerateOptions, Generator } from "./generation.ts";
import { TextStream } from "./text_stream.ts";

/** A text to continue. */
export interface TextRequest extends Omit<GenerateOptions, "onToken"> {
  /** The beginning; the empty text needs a `startId`. */
  readonly prompt: string;
  /** What stands for the empty prompt, such as the id of `<|endoftext|>`, after which GPT-2's texts begin. */
  readonly startId?: number;
  /** The text ends before the first of these strings, wherever tokens begin and end; default none. */
  readonly stop?: readonly string[];
  /** Ends the text at its next token when it is aborted; default nothing does. */
  readonly signal?: AbortSignal;
  /** Called with each new piece of text, without half characters and without any part of a stop string. */
  readonly onText?: (piece: string) => void;
}

/** How a text was continued. */
export interface GeneratedText {
  /** What was added to the prompt, without end tokens and stop strings. */
  readonly text: string;
  /** The ids that were added, all of them. */
  readonly ids: readonly number[];
  /** Why it ended: at an end token, at a stop string, at `maxTokens`, or since it was aborted. */
  readonly ended: "eos" | "stop" | "length" | "aborted";
}

/**
 * Continues texts, side by side as far as the generator has places. Each becomes what it would alone.
 *
 * @param generator Of the model.
 * @param tokenizer Of the same model.
 * @param requests The texts and how to continue each.
 * @returns The continuations, in the same order.
 * @throws {RangeError} If an option is out of range, a prompt is empty without a `startId`, or a stop string is empty;
 * before anything is generated.
 *
 * @example Continue texts with a Hugging Face folder, showing the first while it comes
 * ```ts ignore
 * using folder = await readModelFolder("models/gpt2");
 * const tokenizer = Tokenizer.fromJson(JSON.parse(folder.tokenizerJson!));
 * const model = modelFromConfig(folder.config);
 * const parameters = await loadParameters(gpu, model, folder);
 * const generator = await Generator.create(gpu, model, parameters, { batchSize: 2 });
 * const { stopIds } = boundaryIds(folder, tokenizer);
 * const [first, second] = await generateTexts(generator, tokenizer, [
 *   { prompt: "Once upon a time", stopIds, onText: (piece) => console.log(piece) },
 *   { prompt: "Long ago", stopIds, stop: ["\n\n"], temperature: 0 },
 * ]);
 * ```
 */
export async function generateTexts(
  generator: Generator,
  tokenizer: Tokenizer,
  requests: readonly TextRequest[],
): Promise<GeneratedText[]> {
  const texts = requests.map(({ prompt, startId, stop = [], signal, onText, ...options }) => {
    if (stop.includes("")) throw new RangeError("A stop string must not be empty, got one that is");
    const ids = promptIds(tokenizer, prompt, startId);
    const stream = new TextStream(tokenizer, ids, stop);
    let text = "";
    const show = (piece: string) => {
      text += piece;
      if (piece !== "") onText?.(piece);
    };
    const onToken = (id: number) => {
      // What an end token says is no text, whether or not the tokenizer calls it special.
      if (options.stopIds?.includes(id)) return false;
      show(stream.push(id));
      return !stream.stopped && !signal?.aborted;
    };
    return { request: { ...options, prompt: ids, onToken }, signal, stream, show, text: () => text };
  });
  const added = await generator.generateAll(texts.map(({ request }) => request));
  return added.map((ids, i) => {
    const { stream, show, text, request, signal } = texts[i];
    show(stream.end());
    const atEnd = request.stopIds?.includes(ids[ids.length - 1]);
    const ended = stream.stopped ? "stop" : atEnd ? "eos" : signal?.aborted ? "aborted" : "length";
    return { text: text(), ids, ended };
  });
}

/**
 * Continues one text with a generator of its own, whose memory is for a text of this length and not for the longest
 * that the model could read.
 *
 * @param gpu The device.
 * @param model The model.
 * @param parameters Its parameters, with buffers.
 * @param tokenizer Of the same model.
 * @param request The text and how to continue it; {@linkcode boundaryIds} gives its `startId` and `stopIds`.
 * @returns The prompt and what was added to it.
 * @throws {RangeError} If an option is out of range, the prompt is empty without a `startId`, a stop string is empty,
 * or memory is too small.
 * @throws {GpuError} If the device reports an error.
 */
export async function sampleText(
  gpu: Gpu,
  model: LanguageModel,
  parameters: ParameterStore,
  tokenizer: Tokenizer,
  request: TextRequest & Required<Pick<TextRequest, "maxTokens">>,
): Promise<string> {
  const { prompt, startId, maxTokens } = request;
  const longest = promptIds(tokenizer, prompt, startId).length + maxTokens;
  const contextLength = Math.min(longest, model.maxSeqLen);
  const generator = await Generator.create(gpu, model, parameters, { contextLength });
  try {
    const [{ text }] = await generateTexts(generator, tokenizer, [request]);
    return prompt + text;
  } finally {
    generator.destroy();
  }
}

/**
 * The ids of a prompt: what the tokenizer puts before every text, as Python's `tokenizer(text)` does, then the text.
 *
 * @param tokenizer The tokenizer.
 * @param prompt The text.
 * @param startId Stands for the empty text where nothing is put before it.
 * @throws {RangeError} If there are no ids and there is no `startId`.
 */
export function promptIds(tokenizer: Tokenizer, prompt: string, startId?: number): number[] {
  const ids = [...tokenizer.startIds, ...tokenizer.encode(prompt)];
  if (ids.length > 0) return ids;
  if (startId !== undefined) return [startId];
  throw new RangeError(
    `A prompt must have at least one token, got ${
      JSON.stringify(prompt)
    }, and the model names no token with which ` +
      "texts begin or end; give a prompt",
  );
}

/**
 * The tokens with which texts begin and end, as `generation_config.json` says, else `config.json`, else the
 * tokenizer.
 *
 * @param documents Of the model's folder.
 * @param tokenizer Its tokenizer.
 * @returns The first to begin with, where there is any, which is an end token where the model has no other; and all
 * that end a text.
 */
export function boundaryIds(
  { generationConfig, config }: Pick<ModelDocuments, "generationConfig" | "config">,
  tokenizer: Tokenizer,
): { startId: number | undefined; stopIds: number[] } {
  const named = (key: string) => {
    const value = generationConfig?.[key] ?? config[key] ?? [];
    return (Array.isArray(value) ? value : [value]).filter((id) => Number.isSafeInteger(id) && id >= 0);
  };
  const ends = named("eos_token_id");
  const stopIds = ends.length > 0 || tokenizer.eosId === null ? ends : [tokenizer.eosId];
  return { startId: named("bos_token_id")[0] ?? stopIds[0], stopIds };
}
