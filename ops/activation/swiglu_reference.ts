/** Plain float64 reference of {@linkcode swiglu}. */
export function swigluReference(gate: ArrayLike<number>, up: ArrayLike<number>): Float64Array {
  return Float64Array.from(gate, (x, i) => x / (1 + Math.exp(-x)) * up[i]);
}
