/** Plain float64 reference of {@linkcode layerNorm} over rows of `weight.length` values. */
export function layerNormReference(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  eps: number,
): Float64Array {
  const channels = weight.length;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += channels) {
    let mean = 0;
    for (let c = 0; c < channels; c++) mean += x[start + c] / channels;
    let variance = 0;
    for (let c = 0; c < channels; c++) variance += (x[start + c] - mean) ** 2 / channels;
    for (let c = 0; c < channels; c++) {
      y[start + c] = (x[start + c] - mean) / Math.sqrt(variance + eps) * weight[c] + bias[c];
    }
  }
  return y;
}
