/**
 * Kernels over all tensors of a segment at once. A table cuts the tensors into chunks that never cross a
 * tensor's border, one workgroup takes one chunk, and so the number of dispatches depends neither on how many
 * tensors there are nor on their sizes.
 *
 * Tensors begin on 256-byte boundaries, so a tensor's last four values may reach into padding, never into
 * another tensor. Gradients may hold anything there and are masked; parameters and state are zero there and
 * stay so, since an update of zeros with a zero gradient gives zeros.
 *
 * @module
 */
import { type Graph, type Operand, type UpdateSegment, vec4 } from "../gpu/graph.ts";
import { flatIndexWgsl, flatWorkgroups, mainInputs } from "../gpu/kernel.ts";
import type { Parameter } from "../gpu/parameters.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { STATISTICS } from "./optimizer.ts";

/** Values in a chunk: enough that a workgroup's setup does not show, few enough to fill a GPU. */
export const CHUNK_VALUES = 16_384;

const THREADS = 64;

/** A segment and its table of chunks. */
export interface ChunkedSegment {
  /** The segment. */
  readonly segment: UpdateSegment;
  /** u32 [chunks, 4]: the first group of four values, the end of these, the end of the tensor's values, its tag. */
  readonly table: Tensor;
  /** Number of chunks. */
  readonly chunks: number;
  /** Number of chunks in the segments before this one. */
  readonly firstChunk: number;
}

/**
 * Cuts a segment into chunks.
 *
 * @param items Where its tensors lie.
 * @param tag A number for each tensor, for the kernels.
 * @returns Rows of the table (see {@linkcode ChunkedSegment.table}), one after the other.
 */
export function chunkRows(
  items: UpdateSegment["items"],
  tag: (item: Parameter, index: number) => number,
): number[] {
  return items.flatMap(({ item, start, size }, index) => {
    const rows: number[] = [];
    for (let done = 0; done < size; done += CHUNK_VALUES) {
      const end = Math.min(done + CHUNK_VALUES, size);
      rows.push((start + done) / 4, Math.ceil((start + end) / 4), start + size, tag(item, index));
    }
    return rows;
  });
}

/** Makes the tables of some segments. Tensors are counted through all of them. */
export function chunkSegments(
  g: Graph,
  label: string,
  segments: readonly UpdateSegment[],
  tag: (item: Parameter, index: number) => number = () => 0,
): ChunkedSegment[] {
  let firstChunk = 0;
  let firstTensor = 0;
  return segments.map((segment) => {
    const rows = chunkRows(segment.items, (item, index) => tag(item, firstTensor + index));
    const chunks = rows.length / 4;
    const table = g.constant(`${label}.chunks`, Uint32Array.from(rows), [chunks, 4]);
    const chunked = { segment, table, chunks, firstChunk };
    firstChunk += chunks;
    firstTensor += segment.items.length;
    return chunked;
  });
}

/** What {@linkcode updateChunks} takes. */
export interface ChunkUpdate {
  /** Name of the kernel. */
  readonly label: string;
  /** Tensors of the segment's layout that are updated, by their names in WGSL: arrays of `vec4f`. */
  readonly write: Readonly<Record<string, Tensor>>;
  /** Other tensors to read, bound as they are. */
  readonly extra: Readonly<Record<string, Operand>>;
  /** The statistics, for the gradient scale and for steps that must change nothing. */
  readonly statistics: Tensor;
  /** WGSL statements before the loop; `tag` is the tensor's tag. */
  readonly before: string;
  /** WGSL statements for the values at `i`; `g` is their scaled gradient. */
  readonly statements: string;
}

