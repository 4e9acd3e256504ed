/**
 * Loss, perplexity and bits per byte of a model on a text.
 *
 * The GPU gives the mean loss of each sequence, in f32. They are added up here, in float64: a sum in f32 over
 * the millions of tokens of a long text would lose digits with every sequence.
 *
 * @module
 */
import {
  type BatchShape,
  sequentialBatchCount,
  sequentialBatches,
  type SequentialOptions,
  sequentialReach,
  streamedBatches,
} from "../data/batches.ts";
import type { TokenArray, TokenIds } from "../data/tokens/token_ids.ts";
import { TokenWindow } from "../data/tokens/window.ts";
import type { Gpu, Profile } from "../gpu/device.ts";
import { Graph } from "../gpu/graph.ts";
import type { ParameterStore } from "../gpu/parameters.ts";
import { compileProgram, type Program } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { LanguageModel } from "../models/model.ts";
import { languageModelLoss } from "./step/trainer.ts";

/** Token ids of a batch and what follows each of them. */
export interface TokenBatch {
  /** Inputs, [B, T] row by row. */
  readonly tokens: Uint32Array;
  /** The next id of each; {@linkcode IGNORED_TARGET} does not count. */
  readonly targets: Uint32Array;
  /** The first position that each attends to, for an evaluation that is masked by document. */
  readonly starts?: Uint32Array;
}

/** Loss over a text. */
export interface Evaluation {
  /** Mean over the tokens, in nats. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** Number of tokens that were predicted. */
  readonly tokens: number;
  /** Bits per byte of the predicted text; absent without byte lengths, and where they are all 0. */
  readonly bitsPerByte?: number;
}

/**
 * An evaluation under the names that JSON files carry: loss, perplexity, tokens, bits_per_byte. What is not finite,
 * as the perplexity is above a loss of 709, is null, since JSON has no such number.
 */
export function evaluationRecord({ bitsPerByte, ...rest }: Evaluation): Record<string, number | null> {
  const record = { ...rest, ...(bitsPerByte === undefined ? {} : { bits_per_byte: bitsPerByte }) };
  return Object.fromEntries(
    Object.entries(record).map(([key, value]) => [key, Number.isFinite(value) ? value : null]),
  );
}

/** How far an evaluation has come. */
export interface EvaluationProgress {
  /** Batches that are done. */
  readonly batches: number;
  /** Tokens that were predicted in them. */
  readonly tokens: number;
  /** Bytes of their text; 0 without byte lengths. */
  readonly bytes: number;
  /** Their mean loss, in nats. */
  readonly loss: number;
}

/** Who watches an evaluation; options of {@linkcode Evaluator.evaluate}. */
export interface EvaluatorOptions {
  /** Bytes that each token id stands for, such as a `Tokenizer`'s `byteLengths`; without, no bits per byte. */
  readonly byteLengths?: ArrayLike<number>;
  /** Told about once per second how far it has come; default nobody is. */
  readonly onProgress?: (progress: EvaluationProgress) => void;
  /** Ends it within about a second, or the time of one batch; default: nothing does. */
  readonly signal?: AbortSignal;
}

/** Batches whose losses the GPU keeps until they are read. */
const RING_SLOTS = 32;
/** Where somebody watches, the losses are read after about this long, or after every batch if that takes longer. */
const READ_MILLISECONDS = 1000;
/** A batch of so many tokens keeps a GPU busy. */
const WORTH_A_BATCH = 2048;

/**
 * Sequences per batch to evaluate with while a model is trained: about 2,048 tokens at a time, or as many as a batch of
 * training has where these are more. Training may want small batches for what they teach or for the memory that their
 * gradients take, but they leave most of a GPU idle; an evaluation has no gradients, and reuses its activations (of
 * GPT-2's 124M, 66 MB for 2,048 tokens, where a step of 128 tokens needs 2 GB in all). On a CPU, which small batches
 * keep as busy and whose caches hold them (measured: up to twice as fast), it takes batches as training has them.
 *
 * @param shape Of the batches of training.
 * @param profile Of the adapter.
 */
