/**
 * Rotary position embedding (arXiv 2104.09864) in Hugging Face's split-half convention: value c of a head
 * forms a pair with value c + HS/2, and at position t the pair is turned by the angle t f_c:
 *
 * y_c = x_c cos(t f_c) - x_{c+HS/2} sin(t f_c), y_{c+HS/2} = x_{c+HS/2} cos(t f_c) + x_c sin(t f_c),
 * f_c = theta^(-2c / HS) for c < HS/2.
 *
 * Backward turns dy by the opposite angle; x is not needed.
 *
 * Llama 3.1 lengthens the context by making slow frequencies slower. With n = L f / (2 pi) turns within the
 * length L of pretraining, and u = (n - low) / (high - low) limited to [0, 1]: f becomes f (u + (1 - u) / factor).
 *
 * @module
 */
import type { Graph, Operand } from "../gpu/graph.ts";
import { expectShape, type Tensor } from "../gpu/tensor.ts";
import { opaque, perThread } from "../gpu/wgsl.ts";
import { vectorType } from "./vector_type.ts";

/** How Llama 3.1 slows frequencies down. */
export interface RotaryScaling {
  /** What the slowest frequencies are divided by. */
  readonly factor: number;
  /** Frequencies of at most so many turns within `originalLength` are divided by the whole factor. */
  readonly lowFreqFactor: number;
  /** Frequencies of at least so many turns stay; those between are blended. */
  readonly highFreqFactor: number;
  /** The longest sequence of pretraining, L. */
  readonly originalLength: number;
}

/** Options of {@linkcode rotaryTable}. */
export interface RotaryOptions {
  /** Base of the frequencies; default 10,000. */
  readonly theta?: number;
  /** Default none. */
  readonly scaling?: RotaryScaling;
}

/**
 * The angles per position.
 *
 * @param headDim Values of a head, HS; even.
 * @param options See {@linkcode RotaryOptions}.
 * @returns [HS / 2].
 * @throws {RangeError} If HS is odd.
 */
export function rotaryFrequencies(headDim: number, options: RotaryOptions = {}): Float64Array {
  if (!Number.isInteger(headDim / 2)) {
    throw new RangeError(
      `rotary: the values of a head form pairs, so there must be an even number, got ${headDim}`,
    );
  }
  const { theta = 10_000, scaling } = options;
  return Float64Array.from({ length: headDim / 2 }, (_, c) => {
    const frequency = theta ** (-2 * c / headDim);
    if (!scaling) return frequency;
    const { factor, lowFreqFactor: low, highFreqFactor: high, originalLength } = scaling;
    const turns = originalLength * frequency / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return frequency * (kept + (1 - kept) / factor);
  });
}

/**
 * Cosines and sines for {@linkcode rotary}, computed in double precision. Make it once for all layers, and outside
 * of any {@linkcode Graph.recompute} block, which would upload it again.
 *
 * @param g The graph to record in.
 * @param length Positions, T.
 * @param headDim Values of a head, HS; even.
 * @param options See {@linkcode RotaryOptions}.
 * @returns [T, HS]: HS / 2 cosines, then their sines.
 * @throws {RangeError} If HS is odd.
 */
export function rotaryTable(g: Graph, length: number, headDim: number, options: RotaryOptions = {}): Tensor {
  const frequencies = rotaryFrequencies(headDim, options);
  const table = new Float32Array(length * headDim);
  for (let t = 0; t < length; t++) {
    frequencies.forEach((frequency, c) => {
      table[t * headDim + c] = Math.cos(t * frequency);
      table[t * headDim + headDim / 2 + c] = Math.sin(t * frequency);
    });
  }
  return g.constant("rotary", table, [length, headDim]);
}

/**
 * Turns every head of queries or keys by its position.
 *
 * @param g The graph to record in.
 * @param x [B, T, NH * HS], with any number of heads.
 * @param table From {@linkcode rotaryTable}, [T, HS].
 * @param starts u32 [B], the position of each sequence's first row, without a gradient. The table may then have any
 * number of positions; those past it take its last. Default 0.
 * @returns [B, T, NH * HS].
 * @throws {TypeError} If the shapes do not fit.
 */
export function rotary(g: Graph, x: Tensor, table: Tensor, starts?: Tensor): Tensor {
  expectShape("rotary", "x", x, [null, null, null]);
  const [batch, length, channels] = x.shape; // B, T, C
  expectShape("rotary", "table", table, [starts ? null : length, null]);
  if (starts) expectShape("rotary", "starts", starts, [batch], "u32");
  const headDim = table.shape[1]; // HS
  const heads = channels / headDim; // NH
  if (!Number.isInteger(heads)) {
    throw new TypeError(`rotary: x must have whole heads of ${headDim} values, got ${channels} columns`);
  }
  const { width, wgsl, wrap } = vectorType(headDim / 2);
  const pairs = headDim / 2 / width;
  // A thread turns the same pairs of all heads by one angle. The number of heads is no constant, so that
  // queries and keys share a pipeline.
  const turn = (label: string, sign: "" | "-", from: Operand, to: Operand, assign: "=" | "+=") =>
    g.dispatch({
      label,
      read: { x: from, table: wrap(table), sizes: g.sizes(heads), ...(starts ? { starts } : {}) },
      write: { y: to },
      constants: { T: length, PAIRS: pairs },
      ...perThread({
        count: batch * length * pairs,
        index: "thread",
        functions: wgsl,
        statements: `let row = thread / PAIRS;
  let c = thread % PAIRS;
  let position = ${starts ? `min(starts[row / T] + row % T, ${table.shape[0] - 1}u)` : "row % T"};
  let angle = position * 2u * PAIRS + c;
  let cosine = table[angle];
  let sine = ${sign}table[angle + PAIRS];
  for (var head = 0u; head < ${opaque("sizes[0]")}; head++) {
    let i = (row * sizes[0] + head) * 2u * PAIRS + c;
    let j = i + PAIRS;
    let first = x[i];
    let second = x[j];
    y[i] ${assign} first * cosine - second * sine;
    y[j] ${assign} second * cosine + first * sine;
  }`,
      }),
    });

  const y = g.activation("rotary", x.shape, starts ? [] : [x]);
  turn("rotary_forward", "", wrap(x), wrap(y), "=");
  if (starts) return y;
  g.tape(() => {
    const dy = g.gradientOf(y);
    const dx = dy && g.gradientTarget(x);
    if (dx) turn("rotary_backward", "-", wrap(dy), wrap(dx.tensor), dx.accumulate ? "+=" : "=");
  });
  return y;
}
