/** Plain float64 reference of {@linkcode gelu}; erf by its Taylor series, for |x| below 6. */
export function geluReference(x: ArrayLike<number>, kind: "tanh" | "erf"): Float64Array {
  return Float64Array.from(x, (v) => {
    if (kind === "tanh") return 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
    return 0.5 * v * (1 + erf(v / Math.SQRT2));
  });
}

function erf(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; n < 200; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}
