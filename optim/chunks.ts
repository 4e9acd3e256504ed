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
import { type SquareSums, STATISTICS } from "./optimizer.ts";

/** Values in a chunk: enough that a workgroup's setup does not show, few enough to fill a GPU. */
export const CHUNK_VALUES = 16_384;

/** Threads of a workgroup: one subgroup on a CPU, where more only cost. At least as many as there are sums. */
function threadsOf(g: Graph): number {
  return g.profile.isSoftware ? 8 : 64;
}

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
 * WGSL for the chunk of a workgroup. Neighbouring workgroups take chunks that are far apart: lavapipe gives each
 * of its threads one contiguous half of the workgroups, and small tensors tend to stand together.
 */
function chunkIndexWgsl(chunks: number): string {
  let stride = chunks < 1 << 16 ? Math.max(1, Math.round(chunks * 0.618)) : 1;
  while (greatestCommonDivisor(stride, chunks) > 1) stride--;
  return `flat_group(group, groups);
  if (index >= ${chunks}u) { return; }
  index = index * ${stride}u % ${chunks}u`;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** A part's stretch of a tensor that is laid out like its segment. */
function windowed({ segment, window: [start, end] }: ChunkedPart, tensor: Tensor): Operand {
  return vec4(end - start === segment.length ? tensor : tensor.rows(start, end));
}

/** What {@linkcode updateChunks} takes. */
export interface ChunkUpdate {
  /** Name of the kernel. */
  readonly label: string;
  /**
   * Tensors of the segment's layout that are updated, by their names in WGSL: arrays of `vec4f`. Gradients are
   * only read, unless they are here as `gradients`.
   */
  readonly write: Readonly<Record<string, Tensor>>;
  /** Tensors of the segment's layout that are only read. */
  readonly read?: Readonly<Record<string, Tensor>>;
  /** Other tensors to read, bound as they are. */
  readonly extra?: Readonly<Record<string, Operand>>;
  /** The statistics, for the gradient scale and for steps that must change nothing. */
  readonly statistics: Tensor;
  /** WGSL statements before the loop; `tag` is the tensor's tag, `scale` the gradient scale. */
  readonly before?: string;
  /**
   * WGSL statements for the values at `i` of a tensor that is left alone, because the step must change nothing or
   * `before` has set `left_alone`; default none.
   */
  readonly otherwise?: string;
  /** WGSL statements for the values at `i`; `g` is their scaled gradient. */
  readonly statements: string;
}

/** Records one elementwise pass over a part. */
export function updateChunks(g: Graph, part: ChunkedPart, options: ChunkUpdate): void {
  const { label, write, read = {}, extra, statistics, before = "", otherwise, statements } = options;
  const { segment, table, chunks } = part;
  const threads = threadsOf(g);
  const loop = (inner: string) => `for (var i = chunk.x + lane; i < chunk.y; i += ${threads}u) { ${inner} }`;
  g.dispatch({
    label,
    read: {
      table: { tensor: table, type: "vec4u" },
      ...("gradients" in write ? {} : { gradients: windowed(part, segment.gradients) }),
      ...windows(part, read),
      statistics,
      ...extra,
    },
    write: windows(part, write),
    // Gradients and what is only read move once, what is updated is read and written.
    bytes: (part.window[1] - part.window[0]) * 4 *
      (1 + Object.keys(read).length + 2 * Object.keys(write).filter((name) => name !== "gradients").length),
    workgroups: flatWorkgroups(chunks),
    body: `${flatIndexWgsl}${maskWgsl(part)}
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {
  var index = ${chunkIndexWgsl(chunks)};
  let chunk = table[index];
  let tag = chunk.w;
  let scale = statistics[${STATISTICS.gradientScale}];
  var left_alone = statistics[${STATISTICS.skip}] != 0.0;
  ${before}
  if (left_alone) {
    ${otherwise === undefined ? "" : loop(otherwise)}
    return;
  }
  ${
      loop(`
    let g = scale * masked(gradients[i], i, chunk.z);
    ${statements}`)
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
  /** WGSL expressions of type f32, summed over the groups of four values at `i`; `g` is their unscaled gradient. */
  readonly terms: readonly string[];
}

/**
 * Records sums over the values of every chunk, in an order that never changes.
 *
 * @returns f32 [all chunks, terms].
 */
export function chunkSums(g: Graph, parts: readonly ChunkedPart[], options: ChunkSums): Tensor {
  const { label, read, terms } = options;
  const threads = threadsOf(g);
  // Packed in vectors, since every variable that a loop carries costs something on a CPU.
  const packs = Array.from({ length: Math.ceil(terms.length / 4) }, (_, p) => terms.slice(p * 4, p * 4 + 4));
  const typeOf = (pack: readonly string[]) => (pack.length > 1 ? `vec${pack.length}f` : "f32");
  const total = parts.reduce((sum, s) => sum + s.chunks, 0);
  const partials = g.activation(`${label}.partials`, [total, terms.length]);
  for (const part of parts) {
    const { segment, index, table, chunks, firstChunk } = part;
    g.dispatch({
      label,
      read: {
        table: { tensor: table, type: "vec4u" },
        gradients: windowed(part, segment.gradients),
        ...windows(part, read(index)),
      },
      write: { partials },
      workgroups: flatWorkgroups(chunks),
      body: `${flatIndexWgsl}${maskWgsl(part)}
var<workgroup> shared_sums: array<array<f32, ${terms.length}>, ${threads}>;
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {
  var index = ${chunkIndexWgsl(chunks)};
  let chunk = table[index];
  ${packs.map((pack, p) => `var sum${p} = ${typeOf(pack)}();`).join(" ")}
  for (var i = chunk.x + lane; i < chunk.y; i += ${threads}u) {
    let g = masked(gradients[i], i, chunk.z);
    ${packs.map((pack, p) => `sum${p} += ${typeOf(pack)}(${pack.join(", ")});`).join("\n    ")}
  }
  ${
        packs.flatMap((pack, p) =>
          pack.map((_, k) => `shared_sums[lane][${p * 4 + k}] = sum${p}${pack.length > 1 ? `[${k}]` : ""};`)
        ).join("\n  ")
      }
  workgroupBarrier();
  // Every lane below the number of terms sums one of them: one barrier instead of a tree of six.
  if (lane < ${terms.length}u) {
    var sum = 0.0;
    for (var other = 0u; other < ${threads}u * groups.z; other++) { sum += shared_sums[other][lane]; }
    partials[(${firstChunk}u + index) * ${terms.length}u + lane] = sum;
  }
}`,
    });
  }
  return partials;
}

/**
 * Which rows of {@linkcode chunkSums} belong to a tensor.
 *
 * @returns u32 [tensors, 2]: the tensor's first chunk among all, and how many it has.
 */
export function chunkRanges(g: Graph, label: string, segments: readonly UpdateSegment[]): Tensor {
  let first = 0;
  const ranges = segments.flatMap((s) => s.items).flatMap(({ size }) => {
    const range = [first, Math.ceil(size / CHUNK_VALUES)];
    first += range[1];
    return range;
  });
  return g.constant(`${label}.ranges`, Uint32Array.from(ranges), [ranges.length / 2, 2]);
}

/**
 * WGSL that sums the rows of `tensor` in `dots`, from {@linkcode chunkSums}, into `d0`, `d1` and so on; `ranges` is
 * bound as `vec2u`.
 */
export function tensorSumsWgsl(width: number): string {
  const columns = [...Array(width).keys()];
  return `
    ${columns.map((d) => `var d${d} = 0.0;`).join(" ")}
    let first = ranges[tensor].x;
    for (var chunk = first; chunk < first + ranges[tensor].y; chunk++) {
      let at = chunk * ${width}u;
      ${columns.map((d) => `d${d} += dots[at + ${d}u];`).join(" ")}
    }`;
}

/** Records the sums of squares of gradients, for optimizers that need no pass over them before their update. */
export function gradientSquares(g: Graph, parts: readonly ChunkedPart[]): SquareSums {
  const partials = chunkSums(g, parts, { label: "gradient_norm", read: () => ({}), terms: ["dot(g, g)"] });
  return { partials, column: 0 };
}

/** WGSL: a gradient without what lies behind its tensor's end, where any part of it does. */
function maskWgsl({ ragged }: ChunkedPart): string {
  return `
fn masked(value: vec4f, i: u32, end: u32) -> vec4f {
  return ${ragged ? "select(vec4f(), value, i * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(end))" : "value"};
}
`;
}

/** WGSL: whether a number is neither infinite nor NaN. By its bits, since compilers may assume that all are. */
export const isFiniteWgsl: string = `
fn is_finite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }
`;

function windows(part: ChunkedPart, tensors: Readonly<Record<string, Tensor>>): Record<string, Operand> {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, windowed(part, t)]));
}
