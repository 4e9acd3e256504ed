/**
 * Rows of a head in registers, for kernels whose threads own a query or a key: its HS values lie in variables
 * `q0`, `q1`, ... of type `V`, vectors of four where HS allows it.
 *
 * @module
 */
import type { Profile } from "../../gpu/device.ts";
import { type Operand, vec4 } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { list, opaque, unroll } from "../../gpu/wgsl.ts";

/** WGSL for rows of one size on one adapter. A piece is one value of type `V`. */
export interface HeadRow {
  /** Values in a piece: 4 or 1. */
  readonly width: 4 | 1;
  /** Pieces of a row. */
  readonly pieces: number;
  /** Declares the type `V` and `product(a: V, b: V) -> f32`. */
  readonly declarations: string;
  /** Binds a tensor as an array of `V`. */
  wrap(tensor: Tensor): Operand;
  /** Statements for every piece by its number, one after the other. */
  each(statement: (n: number) => string): string;
  /** Statements for every piece, a u32 in WGSL; in a loop on lavapipe, where each access to memory is long code. */
  forPieces(statement: (piece: string) => string): string;
  /** Loads the row that the thread owns as `NAME0`, `NAME1`, ..., and as the array `NAME_own`. */
  loadOwn(name: string, load: (piece: string) => string): string;
  /** Loads a row that all threads of the workgroup need as `NAME0`, `NAME1`, ... */
  loadShared(name: string, load: (piece: string) => string): string;
  /** Declares a row of zeros. */
  zeros(name: string): string;
  /** The dot product of two rows. */
  dot(a: string, b: string): string;
  /** A statement for each piece of a row, with its value. */
  store(name: string, statement: (value: string, piece: string) => string): string;
}

/**
 * The WGSL for rows of HS values.
 *
 * Where subgroups have 8 lanes (lavapipe, where a load costs four broadcasts), of a shared row each lane loads a part
 * and broadcasts it.
 */
export function headRow(profile: Profile, headDim: number): HeadRow {
  // Vectors need every head and every part of a packed row to start at a multiple of 4.
  const width = headDim % 4 === 0 ? 4 : 1;
  const pieces = headDim / width;
  const each: HeadRow["each"] = (statement) => unroll(pieces, statement);
  const forPieces: HeadRow["forPieces"] = (statement) =>
    profile.isSoftware
      ? `for (var c = 0u; c < ${opaque(pieces)}; c++) { ${statement("c")} }`
      : each((n) => statement(`${n}u`));
  const inParts: HeadRow["loadShared"] = (name, load) => {
    const part = (p: number) =>
      `let ${name}_part${p} = ${load(`min(${p * 8}u + lane % 8u, ${pieces - 1}u)`)};`;
    return `${unroll(Math.ceil(pieces / 8), part)}
    ${each((n) => `let ${name}${n} = subgroupBroadcast(${name}_part${n >> 3}, ${n & 7}u);`)}`;
  };
  return {
    width,
    pieces,
    declarations: width === 4
      ? "alias V = vec4f;\nfn product(a: V, b: V) -> f32 { return dot(a, b); }"
      : "alias V = f32;\nfn product(a: V, b: V) -> f32 { return a * b; }",
    wrap: (tensor) => (width === 4 ? vec4(tensor) : tensor),
    each,
    forPieces,
    loadOwn: (name, load) =>
      `var ${name}_own: array<V, ${pieces}>;
  ${forPieces((c) => `${name}_own[${c}] = ${load(c)};`)}
  ${each((n) => `let ${name}${n} = ${name}_own[${n}];`)}`,
    loadShared: profile.subgroupSize === 8
      ? inParts
      : (name, load) => each((n) => `let ${name}${n} = ${load(`${n}u`)};`),
    zeros: (name) => each((n) => `var ${name}${n} = V();`),
    dot: (a, b) => Array.from({ length: pieces }, (_, n) => `product(${a}${n}, ${b}${n})`).join(" + "),
    store: (name, statement) =>
      `var ${name}_all = array<V, ${pieces}>(${list(pieces, (n) => `${name}${n}`)});
  ${forPieces((c) => statement(`${name}_all[${c}]`, c))}`,
  };
}
