/**
 * Stochastic gradient descent with momentum, as PyTorch defines it:
 *
 * h = g + wd theta, b = mu b + h (b = h at first), theta -= lr b, or lr (h + mu b) with Nesterov's momentum.
 *
 * One elementwise pass: reads g, b and theta, writes b and theta, 5 values per parameter.
 *
 * @module
 */
import { f32 } from "../gpu/wgsl.ts";
import { type Optimizer, requireInRange } from "./optimizer.ts";
import { chunkSegments } from "./packed/chunks.ts";
import { gradientSquares, updateChunks } from "./packed/passes.ts";
import { parameterState } from "./packed/state.ts";

/** Hyper-parameters of {@linkcode sgd}. */
export interface SgdOptions {
  /** Learning rate; default 0.1. */
  readonly lr?: number;
  /** Momentum; default 0.9. */
  readonly momentum?: number;
  /** Nesterov's momentum; default false. */
  readonly nesterov?: boolean;
  /** Coupled weight decay; default 0. */
  readonly weightDecay?: number;
}

/**
 * Makes an SGD optimizer.
 *
 * @param options See {@linkcode SgdOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  const { lr = 0.1, momentum = 0.9, nesterov = false, weightDecay = 0 } = options;
  requireInRange("sgd", "lr", lr, { from: 0 });
  requireInRange("sgd", "weightDecay", weightDecay, { from: 0 });
  requireInRange("sgd", "momentum", momentum, { from: 0, below: 1 });
  return {
    name: "sgd",
    scalarCount: 1,
    scalars: (_step, factor) => [lr * factor],
    *record(g, { prefix, segments }) {
      const b = parameterState(g, `${prefix}.momentum`, segments);
      const parts = chunkSegments(g, prefix, segments);
      const { statistics, scalars } = yield gradientSquares(g, parts);
      for (const part of parts) {
        updateChunks(g, part, {
          label: "sgd",
          write: { theta: part.segment.parameters, b: b.packed[part.index] },
          extra: { scalars },
          statistics,
          // The state starts at 0, so that the first b is h without a special case.
          statements: `
    let h = g + ${f32(weightDecay)} * theta[i];
    let b_new = ${f32(momentum)} * b[i] + h;
    b[i] = b_new;
    theta[i] -= scalars[0] * ${nesterov ? `(h + ${f32(momentum)} * b_new)` : "b_new"};`,
        });
      }
      return { state: b.named };
    },
  };
}
