/** Hyper-parameters of {@linkcode KoalaReference}. */
export interface KoalaReferenceOptions {
  readonly momentum: boolean;
  readonly lr: number;
  readonly sigma: number;
  readonly sigmaV: number;
  readonly a: number;
  readonly q: number;
  readonly alphaQ: number;
  readonly qV: number;
  /** Fixed measurement noise, or null for the average of the loss statistic. */
  readonly r: number | null;
  readonly alphaR: number;
  readonly weightDecay: number;
}

/** Plain float64 reference of {@linkcode koalaV} and {@linkcode koalaM}, with matrices as the paper writes them. */
export class KoalaReference {
  #average = 1;
  #q: number;
  #p: number[][];
  readonly #v: Float64Array[];
  readonly #mean: Float64Array[];
  readonly #last: Float64Array[];

  /** The parameters are those of the filter's last prediction. */
  constructor(readonly params: Float64Array[], readonly options: KoalaReferenceOptions) {
    this.#q = options.q;
    this.#p = [[options.sigma, 0], [0, options.sigmaV]];
    this.#v = params.map((theta) => new Float64Array(theta.length));
    this.#mean = params.map((theta) => new Float64Array(theta.length));
    this.#last = params.map((theta) => theta.slice());
  }

  /** One update of all tensors, and the prediction of the next. */
  step(gradients: ArrayLike<number>[], loss: number, statistic: number): void {
    const { momentum, lr, a, alphaQ, qV, alphaR, weightDecay } = this.options;
    this.#average = alphaR * this.#average + (1 - alphaR) * statistic;
    const r = this.options.r ?? this.#average;
    if (momentum) {
      const away = this.#mean.flatMap((mean, t) => [...mean].map((x, i) => (x - this.#last[t][i]) ** 2));
      this.#q = alphaQ * this.#q +
        (1 - alphaQ) * Math.sqrt(away.reduce((x, y) => x + y, 0)) / away.length;
    }
    const f = momentum ? [[1, 1], [0, a]] : [[1, 0], [0, 0]];
    const predicted = times(times(f, this.#p), [[f[0][0], f[1][0]], [f[0][1], f[1][1]]]);
    const [[pw, pc], [, pv]] = [[predicted[0][0] + this.#q, predicted[0][1]], [0, predicted[1][1] + qV]];
    let largest = 0;
    this.params.forEach((theta, t) => {
      const g = Float64Array.from(gradients[t]);
      if (Math.sqrt(squares(g)) >= 1e-9) {
        const h = g.map((x, i) => x + weightDecay * theta[i]);
        const s = pw * squares(h) + r;
        const step = lr * (loss + weightDecay / 2 * squares(theta)) / s;
        theta.forEach((x, i) => theta[i] = x - step * pw * h[i]);
        this.#v[t].forEach((v, i) => this.#v[t][i] = v - step * pc * h[i]);
        this.#mean[t].forEach((m, i) => this.#mean[t][i] = 0.9 * m + 0.1 * theta[i]);
        largest = Math.max(largest, squares(h) / s);
      }
      this.#last[t] = theta.slice();
      theta.forEach((x, i) => theta[i] = x + this.#v[t][i]);
      this.#v[t].forEach((v, i) => this.#v[t][i] = a * v);
    });
    this.#p = [
      [pw - pw * pw * largest, pc - pw * pc * largest],
      [pc - pw * pc * largest, pv - pc * pc * largest],
    ];
  }
}

function squares(x: Float64Array): number {
  return x.reduce((sum, value) => sum + value * value, 0);
}

function times(x: number[][], y: number[][]): number[][] {
  return x.map((row) => y[0].map((_, j) => row.reduce((sum, value, k) => sum + value * y[k][j], 0)));
}
