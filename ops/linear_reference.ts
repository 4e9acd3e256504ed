/** Plain float64 reference of {@linkcode matmul}: [m, k] x [k, n], each transposed on request. */
export function matmulReference(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  [m, n, k]: readonly [number, number, number],
  transposedA = false,
  transposedB = false,
): Float64Array {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++) {
        sum += a[transposedA ? p * m + i : i * k + p] * b[transposedB ? j * k + p : p * n + j];
      }
      out[i * n + j] = sum;
    }
  }
  return out;
}
