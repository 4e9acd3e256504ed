/**
 * Continuing sequences of token ids with a cache of keys and values on the GPU: a prompt is read in pieces of a
 * fixed length, then every run adds one token to each of several sequences.
 *
 * Text goes in and out in `text_generation.ts`.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import { compileProgram, type Program } from "../../gpu/program.ts";
import { Readback } from "../../gpu/readback.ts";
import type { LanguageModel } from "../../models/model.ts";
import type { KeyValueCache } from "../../ops/attention/key_value_cache.ts";
import { type GeneratorOptions, PIECE, recordGeneration } from "./recording.ts";
import { checkSampling, sampleToken, type SamplingOptions } from "./sampling.ts";

/** Options of {@linkcode Generator.generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to add; default 100. */
  readonly maxTokens?: number;
  /** Seed of the draws, which depend on nothing else; default 0. */
  readonly seed?: number;
  /** Stop after any of these ids, such as the end-of-text token; default none. */
  readonly stopIds?: readonly number[];
  /** Called with each new id; the sequence ends where it returns false. */
  readonly onToken?: (id: number) => boolean | void;
}

/** A sequence to continue. */
export interface GenerateRequest extends GenerateOptions {
  /** At least one token id. */
  readonly prompt: readonly number[];
}

/** A sequence on its way. */
interface Sequence {
  readonly request: GenerateRequest;
  /** The prompt and what was added. */
  readonly ids: number[];
  /** How many tokens from the start the model no longer sees. */
  dropped: number;
  /** How many of those it sees are in the cache. */
  held: number;
}

/** Compiled generation. Made by {@linkcode Generator.create}. */
export class Generator {
  readonly #cache: KeyValueCache;
  readonly #prefill: Program;
  readonly #decode: Program;
  readonly #readback: Readback;
  readonly #batchSize: number;
  readonly #vocabSize: number;
  /** Sequences use one cache, so whoever comes later waits for it. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    parts: { cache: KeyValueCache; prefill: Program; decode: Program; readback: Readback },
    batchSize: number,
    vocabSize: number,
  ) {
    this.#cache = parts.cache;
    this.#prefill = parts.prefill;
    this.#decode = parts.decode;
    this.#readback = parts.readback;
    this.#batchSize = batchSize;
    this.#vocabSize = vocabSize;
  }

  /**
   * Compiles generation for a model whose parameters have buffers.
   *
   * @param gpu The device.
   * @param model The model.
   * @param parameters Its parameters.
   * @param options See {@linkcode GeneratorOptions}.
   * @throws {RangeError} If an option is out of range or the cache does not fit into the adapter's memory.
   */
  static async create(
    gpu: Gpu,
    model: LanguageModel,
    parameters: ParameterStore,
    options: GeneratorOptions = {},
  ): Promise<Generator> {
    const { cache, prefill, decode, logits } = recordGeneration(gpu.profile, model, parameters, options);
    const programs: Program[] = [];
    try {
      await cache.allocate(gpu);
      for (const g of [prefill, decode]) programs.push(await compileProgram(gpu, g));
    } catch (error) {
      for (const program of programs) program.destroy();
      cache.destroy();
      throw error;
    }
    const parts = {
      cache,
      prefill: programs[0],
      decode: programs[1],
      readback: new Readback(gpu, logits),
    };
    return new Generator(parts, cache.sequences, model.vocabSize);
  }

