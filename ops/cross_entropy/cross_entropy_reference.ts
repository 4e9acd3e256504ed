/**
 * Plain float64 reference of {@linkcode linearCrossEntropy}.
 *
 * @param x [N, C].
 * @param weight [V, C].
 * @param targets [N]; those of at least V do not count.
 * @returns The loss of each row (0 where the target does not count) and their mean.
 */
export function crossEntropyReference(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  targets: ArrayLike<number>,
  channels: number,
): { losses: Float64Array; loss: number } {
  const vocab = weight.length / channels;
  let counted = 0;
  const losses = Float64Array.from(targets, (target, n) => {
    if (target >= vocab) return 0;
    counted++;
    const logits = Array.from({ length: vocab }, (_, v) => {
      let z = 0;
      for (let c = 0; c < channels; c++) z += x[n * channels + c] * weight[v * channels + c];
      return z;
    });
    const top = Math.max(...logits);
    return top + Math.log(logits.reduce((sum, z) => sum + Math.exp(z - top), 0)) - logits[target];
  });
  return { losses, loss: losses.reduce((a, b) => a + b, 0) / Math.max(counted, 1) };
}
