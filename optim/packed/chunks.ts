/**
 * The tensors of a segment, cut into chunks that never cross a tensor's border. One workgroup takes one chunk, and so
 * the number of dispatches depends neither on how many tensors there are nor on their sizes (see `passes.ts`).
 *
 * Tensors begin on 256-byte boundaries, so a tensor's last four values may reach into padding, never into
 * another tensor. Gradients may hold anything there and are masked; parameters and state are zero there and
 * stay so, since an update of zeros with a zero gradient gives zeros.
 *
 * @module
 */
import type { Graph, UpdateSegment } from "../../gpu/graph.ts";
import type { Parameter } from "../../gpu/parameters.ts";
import type { Tensor } from "../../gpu/tensor.ts";

/** Values in a chunk: enough that a workgroup's setup does not show, few enough to fill a GPU. */
export const CHUNK_VALUES = 16_384;

/** Chunks of a segment that one kernel updates: all of them, or as many as one binding can hold. */
export interface ChunkedPart {
  /** The segment. */
  readonly segment: UpdateSegment;
  /** The segment's place among all. */
  readonly index: number;
  /** The stretch of the segment that holds the chunks, in elements. */
  readonly window: readonly [number, number];
  /** u32 [chunks, 4]: the first group of four values, the end of these, the end of the tensor's values, its tag. */
  readonly table: Tensor;
  /** Number of chunks. */
  readonly chunks: number;
  /** Number of chunks in the parts before this one. */
  readonly firstChunk: number;
  /** Whether a tensor ends inside a group of four values. */
  readonly ragged: boolean;
}

/** A chunk: its first element, its end, the end of its tensor, and the tensor's tag. */
type Chunk = readonly [first: number, end: number, tensorEnd: number, tag: number];

/**
 * Cuts a segment into chunks.
 *
 * @param items Where its tensors lie.
 * @param tag A number for each tensor, for the kernels.
 */
export function cutChunks(
  items: UpdateSegment["items"],
  tag: (item: Parameter, index: number) => number,
): Chunk[] {
  return items.flatMap(({ item, start, size }, index) =>
    Array.from({ length: Math.ceil(size / CHUNK_VALUES) }, (_, c): Chunk => {
      const first = start + c * CHUNK_VALUES;
      return [first, Math.min(first + CHUNK_VALUES, start + size), start + size, tag(item, index)];
    })
  );
}

/** Makes the tables of some segments. Tensors are counted through all of them. */
export function chunkSegments(
  g: Graph,
  label: string,
  segments: readonly UpdateSegment[],
  tag: (item: Parameter, index: number) => number = () => 0,
): ChunkedPart[] {
  let firstChunk = 0;
  let firstTensor = 0;
  const limit = Math.max(CHUNK_VALUES, g.profile.maxBindingBytes / 4);
  return segments.flatMap((segment, index) => {
    const chunks = cutChunks(segment.items, (item, i) => tag(item, firstTensor + i));
    firstTensor += segment.items.length;
    const parts: ChunkedPart[] = [];
    for (let from = 0; from < chunks.length;) {
      const start = chunks[from][0];
      const past = chunks.findIndex((c, i) => i > from && c[1] - start > limit);
      const own = chunks.slice(from, past < 0 ? chunks.length : past);
      const window = [start, Math.min(segment.length, Math.ceil(own[own.length - 1][1] / 64) * 64)] as const;
      const rows = own.flatMap(([first, end, tensorEnd, tag]) => [
        (first - start) / 4,
        Math.ceil((end - start) / 4),
        tensorEnd - start,
        tag,
      ]);
      const table = g.constant(`${label}.chunks`, Uint32Array.from(rows), [own.length, 4]);
      const ragged = own.some((c) => c[2] % 4 !== 0);
      parts.push({ segment, index, window, table, chunks: own.length, firstChunk, ragged });
      firstChunk += own.length;
      from += own.length;
    }
    return parts;
  });
}

/**
 * Which rows of `chunkSums` belong to a tensor, and a number for it, for kernels that go through the tensors.
 *
 * @param number The number of a tensor; default 0.
 * @returns u32 [tensors, 4]: the tensor's first chunk among all, how many it has, the bits of its number as an f32, and
 * zero.
 */
export function chunkRanges(
  g: Graph,
  label: string,
  segments: readonly UpdateSegment[],
  number: (item: Parameter) => number = () => 0,
): Tensor {
  let first = 0;
  const ranges = segments.flatMap((s) => s.items).flatMap(({ item, size }) => {
    const [bits] = new Uint32Array(Float32Array.of(number(item)).buffer);
    const range = [first, Math.ceil(size / CHUNK_VALUES), bits, 0];
    first += range[1];
    return range;
  });
  return g.constant(`${label}.ranges`, Uint32Array.from(ranges), [ranges.length / 4, 4]);
}
