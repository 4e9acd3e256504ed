/** Plain float64 reference of {@linkcode lion} for one tensor. */
export class LionReference {
  readonly #m: Float64Array;

  constructor(
    readonly theta: Float64Array,
    readonly options: { lr: number; beta1: number; beta2: number; weightDecay: number },
  ) {
    this.#m = new Float64Array(theta.length);
  }

  /** One update. */
  step(g: ArrayLike<number>): void {
    const { lr, beta1, beta2, weightDecay } = this.options;
    this.theta.forEach((x, i) => {
      const u = Math.sign(beta1 * this.#m[i] + (1 - beta1) * g[i]);
      this.#m[i] = beta2 * this.#m[i] + (1 - beta2) * g[i];
      this.theta[i] = x - lr * (u + weightDecay * x);
    });
  }
}
