/** Plain float64 reference of {@linkcode rmsNorm} over rows of `weight.length` values. */
export function rmsNormReference(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  eps: number,
): Float64Array {
  const channels = weight.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += channels) {
    let meanSquare = 0;
    for (let c = 0; c < channels; c++) meanSquare += x[start + c] ** 2 / channels;
    for (let c = 0; c < channels; c++) y[start + c] = x[start + c] / Math.sqrt(meanSquare + eps) * weight[c];
  }
  return y;
}
