import { matmulReference } from "../ops/linear_reference.ts";

/** Plain float64 reference of {@linkcode soap} for one matrix of any shape. */
export class SoapReference {
  readonly #m: Float64Array;
  readonly #v: Float64Array;
  readonly #r: Float64Array;
  #q: Float64Array;
  #steps = 0;

  constructor(
    readonly theta: Float64Array,
    readonly shape: readonly [rows: number, columns: number],
    readonly options: {
      lr: number;
      beta1: number;
      beta2: number;
      shampooBeta: number;
      eps: number;
      weightDecay: number;
      frequency: number;
    },
  ) {
    const c = Math.min(...shape);
    [this.#m, this.#v] = [new Float64Array(theta.length), new Float64Array(theta.length)];
    [this.#r, this.#q] = [new Float64Array(c * c), new Float64Array(c * c)];
    for (let i = 0; i < c; i++) this.#q[i * c + i] = 1;
  }

  /** One update. */
  step(gradient: ArrayLike<number>): void {
    const { lr, beta1, beta2, shampooBeta, eps, weightDecay, frequency } = this.options;
    const [rows, columns] = [Math.max(...this.shape), Math.min(...this.shape)];
    const g = Float64Array.from(gradient);
    this.#m.forEach((m, i) => this.#m[i] = beta1 * m + (1 - beta1) * g[i]);
    const rotated = this.#turned(g);
    this.#v.forEach((v, i) => this.#v[i] = beta2 * v + (1 - beta2) * rotated[i] ** 2);
    const t = this.#steps + 1;
    const direction = this.#turned(this.#m).map((m, i) =>
      m / (1 - beta1 ** t) / (Math.sqrt(this.#v[i] / (1 - beta2 ** t)) + eps)
    );
    const back = this.#tall(matmulReference(direction, this.#q, [rows, columns, columns], false, true), true);
    this.theta.forEach((x, i) => this.theta[i] = x * (1 - lr * weightDecay) - lr * back[i]);
    const tall = this.#tall(g);
    const gram = matmulReference(tall, tall, [columns, columns, rows], true);
    this.#r.forEach((r, i) => this.#r[i] = shampooBeta * r + (1 - shampooBeta) * gram[i]);
    if (this.#steps < frequency || this.#steps % frequency === 0) {
      this.#q = refreshedBasis(this.#r, this.#q, columns);
    }
    this.#steps++;
  }

  /** The matrix with at least as many rows as columns, or back from it. */
  #tall(x: Float64Array, back = false): Float64Array {
    const [rows, columns] = back ? [this.shape[1], this.shape[0]] : this.shape;
    if (this.shape[0] >= this.shape[1]) return x;
    return x.map((_, i) => x[i % rows * columns + Math.floor(i / rows)]);
  }

  #turned(x: Float64Array): Float64Array {
    const [rows, columns] = [Math.max(...this.shape), Math.min(...this.shape)];
    return matmulReference(this.#tall(x), this.#q, [rows, columns, columns]);
  }
}

/** One iteration of the eigenbasis of a symmetric matrix, as `eigenbasis.ts` has it. */
export function refreshedBasis(matrix: Float64Array, basis: Float64Array, size: number): Float64Array {
  const trace = matrix.reduce((sum, value, i) => sum + (i % (size + 1) === 0 ? value : 0), 0);
  if (trace === 0) return basis;
  const product = matmulReference(matrix, basis, [size, size, size]);
  return orthonormalColumns(basis.map((value, i) => product[i] / trace + 1e-6 * value), size);
}

/** Q of the QR decomposition whose R has a positive diagonal. */
function orthonormalColumns(x: Float64Array, size: number): Float64Array {
  const q = x.slice();
  const column = (j: number) => Array.from({ length: size }, (_, i) => q[i * size + j]);
  for (let j = 0; j < size; j++) {
    for (let k = 0; k < j; k++) {
      const dot = column(k).reduce((sum, value, i) => sum + value * q[i * size + j], 0);
      column(k).forEach((value, i) => q[i * size + j] -= dot * value);
    }
    const norm = Math.hypot(...column(j));
    for (let i = 0; i < size; i++) q[i * size + j] /= norm;
  }
  return q;
}
