/**
 * Continuing sequences of token ids with a cache of keys and values on the GPU: a prompt is read in pieces of some
 * fixed lengths, then every run adds one token to each of several sequences. The GPU chooses it and goes on from there
 * by itself for a burst of runs, and with the next burst while the host reads the ids of the last.
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
import { type GeneratorOptions, recordGeneration } from "./recording.ts";
import { checkSampling, type SamplingOptions } from "./sampling.ts";
import { choiceInputs, type ChosenTokens, INFINITE_TOKEN, NAN_TOKEN } from "./token_choice.ts";

/** Options of {@linkcode Generator.generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to add; default 100. */
  readonly maxTokens?: number;
  /**
   * Seed of the draws; default 0. The same seed gives the same tokens on the same adapter, whatever else is continued
   * beside them; another adapter, or another version of its driver or of this library, may round otherwise and draw
   * others.
   */
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

/** Which sequence is where in the cache. */
type Places = (Sequence | undefined)[];

/** Runs that were submitted and whose tokens come back together. */
interface Burst {
  readonly length: number;
  /** [R, B], see {@linkcode ChosenTokens}. */
  readonly chosen: Promise<Uint32Array>;
}

/** Milliseconds from one read to the next below and above which a burst gets longer and shorter. */
const STEADY_MS = [50, 100] as const;

