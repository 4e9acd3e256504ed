/** Shape of an attention problem. */
export interface AttentionShape {
  /** B */
  readonly batch: number;
  /** T */
  readonly length: number;
  /** NH */
  readonly numHeads: number;
  /** Key and value heads. */
  readonly numKeyValueHeads: number;
  /** HS */
  readonly headDim: number;
}

/**
 * Plain float64 reference of {@linkcode attention}: q [B, T, NH HS], k and v [B, T, KV HS].
 *
 * @param keep Factor of the weight of query i and key j in head h of sequence b; default 1.
 * @param start The first key that query i of sequence b sees; default 0.
 */
export function attentionReference(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  { batch, length, numHeads, numKeyValueHeads, headDim }: AttentionShape,
  keep: (b: number, h: number, i: number, j: number) => number = () => 1,
  start: (b: number, i: number) => number = () => 0,
): Float64Array {
  const out = new Float64Array(q.length);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < numHeads; h++) {
      const kv = Math.floor(h / (numHeads / numKeyValueHeads));
      for (let i = 0; i < length; i++) {
        const at = ((b * length + i) * numHeads + h) * headDim;
        const other = (j: number) => ((b * length + j) * numKeyValueHeads + kv) * headDim;
        const first = start(b, i);
        const scores = Array.from({ length: i + 1 - first }, (_, offset) => {
          const j = first + offset;
          let s = 0;
          for (let c = 0; c < headDim; c++) s += q[at + c] * k[other(j) + c];
          return s / Math.sqrt(headDim);
        });
        const top = Math.max(...scores);
        const total = scores.reduce((sum, s) => sum + Math.exp(s - top), 0);
        scores.forEach((s, offset) => {
          const j = first + offset;
          const p = Math.exp(s - top) / total * keep(b, h, i, j);
          for (let c = 0; c < headDim; c++) out[at + c] += p * v[other(j) + c];
        });
      }
    }
  }
  return out;
}
