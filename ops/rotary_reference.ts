/** What {@linkcode rotaryReference} takes; the scaling is Llama 3.1's under Hugging Face's names. */
export interface RotaryReferenceOptions {
  readonly length: number;
  readonly numHeads: number;
  readonly headDim: number;
  readonly theta: number;
  readonly scaling?: {
    readonly factor: number;
    readonly low_freq_factor: number;
    readonly high_freq_factor: number;
    readonly original_max_position_embeddings: number;
  };
}

/** Plain float64 reference of {@linkcode rotary} over [B, T, NH * HS]: each pair as a complex number. */
export function rotaryReference(x: ArrayLike<number>, options: RotaryReferenceOptions): Float64Array {
  const { length, numHeads, headDim } = options;
  const half = headDim / 2;
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += headDim) {
    const position = Math.floor(start / (numHeads * headDim)) % length;
    for (let c = 0; c < half; c++) {
      const angle = position * frequency(c, options);
      const [re, im] = [x[start + c], x[start + half + c]];
      y[start + c] = re * Math.cos(angle) - im * Math.sin(angle);
      y[start + half + c] = re * Math.sin(angle) + im * Math.cos(angle);
    }
  }
  return y;
}

/** By cases of the wavelength, as Llama 3.1 defines it. */
function frequency(c: number, { headDim, theta, scaling }: RotaryReferenceOptions): number {
  const plain = 1 / Math.pow(theta, 2 * c / headDim);
  if (!scaling) return plain;
  const { factor, low_freq_factor: low, high_freq_factor: high } = scaling;
  const length = scaling.original_max_position_embeddings;
  const wavelength = 2 * Math.PI / plain;
  if (wavelength > length / low) return plain / factor;
  if (wavelength < length / high) return plain;
  const smooth = (length / wavelength - low) / (high - low);
  return (1 - smooth) * plain / factor + smooth * plain;
}