export function evaluationBatchSize(
  { batchSize, seqLen }: BatchShape,
  { isSoftware }: Pick<Profile, "isSoftware">,
): number {
  return isSoftware ? batchSize : Math.max(batchSize, Math.floor(WORTH_A_BATCH / seqLen));
}

/** A compiled forward pass. Made by {@linkcode Evaluator.create}. */
export class Evaluator {
  readonly #program: Program;
  readonly #ring: Tensor;

  private constructor(program: Program, ring: Tensor) {
    this.#program = program;
    this.#ring = ring;
  }

  /**
   * Compiles the evaluation of a model whose parameters have buffers.
   *
   * @param gpu The device.
   * @param model The model.
   * @param parameters Its parameters.
   * @param batchSize Sequences per batch, B.
   * @param seqLen Tokens per sequence, T.
   * @param masked Whether each position attends from its `starts` on only; default false.
   */
  static async create(
    gpu: Gpu,
    model: LanguageModel,
    parameters: ParameterStore,
    batchSize: number,
    seqLen: number,
    masked = false,
  ): Promise<Evaluator> {
    const g = new Graph({ profile: gpu.profile, parameters });
    const { sequenceLosses, sequenceCounts } = languageModelLoss(model, batchSize, seqLen, masked)(g);
    const slot = g.input("slot", [1], "u32");
    const ring = g.output("sequences", [RING_SLOTS, batchSize, 2]);
    g.dispatch({
      label: "keep_losses",
      read: { slot, losses: sequenceLosses, counts: sequenceCounts },
      write: { ring },
      constants: { BATCH: batchSize },
      workgroups: [1, 1, 1],
      body: `
@compute @workgroup_size(1) fn main() {
  for (var b = 0u; b < BATCH; b++) {
    let at = 2u * (slot[0] * BATCH + b);
    ring[at] = losses[b];
    ring[at + 1u] = counts[b];
  }
}`,
    });
    return new Evaluator(await compileProgram(gpu, g), ring);
  }

  /**
   * Evaluates the model as its parameters are now.
   *
   * @param batches Batches of the shape given to {@linkcode Evaluator.create}.
   * @param options See {@linkcode EvaluatorOptions}.
   * @throws {RangeError} If no target counts.
   * @throws {GpuError} If the device reports an error.
   * @throws {DOMException} An `AbortError`, or whatever else is the signal's reason, if it was aborted.
   */
  async evaluate(
    batches: Iterable<TokenBatch> | AsyncIterable<TokenBatch>,
    { byteLengths, onProgress, signal }: EvaluatorOptions = {},
  ): Promise<Evaluation> {
    let sum = 0, tokens = 0, bytes = 0, done = 0, waiting = 0;
    const read = async () => {
      const [values] = await this.#program.read(this.#ring);
      const end = waiting * values.length / RING_SLOTS;
      for (let i = 0; i < end; i += 2) {
        sum += values[i] * values[i + 1];
        tokens += values[i + 1];
      }
      done += waiting;
      waiting = 0;
      // Signals are delivered between turns of the event loop.
      await new Promise((resolve) => setTimeout(resolve, 0));
    };
    // What is read when does not change the sums.
    const isWatched = onProgress !== undefined || signal !== undefined;
    let readEvery = isWatched ? 1 : RING_SLOTS;
    let since = performance.now();
    for await (const { tokens: inputs, targets, starts } of batches) {
      signal?.throwIfAborted();
      this.#program.write("tokens", inputs);
      this.#program.write("targets", targets);
      if (starts) this.#program.write("starts", starts);
      this.#program.write("slot", Uint32Array.of(waiting++));
      this.#program.run();
      // Ids past the table are ignored targets.
      if (byteLengths) { for (const target of targets) bytes += byteLengths[target] ?? 0; }
      if (waiting < readEvery) continue;
      await read();
      onProgress?.({ batches: done, tokens, bytes, loss: sum / tokens });
      const now = performance.now();
      if (isWatched) readEvery = pace(readEvery, now - since);
      since = now;
    }
    if (waiting > 0) await read();
    if (tokens === 0) {
      throw new RangeError("An evaluation needs at least one target that counts, got none");
    }
    const loss = sum / tokens;
    return {
      loss,
      perplexity: Math.exp(loss),
      tokens,
      ...(bytes > 0 ? { bitsPerByte: sum / Math.LN2 / bytes } : {}),
    };
  }