/** Compiled generation. Made by {@linkcode Generator.create}. */
export class Generator {
  readonly #cache: KeyValueCache;
  /** By their lengths, the longest first. */
  readonly #prefill: ReadonlyMap<number, Program>;
  readonly #decode: Program;
  readonly #choice: ChosenTokens;
  /** Used in turns, since one is still in use when the next burst is submitted. */
  readonly #readbacks: Readback[];
  readonly #vocabSize: number;
  /** Sequences use one cache, so whoever comes later waits for it. */
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    gpu: Gpu,
    parts: {
      cache: KeyValueCache;
      prefill: ReadonlyMap<number, Program>;
      decode: Program;
      choice: ChosenTokens;
    },
    vocabSize: number,
  ) {
    this.#cache = parts.cache;
    this.#prefill = parts.prefill;
    this.#decode = parts.decode;
    this.#choice = parts.choice;
    this.#readbacks = [0, 1].map(() => new Readback(gpu, [parts.choice.chosen]));
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
    const recorded = recordGeneration(gpu.profile, model, parameters, options);
    const { cache, choice } = recorded;
    const prefill = new Map<number, Program>();
    try {
      await cache.allocate(gpu);
      for (const [length, g] of recorded.prefill) prefill.set(length, await compileProgram(gpu, g));
      const decode = await compileProgram(gpu, recorded.decode);
      return new Generator(gpu, { cache, prefill, decode, choice }, model.vocabSize);
    } catch (error) {
      for (const program of prefill.values()) program.destroy();
      cache.destroy();
      throw error;
    }
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
      this.#place([this.#begin({ prompt: ids, temperature: 0 })]);
      this.#decode.run();
      const [scores] = await this.#decode.read(this.#choice.scores.rows(0, 1));
      return scores;
    });
  }

  /**
   * Continues a sequence. Where it outgrows the context, the model goes on from the last half of what it saw,
   * which begins a new context.
   *
   * @param prompt At least one token id; only the last ones count where there are more than the context holds.
   * @param options See {@linkcode GenerateOptions}.
   * @returns The new ids, the stop id included.
   * @throws {RangeError} If the prompt or an option is out of range, or the model gives logits that are not finite.
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
   * @throws {RangeError} If a prompt or an option is out of range, before anything is generated; or if the model gives
   * logits that are not finite.
   */
  generateAll(requests: readonly GenerateRequest[]): Promise<number[][]> {
    return this.#inTurn(async () => {
      const sequences = requests.map((request) => this.#begin(request));
      const waiting = sequences.filter(({ request }) => maxTokensOf(request) > 0);
      const places: Places = Array(this.#batchSize).fill(undefined);
      for (;;) {
        places.forEach((sequence, slot) => places[slot] = sequence ?? waiting.shift());
        if (places.every((sequence) => !sequence)) break;
        this.#place(places);
        await this.#extend(places, waiting.length > 0);
      }
      return sequences.map(({ request, ids }) => ids.slice(request.prompt.length));
    });
  }

  /** Gives the buffers back; the parameters stay. */
  destroy(): void {
    for (const program of [...this.#prefill.values(), this.#decode]) program.destroy();
    for (const readback of this.#readbacks) readback.destroy();
    this.#cache.destroy();
  }

  get #batchSize(): number {
    return this.#cache.sequences;
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

  /** Tells the GPU about all sequences: what they hold but for the last token, and where and how they go on. */
  #place(places: Places): void {
    const [tokens, starts] = [0, 0].map(() => new Uint32Array(this.#batchSize));
    const slots = Uint32Array.from(tokens, (_, slot) => slot);
    const choosing = Array.from(tokens, (_, slot) => {
      const sequence = places[slot];
      if (!sequence) return undefined;
      this.#fill(sequence, slot);
      const { request, ids, held } = sequence;
      tokens[slot] = ids[ids.length - 1];
      starts[slot] = held;
      return { options: request, ids, drawn: ids.length - request.prompt.length, start: held };
    });
    const inputs = { tokens, starts, slots, ...choiceInputs(choosing, this.#vocabSize) };
    for (const [name, values] of Object.entries(inputs)) this.#decode.write(name, values);
  }

  /** Brings all of a sequence but its last token into the cache. */
  #fill(sequence: Sequence, slot: number): void {
    const { ids } = sequence;
    if (ids.length - sequence.dropped > this.#cache.length) {
      sequence.dropped = ids.length - Math.max(1, this.#cache.length >> 1);
      sequence.held = 0;
    }
    const lengths = [...this.#prefill.keys()];
    for (;;) {
      const left = ids.length - sequence.dropped - 1 - sequence.held;
      if (left === 0) return;
      // A piece may end in places that nobody needs, up to a quarter of it.
      const length = lengths.find((length) => 3 * length <= 4 * left) ?? lengths[lengths.length - 1];
      const program = this.#prefill.get(length)!;
      const tokens = new Uint32Array(length);
      const from = sequence.dropped + sequence.held;
      tokens.set(ids.slice(from, from + Math.min(length, left)));
      program.write("tokens", tokens);
      program.write("starts", Uint32Array.of(sequence.held));
      program.write("slots", Uint32Array.of(slot));
      program.run();
      sequence.held += Math.min(length, left);
    }
  }

  /**
   * Adds tokens until all sequences have ended, or one must begin a new context, or one has ended where others wait
   * for its place; and until all bursts that were submitted are read.
   */
  async #extend(places: Places, othersWait: boolean): Promise<void> {
    const bursts: Burst[] = [];
    const count = places.filter((sequence) => sequence).length;
    let length = 1;
    let since = performance.now();
    try {
      for (let number = 0;;) {
        const sequences = places.filter((sequence) => sequence !== undefined);
        const submitted = bursts.reduce((sum, burst) => sum + burst.length, 0);
        const isOver = sequences.length === 0 || othersWait && sequences.length < count;
        const room = isOver ? 0 : Math.min(...sequences.map((s) => this.#room(s))) - submitted;
        if (room > 0 && bursts.length < 2) {
          bursts.push(this.#submit(Math.min(length, room), this.#readbacks[number++ % 2]));
          continue;
        }
        const burst = bursts.shift();
        if (!burst) return;
        this.#take(places, burst.length, await burst.chosen);
        const milliseconds = performance.now() - since;
        since += milliseconds;
        if (milliseconds < STEADY_MS[0]) length = Math.min(2 * length, this.#choice.chosen.shape[0]);
        else if (milliseconds > STEADY_MS[1]) length = Math.max(1, length >> 1);
      }
    } finally {
      // Where this failed, what follows must find both staging buffers unused.
      await Promise.allSettled(bursts.map(({ chosen }) => chosen));
    }
  }

  /** Tokens that may be added to a sequence before it ends or must begin a new context. */
  #room({ request, ids, held }: Sequence): number {
    return Math.min(maxTokensOf(request) - (ids.length - request.prompt.length), this.#cache.length - held);
  }

  /** Submits runs and begins to read what they choose. */
  #submit(length: number, readback: Readback): Burst {
    this.#decode.run(length);
    const chosen = readback.read().then(([values]) => new Uint32Array(values.buffer));
    // Whoever awaits it is told; it may be a while until then.
    chosen.catch(() => {});
    return { length, chosen };
  }

  /** Adds the tokens of a burst to their sequences, and frees the places of those that end. */
  #take(places: Places, length: number, chosen: Uint32Array): void {
    const rows = chosen.length / this.#batchSize;
    for (let i = 0; i < length; i++) {
      places.forEach((sequence, slot) => {
        if (!sequence) return;
        const id = chosen[sequence.held % rows * this.#batchSize + slot];
        if (addToken(sequence, id)) places[slot] = undefined;
      });
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Adds the next token to a sequence and says whether it ends there. */
function addToken(sequence: Sequence, id: number): boolean {
  const { request: { prompt, stopIds = [], onToken }, ids } = sequence;
  if (id === NAN_TOKEN) {
    throw new RangeError("The logits must be numbers, got NaN; the model's weights are broken");
  }
  if (id === INFINITE_TOKEN) {
    throw new RangeError(
      "The largest logit must be finite, got an infinite one; the model's weights are broken",
    );
  }
  ids.push(id);
  sequence.held++;
  const isLast = ids.length - prompt.length >= maxTokensOf(sequence.request);
  return onToken?.(id) === false || stopIds.includes(id) || isLast;
}

function maxTokensOf({ maxTokens = 100 }: GenerateOptions): number {
  return maxTokens;
}
