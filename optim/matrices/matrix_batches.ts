/**
 * Matrices of packed segments, brought together in batches of equal shape, so that a matrix optimizer records
 * one product for all of them.
 *
 * A batch holds matrices as they are or transposed, whichever has at least as many rows as columns: so the
 * two matrices of an MLP share one. Sizes are padded to multiples of 4 with zeros, which stay zero in sums,
 * products and powers.
 *
 * A parameter with `parts` counts as that many matrices, side by side along its outputs. One that does not
 * have two dimensions counts as a matrix of `shape[0]` rows, a vector as a single row.
 *
 * @module
 */
import { type Graph, type UpdateSegment, vec4 } from "../../gpu/graph.ts";
import { flatWorkgroups, mainInputs } from "../../gpu/wgsl.ts";
import type { Parameter } from "../../gpu/parameters.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { padded } from "../../ops/matmul/transpose.ts";

/** Matrices of one padded shape in one segment. */
export interface MatrixBatch {
  /** Index of the segment. */
  readonly segment: number;
  /** Number of matrices. */
  readonly count: number;
  /** Rows of each, a multiple of 4, at least as many as columns. */
  readonly rows: number;
  /** Columns of each, a multiple of 4. */
  readonly columns: number;
  /**
   * u32 [count, 8]: where the matrix begins in the segment, the distance between its rows and between its
   * columns there, its rows and columns without padding, and three zeros.
   */
  readonly table: Tensor;
}

/**
 * The most bytes of a batch: enough work for any adapter, and little beside the activations, whose memory batches take
 * while the optimizer works.
 */
const BATCH_BYTES = 48 << 20;

/** A matrix in a segment, with at least as many rows as columns. */
interface Place {
  readonly start: number;
  readonly rowStep: number;
  readonly columnStep: number;
  readonly rows: number;
  readonly columns: number;
}

/** A parameter as a matrix: inputs and outputs of each of its parts. */
export function matrixShape({ shape, layout, parts = 1, name }: Parameter): {
  readonly inputs: number;
  readonly outputs: number;
} {
  const [rows, columns] = rowsAndColumns(shape);
  const [inputs, outputs] = layout === "in-out" ? [rows, columns] : [columns, rows];
  if (outputs % parts !== 0) {
    throw new RangeError(
      `${name} must have a multiple of ${parts} outputs, one share for each of its parts, got ${outputs}`,
    );
  }
  return { inputs, outputs: outputs / parts };
}

function rowsAndColumns(shape: readonly number[]): [number, number] {
  const size = shape.reduce((a, b) => a * b, 1);
  return shape.length === 1 ? [1, size] : [shape[0], size / shape[0]];
}

/** The matrices of a parameter that begins at `start`. */
function placesOf(item: Parameter, start: number): Place[] {
  const { inputs, outputs } = matrixShape(item);
  const width = rowsAndColumns(item.shape)[1];
  const [inputStep, outputStep] = item.layout === "in-out" ? [width, 1] : [1, width];
  return Array.from({ length: item.parts ?? 1 }, (_, part) => {
    const first = start + part * outputs * outputStep;
    return outputs >= inputs
      ? { start: first, rowStep: outputStep, columnStep: inputStep, rows: outputs, columns: inputs }
      : { start: first, rowStep: inputStep, columnStep: outputStep, rows: inputs, columns: outputs };
  });
}

/**
 * Groups all matrices of some segments by shape, in batches that one binding can hold, of at most 48 MiB.
 *
 * @param g The training graph.
 * @param label Begins the names of the tables.
 * @param segments The optimizer's segments.
 * @param values Values of a matrix's largest tensor, from its padded size; default those of the matrix itself.
 */
export function matrixBatches(
  g: Graph,
  label: string,
  segments: readonly UpdateSegment[],
  values = (rows: number, columns: number): number => rows * columns,
): MatrixBatch[] {
  return segments.flatMap(({ items }, segment) => {
    const groups = new Map<string, Place[]>();
    for (const place of items.flatMap(({ item, start }) => placesOf(item, start))) {
      const key = `${padded(place.rows)}x${padded(place.columns)}`;
      groups.set(key, [...groups.get(key) ?? [], place]);
    }
    return [...groups.values()].flatMap((places) => {
      const [rows, columns] = [padded(places[0].rows), padded(places[0].columns)];
      const bytes = Math.min(BATCH_BYTES, g.profile.maxBindingBytes);
      const most = Math.max(1, Math.floor(bytes / (4 * values(rows, columns))));
      return Array.from({ length: Math.ceil(places.length / most) }, (_, b): MatrixBatch => {
        const own = places.slice(b * most, (b + 1) * most);
        const table = own.flatMap((p) => [p.start, p.rowStep, p.columnStep, p.rows, p.columns, 0, 0, 0]);
        return {
          segment,
          count: own.length,
          rows,
          columns,
          table: g.constant(`${label}.matrices`, Uint32Array.from(table), [own.length, 8]),
        };
      });
    });
  });
}

