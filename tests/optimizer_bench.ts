/** Runs optimizers on gradients that the test gives, without a model. */
import type { Gpu } from "../gpu/device.ts";
import { Graph, type UpdateSegment } from "../gpu/graph.ts";
import { type ParameterRole, writeTensor } from "../gpu/parameters.ts";
import { compileProgram, type Program } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { elementwise } from "../ops/elementwise.ts";
import type { OwnedState, RecordedUpdate } from "../optim/optimizer.ts";
import type { OptimizerPartition } from "../optim/partition.ts";
import { recordUpdates } from "../optim/update.ts";

/** A tensor to optimise. */
export interface TestTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
  readonly role?: ParameterRole;
}

/** Optimizers over tensors whose gradients, loss and sequence losses are inputs. */
export class OptimizerBench {
  #step = 0;
  private constructor(
    readonly gpu: Gpu,
    readonly graph: Graph,
    readonly program: Program,
    readonly rules: OptimizerPartition,
    readonly updates: readonly RecordedUpdate[],
    readonly statistics: Tensor,
    readonly segments: readonly UpdateSegment[],
  ) {}

  static async create(gpu: Gpu, rules: OptimizerPartition, tensors: readonly TestTensor[], clip = 0) {
    const g = new Graph({ profile: gpu.profile, training: true });
    const losses = g.input("loss", [1, 1], "f32");
    const sequences = g.input("sequence_losses", [1, 2], "f32");
    for (const { name, shape, values, role } of tensors) {
      const p = g.parameter(name, shape, { init: (out) => out.set(values), role });
      const gradient = g.input(`gradient.${name}`, shape, "f32");
      // Written in vectors of four, which leaves garbage in the padding behind the tensor.
      elementwise(g, {
        label: "gradient",
        read: { gradient },
        out: g.gradientTarget(p)!.tensor,
        statements:
          `out[i] = select(vec4f(1e9), gradient[i], i * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(${p.size}u));`,
      });
    }
    const { optimizers, statistics, segments } = recordUpdates(g, rules, {
      losses,
      sequenceLosses: sequences,
      clip,
    });
    const updates = optimizers.map(({ update }) => update);
    await g.parameters.allocate(gpu, 0);
    return new OptimizerBench(gpu, g, await compileProgram(gpu, g), rules, updates, statistics, segments);
  }

  /** One step; two sequence losses of the given variance around the loss. */
  step(gradients: Readonly<Record<string, Float32Array>>, loss: number, variance: number): void {
    const { program } = this;
    program.write("loss", Float32Array.of(loss));
    const d = Math.sqrt(variance);
    program.write("sequence_losses", Float32Array.of(loss - d, loss + d));
    for (const [name, values] of Object.entries(gradients)) program.write(`gradient.${name}`, values);
    for (const optimizer of this.rules.optimizers) {
      if (!this.graph.inputs.has(`${optimizer.name}.scalars`)) continue;
      program.write(`${optimizer.name}.scalars`, Float32Array.from(optimizer.scalars(this.#step, 1)));
    }
    program.run();
    this.#step++;
  }

  read(): Promise<Map<string, Float32Array>> {
    return this.graph.parameters.read(this.gpu);
  }

  get state(): readonly OwnedState[] {
    return this.updates.flatMap((update) => update.state);
  }

  /** The optimizers' numbers for metrics, by name. */
  async summary(): Promise<Record<string, number>> {
    const summaries = this.updates.flatMap(({ summary }) => (summary ? [summary] : []));
    const values = await this.program.read(...summaries.map(({ tensor }) => tensor));
    return Object.fromEntries(
      summaries.flatMap(({ names }, i) => names.map((name, j) => [name, values[i][j]])),
    );
  }

  /** Takes over parameters, state and step number of another run. */
  async restore(other: OptimizerBench): Promise<void> {
    for (const [name, values] of await other.read()) this.graph.parameters.write(this.gpu, name, values);
    const values = await other.program.read(...other.state.map((s) => s.tensor));
    this.state.forEach(({ tensor }, i) => writeTensor(this.gpu, tensor, values[i]));
    this.#step = other.#step;
  }

  destroy(): void {
    this.program.destroy();
    this.graph.parameters.destroy();
  }
}
