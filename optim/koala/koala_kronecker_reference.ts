import { matmulReference } from "../../ops/linear_reference.ts";
import { orthogonalizeReference } from "../matrices/orthogonalize_reference.ts";
import { refreshedBasis } from "../soap_reference.ts";

/** Hyper-parameters of {@linkcode KoalaKroneckerReference}. */
export interface KroneckerReferenceOptions {
  readonly lr: number;
  readonly beta: number;
  readonly beta2: number;
  readonly shampooBeta: number;
  readonly frequency: number;
  readonly weightDecay: number;
  readonly covariance: "one-sided" | "kronecker";
}

/** No side longer than this is turned. */
const LARGEST_BASIS = 2560;

/**
 * Plain float64 reference of {@linkcode koalaPlusPlus} with a covariance for one matrix that lies as [out, in]: the formulas of
 * `koala_kronecker.ts` in [out, in], with the polar factor in the eigenbasis.
 */
export class KoalaKroneckerReference {
  readonly #m: Float64Array;
  readonly #v: Float64Array;
  readonly #sides: { size: number; covariance: Float64Array; basis: Float64Array; turned: boolean }[];
  #steps = 0;

  constructor(
    readonly theta: Float64Array,
    readonly shape: readonly [outputs: number, inputs: number],
    readonly options: KroneckerReferenceOptions,
  ) {
    [this.#m, this.#v] = [new Float64Array(theta.length), new Float64Array(theta.length)];
    const [outputs, inputs] = shape;
    // Of a square matrix the columns count as the shorter side, and of one that lies as [out, in] these are its inputs.
    const shorter = outputs >= inputs ? 1 : 0;
    // A longer side must be one that its mean of gradients can span; sizes are padded to multiples of 4.
    const [rows, columns] = [Math.max(...shape), Math.min(...shape)].map((size) => 4 * Math.ceil(size / 4));
    const both = options.covariance === "kronecker" && rows <= columns / (1 - options.shampooBeta);
    this.#sides = shape.map((size, side) => {
      const turned = size <= LARGEST_BASIS && (both || side === shorter);
      const values = turned ? size * size : 0;
      const basis = Float64Array.from({ length: values }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
      return { size, covariance: new Float64Array(values), basis, turned };
    });
  }

  /** One update. */
  step(gradient: ArrayLike<number>): void {
    const { lr, beta, beta2, shampooBeta, frequency, weightDecay } = this.options;
    const [outputs, inputs] = this.shape;
    const g = this.theta.map((x, i) => gradient[i] + weightDecay * x);
    this.#m.forEach((m, i) => this.#m[i] = beta * m + (1 - beta) * g[i]);
    const ahead = this.#m.map((m, i) => beta * m + (1 - beta) * g[i]);
    this.#turned(g, true).forEach((x, i) => this.#v[i] = beta2 * this.#v[i] + (1 - beta2) * x * x);
    const total = 1 - beta2 ** (this.#steps + 1);
    const whitened = this.#turned(ahead, true).map((u, i) => u / (Math.sqrt(this.#v[i] / total) + 1e-8));
    const step = this.#turned(orthogonalizeReference(whitened, outputs, inputs), false);
    const length = lr * Math.max(1, outputs / inputs) ** 0.5;
    step.forEach((x, i) => this.theta[i] -= length * x);

    this.#sides.forEach((side, i) => {
      if (!side.turned) return;
      const gram = i === 0
        ? matmulReference(g, g, [outputs, outputs, inputs], false, true)
        : matmulReference(g, g, [inputs, inputs, outputs], true);
      side.covariance = side.covariance.map((x, j) => shampooBeta * x + (1 - shampooBeta) * gram[j]);
      if (this.#steps < frequency || this.#steps % frequency === 0) {
        side.basis = refreshedBasis(side.covariance, side.basis, side.size);
      }
    });
    this.#steps++;
  }

  /** Into the eigenbasis or out of it. */
  #turned(x: Float64Array, into: boolean): Float64Array {
    const [outputs, inputs] = this.shape;
    const [left, right] = this.#sides;
    const half = left.turned ? matmulReference(left.basis, x, [outputs, inputs, outputs], into) : x;
    return right.turned ? matmulReference(half, right.basis, [outputs, inputs, inputs], false, !into) : half;
  }
}
