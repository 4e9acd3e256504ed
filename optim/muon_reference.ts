import { orthogonalizeReference } from "./matrices/orthogonalize_reference.ts";

/** Plain float64 reference of {@linkcode muon} for one matrix that lies as [out, in]. */
export class MuonReference {
  readonly #m: Float64Array;

  constructor(
    readonly theta: Float64Array,
    readonly shape: readonly [outputs: number, inputs: number],
    readonly options: { lr: number; momentum: number; nesterov: boolean; weightDecay: number; scale: string },
  ) {
    this.#m = new Float64Array(theta.length);
  }

  /** One update. */
  step(g: ArrayLike<number>): void {
    const { lr, momentum, nesterov, weightDecay, scale } = this.options;
    const [outputs, inputs] = this.shape;
    this.#m.forEach((m, i) => this.#m[i] = momentum * m + (1 - momentum) * g[i]);
    const u = this.#m.map((m, i) => (nesterov ? (1 - momentum) * g[i] + momentum * m : m));
    const o = orthogonalizeReference(u, outputs, inputs);
    const s = scale === "original"
      ? Math.max(1, outputs / inputs) ** 0.5
      : 0.2 * Math.max(outputs, inputs) ** 0.5;
    this.theta.forEach((x, i) => this.theta[i] = x * (1 - lr * weightDecay) - lr * s * o[i]);
  }
}
