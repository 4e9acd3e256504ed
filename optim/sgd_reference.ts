/** Plain float64 reference of {@linkcode sgd} for one tensor. */
export class SgdReference {
  readonly #b: Float64Array;

  constructor(
    readonly theta: Float64Array,
    readonly options: { lr: number; momentum: number; nesterov: boolean; weightDecay: number },
  ) {
    this.#b = new Float64Array(theta.length);
  }

  /** One update. */
  step(g: ArrayLike<number>): void {
    const { lr, momentum, nesterov, weightDecay } = this.options;
    this.theta.forEach((x, i) => {
      const h = g[i] + weightDecay * x;
      this.#b[i] = momentum * this.#b[i] + h;
      this.theta[i] = x - lr * (nesterov ? h + momentum * this.#b[i] : this.#b[i]);
    });
  }
}
