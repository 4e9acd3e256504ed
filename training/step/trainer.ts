/**
 * A compiled training step: record the loss, its gradients, clipping and the optimizers once, then replay.
 *
 * @module
 */
import type { SubmissionTime } from "../../gpu/clock.ts";
import type { Gpu } from "../../gpu/device.ts";
import type { Graph } from "../../gpu/graph.ts";
import type { ParameterStore } from "../../gpu/parameters.ts";
import type { ReplayProfile } from "../../gpu/profile.ts";
import { compileProgram, type Program } from "../../gpu/program.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import type { LanguageModel } from "../../models/model.ts";
import {
  type CrossEntropy,
  linearCrossEntropy,
  MICRO_WEIGHT,
} from "../../ops/cross_entropy/cross_entropy.ts";
import { RANDOM_SEED } from "../../ops/dropout.ts";
import { hashCombine } from "../../ops/random.ts";
import { type Optimizer, type OwnedState, STATISTICS, STATISTICS_SIZE } from "../../optim/optimizer.ts";
import {
  microWeights,
  type RecordedLoss,
  recordStep,
  RING_SLOTS,
  type StepInputs,
  type TrainerOptions,
} from "./recording.ts";

/** What is known of a step once the GPU has done it. */
export interface StepMetrics {
  /** 0-based number of the step. */
  readonly step: number;
  /** Mean loss. */
  readonly loss: number;
  /** Norm of all gradients together, before clipping. */
  readonly gradientNorm: number;
  /** What clipping multiplied the gradients with. */
  readonly gradientScale: number;
  /** The optimizers' own numbers, such as KOALA++'s R, by name. */
  readonly summary: Readonly<Record<string, number>>;
}

/**
 * A training step on the GPU.
 *
 * @example A step of a language model
 * ```ts ignore
 * const trainer = await Trainer.create(gpu, {
 *   record: languageModelLoss(gpt2({ vocab_size: 256, n_layer: 2, n_embd: 64, n_head: 4 }), 8, 64),
 *   optimizer: adamw({ lr: 1e-3 }),
 * });
 * trainer.step([{ tokens, targets }]);
 * console.log(await trainer.metrics());
 * ```
 */
export class Trainer {
  readonly #gpu: Gpu;
  readonly #graph: Graph;
  readonly #program: Program;
  readonly #optimizers: readonly { readonly optimizer: Optimizer; readonly input: string }[];
  readonly #ring: Tensor;
  readonly #names: readonly string[];
  readonly #sampleCount: RecordedLoss["sampleCount"];
  readonly #seed: number;
  readonly #pending: number[] = [];
  /** State of the optimizers, by name, for checkpoints. */
  readonly state: readonly OwnedState[];
  /** 0-based number of the next step. Set it when resuming. */
  nextStep = 0;

  private constructor(parts: {
    gpu: Gpu;
    graph: Graph;
    program: Program;
    optimizers: readonly { optimizer: Optimizer; input: string }[];
    ring: Tensor;
    names: readonly string[];
    sampleCount: RecordedLoss["sampleCount"];
    state: readonly OwnedState[];
    seed: number;
  }) {
    this.#gpu = parts.gpu;
    this.#graph = parts.graph;
    this.#program = parts.program;
    this.#optimizers = parts.optimizers;
    this.#ring = parts.ring;
    this.#names = parts.names;
    this.#sampleCount = parts.sampleCount;
    this.#seed = parts.seed;
    this.state = parts.state;
  }

  /**
   * Records and compiles a training step, and gives the parameters their starting values.
   *
   * @param gpu The device.
   * @param options See {@linkcode TrainerOptions}.
   * @throws {TypeError} If shapes do not fit.
   * @throws {RangeError} If an option is out of range, or memory runs out: the message says what needs how much.
   */
  static async create(gpu: Gpu, options: TrainerOptions): Promise<Trainer> {
    const { seed = 0 } = options;
    const { graph, optimizers, ring, names, sampleCount, state } = recordStep(gpu.profile, options);
    try {
      await graph.parameters.allocate(gpu, seed);
      const program = await compileProgram(gpu, graph);
      return new Trainer({ gpu, graph, program, optimizers, ring, names, sampleCount, state, seed });
    } catch (error) {
      graph.parameters.destroy();
      throw error;
    }
  }

  /** The parameters, shared with evaluation and generation. */
  get parameters(): ParameterStore {
    return this.#graph.parameters;
  }

