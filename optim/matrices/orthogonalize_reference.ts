import { matmulReference } from "../../ops/linear_reference.ts";

/** Plain float64 reference of {@linkcode orthogonalize} for one matrix of any shape. */
export function orthogonalizeReference(x: Float64Array, rows: number, columns: number): Float64Array {
  const [a, b, c] = [3.4445, -4.7750, 2.0315];
  const norm = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0)) + 1e-7;
  let y = x.map((value) => value / norm);
  // The smaller of X^T X and X X^T: the results are the same.
  const tall = rows >= columns;
  const size = tall ? columns : rows;
  for (let step = 0; step < 5; step++) {
    const gram = matmulReference(y, y, [size, size, tall ? rows : columns], tall, !tall);
    const square = matmulReference(gram, gram, [size, size, size]);
    const inner = gram.map((value, i) => b * value + c * square[i]);
    const change = tall
      ? matmulReference(y, inner, [rows, columns, columns])
      : matmulReference(inner, y, [rows, columns, rows]);
    y = y.map((value, i) => a * value + change[i]);
  }
  return y;
}
