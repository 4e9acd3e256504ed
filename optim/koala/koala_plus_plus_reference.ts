import { orthogonalizeReference } from "../matrices/orthogonalize_reference.ts";

/** Hyper-parameters of {@linkcode KoalaPlusPlusReference}. */
export interface ReferenceOptions {
  readonly lr: number;
  readonly sigma: number;
  readonly q: number;
  /** Fixed measurement noise, or null for the average of the loss statistic. */
  readonly r: number | null;
  readonly alphaR: number;
  readonly weightDecay: number;
  readonly symmetric: boolean;
  /** Decay of the average of gradients; default 0. */
  readonly beta?: number;
  /** Whether the step is orthogonalised, and how long it then is; default none. */
  readonly orthogonal?: "none" | "gain" | "unit";
}

/**
 * Plain float64 reference of {@linkcode koalaPlusPlus}: the formulas of its header, vector by vector, without
 * the guard.
 */
export class KoalaPlusPlusReference {
  #average = 1;
  readonly #state: ({ v: Float64Array; h: Float64Array; s: number; steps: number } | undefined)[];

  /** `shapes` are needed for orthogonal steps, as [out, in]. */
  constructor(
    readonly params: Float64Array[],
    readonly options: ReferenceOptions,
    readonly shapes: readonly (readonly [number, number])[] = [],
  ) {
    this.#state = params.map(() => undefined);
  }

  /** One update of all tensors. */
  step(gradients: ArrayLike<number>[], loss: number, statistic: number): void {
    const { lr, sigma, q, alphaR, weightDecay, symmetric, beta = 0 } = this.options;
    this.#average = alphaR * this.#average + (1 - alphaR) * statistic;
    const r = this.options.r ?? this.#average;
    this.params.forEach((theta, i) => {
      const g = Float64Array.from(gradients[i]);
      if (Math.sqrt(dot(g, g)) < 1e-9) return;
      const steps = (this.#state[i]?.steps ?? 0) + 1;
      // The average is the sum of gradients with weights (1 - beta) beta^age, over the sum of these weights.
      const sum = g.map((x, j) => {
        const last = (this.#state[i]?.h[j] ?? 0) * (1 - beta ** (steps - 1));
        return beta * last + (1 - beta) * (x + weightDecay * theta[j]);
      });
      const h = sum.map((x) => x / (1 - beta ** steps));
      const first = { v: h.map((x) => sigma * x), h, s: (sigma + q) * dot(h, h) + r };
      const { v: v0, h: h0, s: s0 } = this.#state[i] ?? first;
      const alpha = dot(h, h0) / dot(h0, h0);
      const lambda = (dot(h, v0) + q * dot(h, h0)) / s0;
      const w = symmetric ? (dot(h, v0) * dot(h0, h0) - dot(h0, v0) * dot(h, h0)) / dot(h0, h0) ** 2 : 0;
      const v = h.map((x, j) => (alpha - lambda) * v0[j] + q * (x - lambda * h0[j]) + w * h0[j]);
      const s = dot(v, h) + q * dot(h, h) + r;
      const layerLoss = loss + weightDecay / 2 * dot(theta, theta);
      const step = v.map((x, j) => lr * layerLoss / s * (x + q * h[j]));
      const spread = this.#orthogonal(step, i);
      theta.forEach((x, j) => theta[j] = x - spread[j]);
      this.#state[i] = { v, h, s, steps };
    });
  }

  /** A tensor's step as it is taken. */
  #orthogonal(step: Float64Array, tensor: number): Float64Array {
    const { orthogonal = "none", lr } = this.options;
    if (orthogonal === "none") return step;
    const [outputs, inputs] = this.shapes[tensor];
    const length = orthogonal === "unit"
      ? lr * Math.max(1, outputs / inputs) ** 0.5
      : (dot(step, step) / Math.min(outputs, inputs)) ** 0.5;
    return orthogonalizeReference(step, outputs, inputs).map((x) => x * length);
  }
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