  /** Planned GPU memory in bytes, and the number of kernels in a step. */
  get plan(): Program["memory"] & { readonly dispatches: number } {
    return { ...this.#program.memory, dispatches: this.#program.dispatches };
  }

  /**
   * Whether {@linkcode Trainer.metrics} must be read before the next step: the GPU keeps the metrics of 64 steps.
   */
  get ringIsFull(): boolean {
    return this.#pending.length >= RING_SLOTS;
  }

  /**
   * Enqueues one step. It does not wait for the GPU.
   *
   * @param microBatches The inputs of each micro-batch.
   * @param factor What the learning rates are multiplied with; default 1.
   * @throws {TypeError} If inputs are missing or of the wrong size.
   * @throws {RangeError} If the metrics of 64 steps are waiting to be read.
   */
  step(microBatches: readonly StepInputs[], factor = 1): void {
    this.#writeInputs(microBatches, factor);
    this.#program.run();
    this.#stepDone();
  }

  /** Does one step, waits for it and says how long it took in JavaScript and on the GPU. See {@linkcode Trainer.step}. */
  async timeStep(microBatches: readonly StepInputs[], factor = 1): Promise<SubmissionTime> {
    const started = performance.now();
    this.#writeInputs(microBatches, factor);
    const writing = (performance.now() - started) * 1e6;
    const { gpu, host } = await this.#program.timeRun();
    this.#stepDone();
    return { gpu, host: host + writing };
  }

  /** Does one step kernel by kernel and says how long each took. See {@linkcode Trainer.step}. */
  async profileStep(microBatches: readonly StepInputs[], factor = 1): Promise<ReplayProfile> {
    this.#writeInputs(microBatches, factor);
    const profile = await this.#program.profile();
    this.#stepDone();
    return profile;
  }

  #stepDone(): void {
    this.#pending.push(this.nextStep++);
  }

  #writeInputs(microBatches: readonly StepInputs[], factor: number): void {
    if (this.ringIsFull) throw new RangeError(`Read metrics() at least every ${RING_SLOTS} steps`);
    if (microBatches.length !== this.#graph.microBatches) {
      throw new TypeError(
        `A step must get ${this.#graph.microBatches} micro-batches, got ${microBatches.length}`,
      );
    }
    const step = this.nextStep;
    microBatches.forEach((inputs, micro) => {
      for (const [name, { per }] of this.#graph.inputs) {
        if (per === "step" || name === MICRO_WEIGHT) continue;
        if (name === RANDOM_SEED) {
          this.#program.write(name, Uint32Array.of(hashCombine(this.#seed, step, micro)), micro);
        } else if (inputs[name]) {
          this.#program.write(name, inputs[name], micro);
        } else {
          throw new TypeError(
            `A step must get the input ${name}, got ${Object.keys(inputs).join(", ") || "nothing"}`,
          );
        }
      }
    });
    if (this.#graph.inputs.has(MICRO_WEIGHT)) {
      microWeights(microBatches, this.#sampleCount).forEach((weight, micro) =>
        this.#program.write(MICRO_WEIGHT, Float32Array.of(weight), micro)
      );
    }
    for (const { optimizer, input } of this.#optimizers) {
      this.#program.write(input, Float32Array.from(optimizer.scalars(step, factor)));
    }
    this.#program.write("metrics_slot", Uint32Array.of(step % RING_SLOTS));
  }

  /**
   * Waits for the enqueued steps. Others may be enqueued meanwhile.
   *
   * @returns Their metrics, those of steps read before left out.
   * @throws {GpuError} If the device reported an error.
   */
  async metrics(): Promise<StepMetrics[]> {
    // Steps that are enqueued while this waits belong to the next call.
    const steps = this.#pending.splice(0);
    const [ring] = await this.#program.read(this.#ring);
    const width = ring.length / RING_SLOTS;
    return steps.map((step) => {
      const row = ring.subarray((step % RING_SLOTS) * width, (step % RING_SLOTS + 1) * width);
      return {
        step,
        loss: row[STATISTICS.loss],
        gradientNorm: row[STATISTICS.gradientNorm],
        gradientScale: row[STATISTICS.gradientScale],
        summary: Object.fromEntries(this.#names.map((name, i) => [name, row[STATISTICS_SIZE + i]])),
      };
    });
  }

  /** Gives back all buffers, the parameters' too. */
  destroy(): void {
    this.#program.destroy();
    this.parameters.destroy();
    this.#gpu.check();
  }
}

/**
 * The loss of predicting each next token, with inputs `tokens` and `targets`, and `starts` where asked for.
 *
 * @param model The model.
 * @param batchSize Sequences per micro-batch, B.
 * @param seqLen Tokens per sequence, T.
 * @param masked Whether each position attends from its `starts` on only; default false.
 * @throws {RangeError} When recorded, if the sequences are longer than the model allows.
 */
export function languageModelLoss(
  model: LanguageModel,
  batchSize: number,
  seqLen: number,
  masked = false,
): (g: Graph) => CrossEntropy & RecordedLoss {
  return (g) => {
    const tokens = g.input("tokens", [batchSize, seqLen], "u32");
    const targets = g.input("targets", [batchSize, seqLen], "u32");
    const starts = masked ? g.input("starts", [batchSize, seqLen], "u32") : undefined;
    const [hidden, head] = [model.hidden(g, tokens, { starts }), model.head(g)]; // [B, T, C], [V, C]
    const [vocabSize] = head.shape;
    return {
      ...linearCrossEntropy(g, hidden, head, targets),
      sampleCount: ({ targets }) => targets.filter((id: number) => id < vocabSize).length,
    };
  };
}