  /**
   * Logits for what follows a sequence.
   *
   * @param ids At least one token id; only the last ones count where there are more than the context holds.
   * @returns [V].
   * @throws {RangeError} If there are no ids or one is not in the vocabulary.
   */
  logits(ids: readonly number[]): Promise<Float32Array> {
    return this.#inTurn(async () => {
      const [logits] = await this.#step([this.#begin({ prompt: ids })]);
      return logits;
    });
  }

  /**
   * Continues a sequence. Where it outgrows the context, the model goes on from the last half of what it saw,
   * which begins a new context.
   *
   * @param prompt At least one token id; only the last ones count where there are more than the context holds.
   * @param options See {@linkcode GenerateOptions}.
   * @returns The new ids, the stop id included.
   * @throws {RangeError} If the prompt or an option is out of range.
   */
  async generate(prompt: readonly number[], options: GenerateOptions = {}): Promise<number[]> {
    const [ids] = await this.generateAll([{ ...options, prompt }]);
    return ids;
  }

  /**
   * Continues many sequences, as many side by side as the generator has places for. Each becomes what it would
   * alone.
   *
   * @param requests The sequences and how to continue each.
   * @returns The new ids of each, the stop id included.
   * @throws {RangeError} If a prompt or an option is out of range; before anything is generated.
   */
  generateAll(requests: readonly GenerateRequest[]): Promise<number[][]> {
    return this.#inTurn(async () => {
      const sequences = requests.map((request) => this.#begin(request));
      const waiting = sequences.filter(({ request }) => maxTokensOf(request) > 0);
      const places: (Sequence | undefined)[] = Array(this.#batchSize).fill(undefined);
      for (;;) {
        places.forEach((sequence, slot) => places[slot] = sequence ?? waiting.shift());
        if (places.every((sequence) => !sequence)) break;
        const logits = await this.#step(places);
        places.forEach((sequence, slot) => {
          if (sequence && extend(sequence, logits[slot])) places[slot] = undefined;
        });
      }
      return sequences.map(({ request, ids }) => ids.slice(request.prompt.length));
    });
  }

  /** Gives the buffers back; the parameters stay. */
  destroy(): void {
    this.#prefill.destroy();
    this.#decode.destroy();
    this.#readback.destroy();
    this.#cache.destroy();
  }

  /** Checks a request and starts its sequence. */
  #begin(request: GenerateRequest): Sequence {
    const { prompt } = request;
    checkSampling(request);
    const most = maxTokensOf(request);
    if (!(Number.isInteger(most) && most >= 0)) {
      throw new RangeError(`The most tokens to add must be an integer of at least 0, got ${most}`);
    }
    if (prompt.length === 0) throw new RangeError("A prompt needs at least one token, got none");
    const bad = prompt.find((id) => !(Number.isInteger(id) && id >= 0 && id < this.#vocabSize));
    if (bad !== undefined) {
      throw new RangeError(`Token ids must be integers from 0 to ${this.#vocabSize - 1}, got ${bad}`);
    }
    const dropped = Math.max(0, prompt.length - this.#cache.length);
    return { request, ids: [...prompt], dropped, held: 0 };
  }

  /** Logits for what follows each sequence, of no meaning where a place is empty; adds their last tokens to the cache. */
  async #step(places: readonly (Sequence | undefined)[]): Promise<Float32Array[]> {
    const [tokens, starts] = [0, 0].map(() => new Uint32Array(this.#batchSize));
    const slots = Uint32Array.from(tokens, (_, slot) => slot);
    places.forEach((sequence, slot) => {
      if (!sequence) return;
      this.#fill(sequence, slot);
      tokens[slot] = sequence.ids[sequence.ids.length - 1];
      starts[slot] = sequence.held++;
    });
    for (const [name, values] of Object.entries({ tokens, starts, slots })) this.#decode.write(name, values);
    this.#decode.run();
    const blocks = await this.#readback.read(); // [B, V] in blocks of columns
    return places.map((_, slot) => {
      const logits = new Float32Array(this.#vocabSize);
      let column = 0;
      for (const block of blocks) {
        const width = block.length / this.#batchSize;
        logits.set(block.subarray(slot * width, (slot + 1) * width), column);
        column += width;
      }
      return logits;
    });
  }

  /** Brings all of a sequence but its last token into the cache. */
  #fill(sequence: Sequence, slot: number): void {
    const { ids } = sequence;
    if (ids.length - sequence.dropped > this.#cache.length) {
      sequence.dropped = ids.length - Math.max(1, this.#cache.length >> 1);
      sequence.held = 0;
    }
    const end = ids.length - sequence.dropped - 1;
    const length = Math.min(PIECE, this.#cache.length);
    for (; sequence.held < end; sequence.held = Math.min(sequence.held + length, end)) {
      const tokens = new Uint32Array(length);
      const from = sequence.dropped + sequence.held;
      tokens.set(ids.slice(from, Math.min(from + length, ids.length - 1)));
      this.#prefill.write("tokens", tokens);
      this.#prefill.write("starts", Uint32Array.of(sequence.held));
      this.#prefill.write("slots", Uint32Array.of(slot));
      this.#prefill.run();
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Adds the next token to a sequence and says whether it ends there. */
function extend({ request, ids }: Sequence, logits: Float32Array): boolean {
  const { prompt, seed = 0, stopIds = [], onToken } = request;
  const count = ids.length - prompt.length;
  const id = sampleToken(logits, request, seed, count, ids);
  ids.push(id);
  return onToken?.(id) === false || stopIds.includes(id) || count + 1 >= maxTokensOf(request);
}

function maxTokensOf({ maxTokens = 100 }: GenerateOptions): number {
  return maxTokens;
}
