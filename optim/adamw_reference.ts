/** Plain float64 reference of {@linkcode adamw} for one tensor. */
export class AdamWReference {
  readonly #m: Float64Array;
  readonly #v: Float64Array;
  #steps = 0;

  constructor(
    readonly theta: Float64Array,
    readonly options: { lr: number; beta1: number; beta2: number; eps: number; weightDecay: number },
  ) {
    this.#m = new Float64Array(theta.length);
    this.#v = new Float64Array(theta.length);
  }

  /** One update. */
  step(g: ArrayLike<number>): void {
    const { lr, beta1, beta2, eps, weightDecay } = this.options;
    this.#steps++;
    this.theta.forEach((x, i) => {
      this.#m[i] = beta1 * this.#m[i] + (1 - beta1) * g[i];
      this.#v[i] = beta2 * this.#v[i] + (1 - beta2) * g[i] ** 2;
      const m = this.#m[i] / (1 - beta1 ** this.#steps);
      const v = this.#v[i] / (1 - beta2 ** this.#steps);
      this.theta[i] = x * (1 - lr * weightDecay) - lr * m / (Math.sqrt(v) + eps);
    });
  }
}