/** Records one elementwise pass over a segment. */
export function updateChunks(g: Graph, chunked: ChunkedSegment, options: ChunkUpdate): void {
  const { label, write, extra, statistics, before, statements } = options;
  const { segment, table, chunks } = chunked;
  g.dispatch({
    label,
    read: {
      table: { tensor: table, type: "vec4u" },
      gradients: vec4(segment.gradients),
      statistics,
      ...extra,
    },
    write: vectors(write),
    workgroups: flatWorkgroups(chunks),
    body: `${flatIndexWgsl}${maskWgsl}
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  let index = flat_group(group, groups);
  if (index >= ${chunks}u || statistics[${STATISTICS.skip}] != 0.0) { return; }
  let chunk = table[index];
  let tag = chunk.w;
  let scale = statistics[${STATISTICS.gradientScale}];
  ${before}
  for (var i = chunk.x + lane; i < chunk.y; i += ${THREADS}u) {
    let g = scale * masked(gradients[i], i, chunk.z);
    ${statements}
  }
}`,
  });
}

/** What {@linkcode chunkSums} takes. */
export interface ChunkSums {
  /** Name of the kernel. */
  readonly label: string;
  /** Tensors of a segment's layout to read, by their names in WGSL: arrays of `vec4f`. */
  read(segment: number): Readonly<Record<string, Tensor>>;
  /** The statistics, for the gradient scale; without them gradients are taken as they are. */
  readonly statistics?: Tensor;
  /** WGSL statements for the values at `i`; `g` is their gradient. */
  readonly statements: string;
  /** WGSL expressions of type vec4f, summed over the values. */
  readonly terms: readonly string[];
}

/**
 * Records sums over the values of every chunk, in an order that never changes.
 *
 * @returns f32 [all chunks, terms].
 */
export function chunkSums(g: Graph, segments: readonly ChunkedSegment[], options: ChunkSums): Tensor {
  const { label, read, statistics, statements, terms } = options;
  const total = segments.reduce((sum, s) => sum + s.chunks, 0);
  const partials = g.activation(`${label}.partials`, [total, terms.length]);
  segments.forEach(({ segment, table, chunks, firstChunk }, s) => {
    g.dispatch({
      label,
      read: {
        table: { tensor: table, type: "vec4u" },
        gradients: vec4(segment.gradients),
        ...vectors(read(s)),
        ...(statistics ? { statistics } : {}),
      },
      write: { partials },
      workgroups: flatWorkgroups(chunks),
      body: `${flatIndexWgsl}${maskWgsl}
var<workgroup> shared_sums: array<array<f32, ${terms.length}>, ${THREADS}>;
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  let index = flat_group(group, groups);
  if (index >= ${chunks}u) { return; }
  let chunk = table[index];
  let scale = ${statistics ? `statistics[${STATISTICS.gradientScale}]` : "1.0"};
  ${terms.map((_, k) => `var sum${k} = vec4f();`).join(" ")}
  for (var i = chunk.x + lane; i < chunk.y; i += ${THREADS}u) {
    let g = scale * masked(gradients[i], i, chunk.z);
    ${statements}
    ${terms.map((term, k) => `sum${k} += ${term};`).join("\n    ")}
  }
  ${terms.map((_, k) => `shared_sums[lane][${k}] = dot(sum${k}, vec4f(1.0));`).join("\n  ")}
  workgroupBarrier();
  // Every lane below the number of terms sums one of them: one barrier instead of a tree of six.
  if (lane < ${terms.length}u) {
    var sum = 0.0;
    for (var other = 0u; other < ${THREADS}u * groups.z; other++) { sum += shared_sums[other][lane]; }
    partials[(${firstChunk}u + index) * ${terms.length}u + lane] = sum;
  }
}`,
    });
  });
  return partials;
}

const maskWgsl = `
fn masked(value: vec4f, i: u32, end: u32) -> vec4f {
  return select(vec4f(), value, i * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(end));
}
`;

/** WGSL: whether a number is neither infinite nor NaN. By its bits, since compilers may assume that all are. */
export const isFiniteWgsl: string = `
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
`;

function vectors(tensors: Readonly<Record<string, Tensor>>): Record<string, Operand> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, vec4(tensor)]));
}
