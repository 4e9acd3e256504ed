/**
 * AdamW (Loshchilov and Hutter, arXiv 1711.05101): Adam with decoupled weight decay.
 *
 * m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2
 * theta = (1 - lr wd) theta - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
 *
 * One elementwise pass: reads g, m, v and theta, writes m, v and theta, 7 values per parameter; one more read
 * before it, for the norm of all gradients.
 *
 * @module
 */
import type { Parameter } from "../gpu/parameters.ts";
import { f32 } from "../gpu/wgsl.ts";
import { type Optimizer, requireInRange } from "./optimizer.ts";
import { chunkSegments } from "./packed/chunks.ts";
import { gradientSquares, updateChunks } from "./packed/passes.ts";
import { parameterState } from "./packed/state.ts";

/** Hyper-parameters of {@linkcode adamw}. */
export interface AdamWOptions {
  /** Learning rate; default 1e-3. */
  readonly lr?: number;
  /** Decay of the mean of gradients; default 0.9. */
  readonly beta1?: number;
  /** Decay of the mean of their squares; default 0.95. */
  readonly beta2?: number;
  /** Added to the denominator; above 0, so that nothing is divided by 0 where no gradient ever came; default 1e-8. */
  readonly eps?: number;
  /** Decoupled weight decay; default 0.1. */
  readonly weightDecay?: number;
  /** Decay biases, norms and embeddings too; default false. */
  readonly decayAll?: boolean;
}

/**
 * Makes an AdamW optimizer.
 *
 * @param options See {@linkcode AdamWOptions}.
 * @throws {RangeError} If a hyper-parameter is out of range.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * const [lr] = adamw({ lr: 0.003 }).scalars(0, 0.5);
 * deepEqual(lr, 0.0015);
 * ```
 */
export function adamw(options: AdamWOptions = {}): Optimizer {
  const { lr = 1e-3, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, weightDecay = 0.1, decayAll = false } = options;
  for (const [name, value] of Object.entries({ lr, weightDecay })) {
    requireInRange("adamw", name, value, { from: 0 });
  }
  requireInRange("adamw", "eps", eps, { above: 0 });
  for (const [name, value] of Object.entries({ beta1, beta2 })) {
    requireInRange("adamw", name, value, { from: 0, below: 1 });
  }
  return {
    name: "adamw",
    scalarCount: 3,
    scalars(step, factor) {
      const rate = lr * factor;
      return [rate, rate / (1 - beta1 ** (step + 1)), 1 / Math.sqrt(1 - beta2 ** (step + 1))];
    },
    *record(g, { prefix, segments }) {
      const m = parameterState(g, `${prefix}.m`, segments);
      const v = parameterState(g, `${prefix}.v`, segments);
      const isDecayed = (p: Parameter) => (decayAll || p.role === "matrix" ? 1 : 0);
      const parts = chunkSegments(g, prefix, segments, isDecayed);
      const { statistics, scalars } = yield gradientSquares(g, parts);
      for (const part of parts) {
        updateChunks(g, part, {
          label: "adamw",
          write: { theta: part.segment.parameters, m: m.packed[part.index], v: v.packed[part.index] },
          extra: { scalars },
          statistics,
          before: `let keep = 1.0 - select(0.0, scalars[0] * ${f32(weightDecay)}, tag == 1u);`,
          statements: `
    let m_new = ${f32(beta1)} * m[i] + ${f32(1 - beta1)} * g;
    let v_new = ${f32(beta2)} * v[i] + ${f32(1 - beta2)} * g * g;
    m[i] = m_new;
    v[i] = v_new;
    theta[i] = keep * theta[i] - scalars[1] * m_new / (sqrt(v_new) * scalars[2] + ${f32(eps)});`,
        });
      }
      return { state: [...m.named, ...v.named] };
    },
  };
}
