/**
 * Loss of a model on held-out text, summed on the GPU and read once.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { Graph } from "../gpu/graph.ts";
import { type ParameterStore, writeTensor } from "../gpu/parameters.ts";
import { compileProgram, type Program } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { LanguageModel } from "../models/model.ts";
import { languageModelLoss } from "./trainer.ts";

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
  /** Bits per byte of the predicted text; absent without byte lengths. */
  readonly bitsPerByte?: number;
}

/** An evaluation under the names that JSON files carry: loss, perplexity, tokens, bits_per_byte. */
export function evaluationRecord({ bitsPerByte, ...rest }: Evaluation): Record<string, number> {
  return { ...rest, ...(bitsPerByte === undefined ? {} : { bits_per_byte: bitsPerByte }) };
}

/** A compiled forward pass. Made by {@linkcode Evaluator.create}. */
export class Evaluator {
  readonly #gpu: Gpu;
  readonly #program: Program;
  readonly #totals: Tensor;

  private constructor(gpu: Gpu, program: Program, totals: Tensor) {
    this.#gpu = gpu;
    this.#program = program;
    this.#totals = totals;
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
    const totals = g.output("totals", [2]);
    g.dispatch({
      label: "add_losses",
      read: { losses: sequenceLosses, counts: sequenceCounts },
      write: { totals },
      constants: { BATCH: batchSize },
      workgroups: [1, 1, 1],
      body: `
@compute @workgroup_size(1) fn main() {
  for (var b = 0u; b < BATCH; b++) {
    totals[0] += losses[b] * counts[b];
    totals[1] += counts[b];
  }
}`,
    });
    return new Evaluator(gpu, await compileProgram(gpu, g), totals);
  }

  /**
   * Evaluates the model as its parameters are now.
   *
   * @param batches Batches of the shape given to {@linkcode Evaluator.create}.
   * @param byteLengths Bytes that each token id stands for, for bits per byte.
   * @throws {RangeError} If no target counts.
   */
  async evaluate(batches: Iterable<TokenBatch>, byteLengths?: ArrayLike<number>): Promise<Evaluation> {
    writeTensor(this.#gpu, this.#totals, new Float32Array(2));
    let bytes = 0;
    for (const { tokens, targets, starts } of batches) {
      this.#program.write("tokens", tokens);
      this.#program.write("targets", targets);
      if (starts) this.#program.write("starts", starts);
      this.#program.run();
      // Ids past the table are ignored targets.
      if (byteLengths) { for (const target of targets) bytes += byteLengths[target] ?? 0; }
    }
    const [[sum, count]] = await this.#program.read(this.#totals);
    if (count === 0) throw new RangeError("An evaluation needs at least one target that counts, got none");
    const loss = sum / count;
    return {
      loss,
      perplexity: Math.exp(loss),
      tokens: count,
      ...(byteLengths ? { bitsPerByte: sum / Math.LN2 / bytes } : {}),
    };
  }

  /** Gives the buffers back; the parameters stay. */
  destroy(): void {
    this.#program.destroy();
  }
}