  /** Gives the buffers back; the parameters stay. */
  destroy(): void {
    this.#program.destroy();
  }
}

/** After how many batches to read, when so many took so many milliseconds. */
function pace(batches: number, milliseconds: number): number {
  const due = Math.round(batches * READ_MILLISECONDS / milliseconds);
  return Math.min(Math.max(due, 1), RING_SLOTS);
}

/** Options of {@linkcode evaluateTokens}. */
export interface EvaluateOptions
  extends Omit<SequentialOptions, "maxBatches">, Omit<EvaluatorOptions, "onProgress"> {
  /** Told about once per second how far it has come; how far there is to go, only where all ids are there. */
  readonly onProgress?: (progress: EvaluationProgress & { readonly totalBatches?: number }) => void;
}

/**
 * Evaluates a model on a text: every token but the first is predicted once.
 *
 * With `stride` equal to `seqLen`, the default, the text is cut into sequences, and a token is predicted from those
 * before it in its sequence. With a smaller one the sequences overlap, and a token that two of them hold is
 * predicted by the first: so all but those of the first sequence have at least `seqLen - stride` tokens before them.
 * The loss gets lower and closer to that of a reader who has the whole text, for `seqLen / stride` times the work.
 * (Hugging Face's documentation describes this under "Perplexity of fixed-length models".)
 *
 * @param gpu The device.
 * @param model The model.
 * @param parameters Its parameters, with buffers.
 * @param ids The text as token ids, all of them or piece by piece: then no more of them are in memory than a batch and a
 * piece have.
 * @param options Sequences at a time, their length, and how far apart they begin; see {@linkcode EvaluateOptions}.
 * @returns Loss, perplexity, and with `byteLengths` bits per byte.
 * @throws {RangeError} If there are fewer than two tokens, sequences are longer than the model allows, or a number is
 * out of range.
 * @throws {GpuError} If the device reports an error.
 * @throws {DOMException} An `AbortError`, or whatever else is the signal's reason, if it was aborted.
 *
 * @example The perplexity of a Hugging Face folder
 * ```ts ignore
 * using folder = await readModelFolder("models/gpt2");
 * const model = modelFromConfig(folder.config);
 * const parameters = await loadParameters(gpu, model, folder);
 * const tokenizer = await loadTokenizer("models/gpt2/tokenizer.json");
 * const ids = Uint32Array.from(tokenizer.encode(await Deno.readTextFile("text.txt")));
 * const { perplexity } = await evaluateTokens(gpu, model, parameters, ids, { batchSize: 4, seqLen: 1024, stride: 512 });
 * ```
 */
export async function evaluateTokens(
  gpu: Gpu,
  model: LanguageModel,
  parameters: ParameterStore,
  ids: TokenIds | AsyncIterable<TokenArray>,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { byteLengths, onProgress, signal, ...asked } = options;
  await using stream = Symbol.asyncIterator in ids ? new TokenWindow(ids) : undefined;
  const known = stream ?? ids as TokenIds;
  await stream?.fill(sequentialReach(asked));
  // A short text does not fill a batch.
  const batchSize = Math.min(asked.batchSize, sequentialBatchCount(known.length, { ...asked, batchSize: 1 }));
  const shape = { ...asked, batchSize };
  const batches = stream ? streamedBatches(stream, shape) : sequentialBatches(known, shape);
  const totalBatches = stream ? undefined : sequentialBatchCount(known.length, shape);
  const evaluator = await Evaluator.create(gpu, model, parameters, batchSize, shape.seqLen);
  try {
    const tell = onProgress && ((progress: EvaluationProgress) => onProgress({ ...progress, totalBatches }));
    return await evaluator.evaluate(batches, { byteLengths, onProgress: tell, signal });
  } finally {
    evaluator.destroy();
  }
}
