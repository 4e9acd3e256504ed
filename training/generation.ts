/**
 * Generating text: a forward pass over the last tokens for each new one.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { Graph } from "../gpu/graph.ts";
import type { ParameterStore } from "../gpu/parameters.ts";
import { compileProgram, type Program } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { LanguageModel } from "../models/model.ts";
import { selectPositions } from "../ops/embedding.ts";
import { headLogits } from "../ops/cross_entropy.ts";
import { checkSampling, sampleToken, type SamplingOptions } from "./sampling.ts";

/** Options of {@linkcode Generator.generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to add; default 100. */
  readonly maxTokens?: number;
  /** Seed of the draws; default 0. */
  readonly seed?: number;
  /** Stop after this id, such as the end-of-text token; default none. */
  readonly stopId?: number;
  /** Called with each new id. */
  readonly onToken?: (id: number) => void;
}

/** A compiled forward pass of one sequence. Made by {@linkcode Generator.create}. */
export class Generator {
  readonly #program: Program;
  readonly #logits: Tensor;
  readonly #length: number;
  readonly #vocabSize: number;

  private constructor(program: Program, logits: Tensor, length: number, vocabSize: number) {
    this.#program = program;
    this.#logits = logits;
    this.#length = length;
    this.#vocabSize = vocabSize;
  }

  /** Compiles generation for a model whose parameters have buffers. */
  static async create(gpu: Gpu, model: LanguageModel, parameters: ParameterStore): Promise<Generator> {
    const length = model.maxSeqLen; // T
    const g = new Graph({ profile: gpu.profile, parameters });
    const hidden = model.hidden(g, g.input("tokens", [1, length], "u32")); // [1, T, C]
    const last = selectPositions(g, hidden, g.input("position", [1], "u32")); // [1, C]
    const logits = g.collect(headLogits(g, last, model.head(g))); // [1, V, 1]
    return new Generator(await compileProgram(gpu, g), logits, length, model.vocabSize);
  }

  /**
   * Logits for what follows a sequence.
   *
   * @param ids At least one token id; only the last `maxSeqLen` count.
   * @returns [V].
   * @throws {RangeError} If there are no ids or one is not in the vocabulary.
   */
  async logits(ids: readonly number[]): Promise<Float32Array> {
    if (ids.length === 0) throw new RangeError("A prompt needs at least one token, got none");
    const bad = ids.find((id) => !(Number.isInteger(id) && id >= 0 && id < this.#vocabSize));
    if (bad !== undefined) {
      throw new RangeError(`Token ids must be integers from 0 to ${this.#vocabSize - 1}, got ${bad}`);
    }
    const recent = ids.slice(-this.#length);
    const tokens = new Uint32Array(this.#length);
    tokens.set(recent);
    this.#program.write("tokens", tokens);
    this.#program.write("position", Uint32Array.of(recent.length - 1));
    this.#program.run();
    return (await this.#program.read(this.#logits))[0];
  }

  /**
   * Continues a sequence.
   *
   * @param prompt At least one token id.
   * @param options See {@linkcode GenerateOptions}.
   * @returns The new ids, the stop id included.
   * @throws {RangeError} If the prompt or an option is out of range.
   */
  async generate(prompt: readonly number[], options: GenerateOptions = {}): Promise<number[]> {
    const { maxTokens = 100, seed = 0, stopId, onToken } = options;
    checkSampling(options);
    const ids = [...prompt];
    for (let i = 0; i < maxTokens; i++) {
      const id = sampleToken(await this.logits(ids), options, seed, i);
      ids.push(id);
      onToken?.(id);
      if (id === stopId) break;
    }
    return ids.slice(prompt.length);
  }

  /** Gives the buffers back; the parameters stay. */
  destroy(): void {
    this.#program.destroy();
  }
}
