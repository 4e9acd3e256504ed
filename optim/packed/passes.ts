/**
 * Kernels over all tensors of a segment at once, in the chunks of `chunks.ts`: elementwise updates and sums.
 *
 * Optimizers give the WGSL for four values at a time. It may use the tensors that are bound, under the names that the
 * optimizer gives them, and what {@linkcode ChunkNames} lists.
 *
 * @module
 */
import { type Graph, type Operand, vec4 } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { type Launch, opaque, perWorkgroup } from "../../gpu/wgsl.ts";
import { STATISTICS } from "../optimizer.ts";
import type { ChunkedPart } from "./chunks.ts";

/** What WGSL over chunks finds defined, with its type. No tensor can be bound under one of these names. */
export interface ChunkNames {
  /** Which four values: `theta[i]` are those of a tensor of the segment's layout. */
  readonly i: "u32";
  /**
   * Their gradient, 0 behind the tensor's end: multiplied with `scale` in {@linkcode updateChunks}, as it is in
   * {@linkcode chunkSums}, which come before the scale is known.
   */
  readonly g: "vec4f";
  /** What stands in the gradients' place, without the scale: where that is a direction and no gradient. Not in sums. */
  readonly raw: "vec4f";
  /** The gradient scale, which clips. Not in sums. */
  readonly scale: "f32";
  /** The number that `chunkSegments` gave to the tensor. Not in sums. */
  readonly tag: "u32";
  /** The segment's gradients, which only {@linkcode ChunkUpdate.write} may bind under their name. */
  readonly gradients: "array<vec4f>";
  /** Those of the step, see {@linkcode STATISTICS}. Not in sums. */
  readonly statistics: "array<f32>";
  /** Rows of the part's table. */
  readonly table: "array<vec4u>";
  /** The row of this chunk. */
  readonly chunk: "vec4u";
}

/** Tensors by their names in WGSL. */
export type NamedOperands<T extends Operand = Tensor, Free extends string = never> =
  & Readonly<Record<string, T>>
  & { readonly [name in Exclude<keyof ChunkNames, Free>]?: never };

/** What {@linkcode updateChunks} takes. */
export interface ChunkUpdate {
  /** Name of the kernel. */
  readonly label: string;
  /**
   * Tensors of the segment's layout that are updated, as arrays of `vec4f`. Gradients are only read, unless they are
   * here as `gradients`.
   */
  readonly write: NamedOperands<Tensor, "gradients">;
  /** Tensors of the segment's layout that are only read, as arrays of `vec4f`. */
  readonly read?: NamedOperands;
  /** Other tensors to read, bound as they are. */
  readonly extra?: NamedOperands<Operand>;
  /** The statistics, for the gradient scale and for steps that must change nothing. */
  readonly statistics: Tensor;
  /** WGSL statements before the loop over the chunk's values; they know `tag` and `scale`. */
  readonly before?: string;
  /** A WGSL condition on which the tensor is left alone; it knows what `before` declares; default none. */
  readonly leaveAlone?: string;
  /**
   * WGSL statements for the values at `i` of a tensor that is left alone, as all are in a step that must change
   * nothing; default none.
   */
  readonly otherwise?: string;
  /** WGSL statements for the values at `i`. */
  readonly statements: string;
}

/** Records one elementwise pass over a part. */
export function updateChunks(g: Graph, part: ChunkedPart, options: ChunkUpdate): void {
  const { label, write, read = {}, extra = {}, statistics, statements } = options;
  const { before = "", leaveAlone, otherwise } = options;
  const { table, segment } = part;
  const asTheyAre: Readonly<Record<string, Operand>> = extra;
  const threads = threadsOf(g);
  const eachFour = (inner: string) =>
    `for (var i = chunk.x + lane; i < chunk.y; i += ${threads}u) { ${inner} }`;
  g.dispatch({
    label,
    read: {
      table: { tensor: table, type: "vec4u" },
      ...("gradients" in write ? {} : { gradients: windowed(part, segment.gradients) }),
      ...windows(part, read),
      statistics,
      ...asTheyAre,
    },
    write: windows(part, write),
    // Gradients and what is only read move once, what is updated is read and written.
    bytes: (part.window[1] - part.window[0]) * 4 *
      (1 + Object.keys(read).length + 2 * Object.keys(write).filter((name) => name !== "gradients").length),
    ...perChunk(
      part,
      threads,
      maskWgsl(part),
      `let tag = chunk.w;
  let scale = statistics[${STATISTICS.gradientScale}];
  ${before}
  if (statistics[${STATISTICS.skip}] != 0.0${leaveAlone ? ` || ${leaveAlone}` : ""}) {
    ${otherwise === undefined ? "" : eachFour(otherwise)}
    return;
  }
  ${
        eachFour(`
    let raw = masked(gradients[i], i, chunk.z);
    let g = scale * raw;
    ${statements}`)
      }`,
    ),
  });
}

