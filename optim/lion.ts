/**
 * Lion (Chen et al., arXiv 2302.06675): steps of one size in every coordinate, along the sign of a momentum.
 *
 * ```text
 * u = sign(b1 m + (1 - b1) g)
 * m = b2 m + (1 - b2) g
 * theta = (1 - lr wd) theta - lr u
 * ```
 *
 * Every coordinate moves by lr, so learning rates are 3 to 10 times smaller than AdamW's and weight decays as much
 * larger. One elementwise pass: reads g, m and theta, writes m and theta, 5 values per parameter; one more read
 * before it, for the norm of all gradients; state: 1.
 *
 * @module
 */
import type { Parameter } from "../gpu/parameters.ts";
import { f32 } from "../gpu/wgsl.ts";
import { type Optimizer, requireInRange } from "./optimizer.ts";
import { chunkSegments } from "./packed/chunks.ts";
import { gradientSquares, updateChunks } from "./packed/passes.ts";
import { parameterState } from "./packed/state.ts";

/** Hyper-parameters of {@linkcode lion}. */
export interface LionOptions {
  /** Learning rate; default 1e-4. */
  readonly lr?: number;
  /** Share of the momentum in the direction of a step; default 0.9. */
  readonly beta1?: number;
  /** Decay of the momentum; default 0.99. */
  readonly beta2?: number;
  /** Decoupled weight decay; default 1. */
  readonly weightDecay?: number;
  /** Decay biases, norms and embeddings too; default false. */
  readonly decayAll?: boolean;
}

/**
 * Makes a Lion optimizer.
 *
 * @param options See {@linkcode LionOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export function lion(options: LionOptions = {}): Optimizer {
  const { lr = 1e-4, beta1 = 0.9, beta2 = 0.99, weightDecay = 1, decayAll = false } = options;
  requireInRange("lion", "lr", lr, { from: 0 });
  requireInRange("lion", "weightDecay", weightDecay, { from: 0 });
  requireInRange("lion", "beta1", beta1, { from: 0, below: 1 });
  requireInRange("lion", "beta2", beta2, { from: 0, below: 1 });
  return {
    name: "lion",
    scalarCount: 1,
    scalars: (_step, factor) => [lr * factor],
    *record(g, { prefix, segments }) {
      const m = parameterState(g, `${prefix}.m`, segments);
      const isDecayed = (p: Parameter) => (decayAll || p.role === "matrix" ? 1 : 0);
      const parts = chunkSegments(g, prefix, segments, isDecayed);
      const { statistics, scalars } = yield gradientSquares(g, parts);
      for (const part of parts) {
        updateChunks(g, part, {
          label: "lion",
          write: { theta: part.segment.parameters, m: m.packed[part.index] },
          extra: { scalars },
          statistics,
          before: `let keep = 1.0 - select(0.0, scalars[0] * ${f32(weightDecay)}, tag == 1u);`,
          statements: `
    let u = sign(${f32(beta1)} * m[i] + ${f32(1 - beta1)} * g);
    m[i] = ${f32(beta2)} * m[i] + ${f32(1 - beta2)} * g;
    theta[i] = keep * theta[i] - scalars[0] * u;`,
        });
      }
      return { state: m.named };
    },
  };
}
