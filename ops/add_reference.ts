/** Plain float64 reference of {@linkcode add}; its gradient is dy for both arguments. */
export function addReference(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (x, i) => x + b[i]);
}