/**
 * Copies a batch's matrices out of a tensor that is laid out like their segment.
 *
 * @returns f32 [count, rows, columns], zero in the padding.
 */
export function gatherMatrices(g: Graph, batch: MatrixBatch, packed: Tensor): Tensor {
  const { count, rows, columns, table } = batch;
  const out = g.activation("matrices", [count, rows, columns]);
  g.dispatch({
    label: "gather_matrices",
    read: { source: packed, table: { tensor: table, type: "vec4u" }, sizes: g.sizes(rows, columns / 4) },
    write: { out: vec4(out) },
    bytes: 8 * out.size,
    ...visit(
      batch,
      `
  let values = vec4f(${
        [0, 1, 2, 3].map((c) => `source[at(place, min(row, place.w - 1u), min(column + ${c}u, last))]`)
      });
  out[index] = select(vec4f(), values, vec4<bool>(row < place.w) & (column + vec4u(0u, 1u, 2u, 3u) <= vec4u(last)));`,
    ),
  });
  return out;
}

/**
 * Copies a batch's matrices back into a tensor that is laid out like their segment.
 *
 * @param from f32 [count, rows, columns].
 */
export function scatterMatrices(g: Graph, batch: MatrixBatch, from: Tensor, packed: Tensor): void {
  const { rows, columns, table } = batch;
  g.dispatch({
    label: "scatter_matrices",
    read: { source: vec4(from), table: { tensor: table, type: "vec4u" }, sizes: g.sizes(rows, columns / 4) },
    write: { out: packed },
    bytes: 8 * from.size,
    ...visit(
      batch,
      `
  if (row >= place.w) { return; }
  let values = source[index];
  ${
        [0, 1, 2, 3].map((c) =>
          `if (column + ${c}u <= last) { out[at(place, row, column + ${c}u)] = values[${c}]; }`
        ).join("\n  ")
      }`,
    ),
  });
}

/**
 * Copies matrices in transposed order.
 *
 * @param from f32 [count, rows, columns], sizes that are multiples of 4.
 * @returns f32 [count, columns, rows].
 */
export function transposeMatrices(g: Graph, from: Tensor): Tensor {
  const [count, rows, columns] = from.shape;
  const out = g.activation("transposed_matrices", [count, columns, rows]);
  const [x, y] = flatWorkgroups(Math.ceil(rows * columns / 1024));
  g.dispatch({
    label: "transpose_matrices",
    read: { source: vec4(from), sizes: g.sizes(rows / 4, columns / 4) },
    write: { out: vec4(out) },
    workgroups: [x, y, count],
    body: `
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let width = sizes[1];
  let own = (group.x + group.y * groups.x) * 64u + lane;
  if (own >= sizes[0] * width) { return; }
  // Threads run along the rows of the result, which are written whole.
  let r = own % sizes[0];
  let c = own / sizes[0];
  let first = group.z * 4u * sizes[0] * width;
  let at = first + r * 4u * width + c;
  let block = transpose(mat4x4f(source[at], source[at + width], source[at + 2u * width], source[at + 3u * width]));
  for (var j = 0u; j < 4u; j++) { out[first + (c * 4u + j) * sizes[0] + r] = block[j]; }
}`,
  });
  return out;
}

/** A thread for every group of four columns; `index` is the group's place in the batch. */
function visit(
  { count, rows, columns }: MatrixBatch,
  statements: string,
): { readonly workgroups: readonly [number, number, number]; readonly body: string } {
  const [x, y] = flatWorkgroups(Math.ceil(rows * columns / 256));
  return {
    workgroups: [x, y, count],
    body: `
fn at(place: vec4u, row: u32, column: u32) -> u32 { return place.x + row * place.y + column * place.z; }
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let own = (group.x + group.y * groups.x) * 64u + lane;
  if (own >= sizes[0] * sizes[1]) { return; }
  let index = group.z * sizes[0] * sizes[1] + own;
  let row = own / sizes[1];
  let column = own % sizes[1] * 4u;
  let place = table[group.z * 2u]; // start, steps, rows
  let last = table[group.z * 2u + 1u].x - 1u; // column
  ${statements}
}`,
  };
}