/** Sums over every chunk, from {@linkcode chunkSums}. */
export interface Sums {
  /** f32 [all chunks, names.length]. */
  readonly partials: Tensor;
  /** Names of the columns. */
  readonly names: readonly string[];
}

/** What {@linkcode chunkSums} takes. */
export interface ChunkSumOptions {
  /** Name of the kernel. */
  readonly label: string;
  /** Tensors of a segment's layout to read, as arrays of `vec4f`. */
  read(segment: number): NamedOperands;
  /** WGSL expressions of type f32 by the names of their sums, for the values at `i`; they know `g` and `i`. */
  readonly terms: Readonly<Record<string, string>>;
}

/** Records sums over the values of every chunk, in an order that never changes. */
export function chunkSums(g: Graph, parts: readonly ChunkedPart[], options: ChunkSumOptions): Sums {
  const { label, read } = options;
  const names = Object.keys(options.terms);
  const terms = Object.values(options.terms);
  const threads = threadsOf(g);
  // Packed in vectors, since every variable that a loop carries costs something on a CPU.
  const packs = Array.from({ length: Math.ceil(terms.length / 4) }, (_, p) => terms.slice(p * 4, p * 4 + 4));
  const typeOf = (pack: readonly string[]) => (pack.length > 1 ? `vec${pack.length}f` : "f32");
  const total = parts.reduce((sum, s) => sum + s.chunks, 0);
  const partials = g.activation(`${label}.partials`, [total, terms.length]);
  for (const part of parts) {
    const { segment, index, table, firstChunk } = part;
    g.dispatch({
      label,
      read: {
        table: { tensor: table, type: "vec4u" },
        gradients: windowed(part, segment.gradients),
        ...windows(part, read(index)),
      },
      write: { partials },
      ...perChunk(
        part,
        threads,
        `${maskWgsl(part)}
var<workgroup> shared_sums: array<array<f32, ${terms.length}>, ${threads}>;`,
        `${packs.map((pack, p) => `var sum${p} = ${typeOf(pack)}();`).join(" ")}
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
    for (var other = 0u; other < ${opaque(threads)}; other++) { sum += shared_sums[other][lane]; }
    partials[(${firstChunk}u + index) * ${terms.length}u + lane] = sum;
  }`,
      ),
    });
  }
  return { partials, names };
}

/**
 * WGSL that adds the rows of `tensor` in `dots`, the partials of {@linkcode chunkSums}, into `sum_NAME` for each of
 * its names; `ranges`, from `chunkRanges`, is bound as `vec4u`.
 */
export function tensorSumsWgsl({ names }: Sums): string {
  return `
    ${names.map((name) => `var sum_${name} = 0.0;`).join(" ")}
    let first = ranges[tensor].x;
    for (var chunk = first; chunk < first + ranges[tensor].y; chunk++) {
      let at = chunk * ${names.length}u;
      ${names.map((name, column) => `sum_${name} += dots[at + ${column}u];`).join(" ")}
    }`;
}

/**
 * Records the sums of squares of gradients, for optimizers that need no pass over them before their update.
 *
 * @returns f32 [all chunks, 1].
 */
export function gradientSquares(g: Graph, parts: readonly ChunkedPart[]): Tensor {
  const terms = { gg: "dot(g, g)" };
  return chunkSums(g, parts, { label: "gradient_norm", read: () => ({}), terms }).partials;
}

/** Threads of a workgroup: one subgroup on a CPU, where more only cost. At least as many as there are sums. */
function threadsOf(g: Graph): number {
  return g.profile.isSoftware ? 8 : 64;
}

/**
 * A workgroup for every chunk of a part, whose place in it is `index`. Neighbouring workgroups take chunks that are
 * far apart: lavapipe gives each of its threads one contiguous half of the workgroups, and small tensors tend to
 * stand together.
 */
function perChunk({ chunks }: ChunkedPart, threads: number, functions: string, statements: string): Launch {
  let stride = chunks < 1 << 16 ? Math.max(1, Math.round(chunks * 0.618)) : 1;
  while (greatestCommonDivisor(stride, chunks) > 1) stride--;
  return perWorkgroup({
    count: chunks,
    threads,
    index: "place",
    functions,
    statements: `let index = place * ${stride}u % COUNT;
  let chunk = table[index];
  ${statements}`,
  });
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** WGSL: a gradient without what lies behind its tensor's end, where any part of it does. */
function maskWgsl({ ragged }: ChunkedPart): string {
  return `
fn masked(value: vec4f, i: u32, end: u32) -> vec4f {
  return ${ragged ? "select(vec4f(), value, i * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(end))" : "value"};
}`;
}

/** A part's stretch of a tensor that is laid out like its segment. */
function windowed({ segment, window: [start, end] }: ChunkedPart, tensor: Tensor): Operand {
  return vec4(end - start === segment.length ? tensor : tensor.rows(start, end));
}

function windows(part: ChunkedPart, tensors: Readonly<Record<string, Tensor>>): Record<string, Operand> {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, windowed(part, t)]));
}
