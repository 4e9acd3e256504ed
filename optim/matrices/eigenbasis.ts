/**
 * Orthonormal bases that follow the eigenvectors of slowly changing symmetric matrices, by orthogonal iteration as
 * SOAP does it: Q <- QR(A Q), one iteration at a time.
 *
 * The QR decomposition is modified Gram-Schmidt: on the CPU a workgroup per matrix, on a GPU by panels of columns. Its loss of orthogonality grows with the
 * condition of A Q, so the iteration is that of A / trace(A) + 1e-6 I, which has the same eigenvectors in the same
 * order and none below 1e-6; and what is lost is made good by the next iteration, since its columns are
 * nearly orthogonal when they come in. A matrix of trace 0 keeps its basis.
 *
 * Mesa's lavapipe before 25, a CPU's, ends a thread's loops after 65,535 iterations in all, so the decomposition is cut into
 * dispatches that stay below that, each for a range of columns.
 *
 * A basis is stored as Q - I, so that state that begins with zeros begins with the identity.
 *
 * @module
 */
import { type Graph, vec4 } from "../../gpu/graph.ts";
import { f32, flatWorkgroups, mainInputs, opaque } from "../../gpu/wgsl.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { matmul } from "../../ops/matmul/matmul.ts";
import { orthonormalPanels } from "./panels.ts";

/** Added to A / trace(A). */
export const EIGENBASIS_SHIFT = 1e-6;

/**
 * Records reading the bases.
 *
 * @param g The graph.
 * @param stored Q - I, f32 [count, size, size].
 * @returns Q and its transpose, of the same shape.
 */
export function readBases(g: Graph, stored: Tensor): { readonly bases: Tensor; readonly transposed: Tensor } {
  const [count, size] = stored.shape;
  const [bases, transposed] = ["bases", "transposed_bases"].map((label) => g.activation(label, stored.shape));
  const [x, y] = flatWorkgroups(Math.ceil(size * size / 64));
  g.dispatch({
    label: "read_bases",
    read: { stored, sizes: g.sizes(size) },
    write: { bases, transposed },
    workgroups: [x, y, count],
    body: `
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let size = sizes[0];
  let own = (group.x + group.y * groups.x) * 64u + lane;
  if (own >= size * size) { return; }
  let first = group.z * size * size;
  let row = own / size;
  let column = own % size;
  let value = stored[first + own] + select(0.0, 1.0, row == column);
  bases[first + own] = value;
  transposed[first + column * size + row] = value;
}`,
  });
  return { bases, transposed };
}

/** Largest size of a basis: one column must take fewer than {@linkcode MOST_ITERATIONS}. */
export const LARGEST_BASIS = 2560;

/** What {@linkcode refreshBases} takes. */
export interface BasisRefresh {
  /** A, f32 [count, size, size]; size is a multiple of 4. */
  readonly matrices: Tensor;
  /** Q, from {@linkcode readBases}. */
  readonly bases: Tensor;
  /** Q - I, which is updated. */
  readonly stored: Tensor;
  /** The bases stay as they are while the value at this index is 0. */
  readonly when: { readonly tensor: Tensor; readonly index: number };
}

/** Threads that share a matrix on the CPU. */
const THREADS = 64;

/** Most iterations of all loops that a thread goes through in one dispatch. */
const MOST_ITERATIONS = 60_000;

/** A dispatch of the decomposition: the columns that it orthogonalises, and whether it begins or ends all. */
interface ColumnRange {
  readonly from: number;
  readonly to: number;
  readonly begins: boolean;
  readonly ends: boolean;
}

/** Cuts a decomposition into dispatches of at most {@linkcode MOST_ITERATIONS}. */
export function columnRanges(size: number, threads: number): ColumnRange[] {
  const rows = Math.ceil(size / threads) + threads;
  const whole = Math.ceil(size * size / 4 / threads) + rows; // scaling or storing a matrix
  const column = 2 * size * Math.ceil(size / 4 / threads) + rows + 2;
  const ranges: ColumnRange[] = [];
  let [from, begins, ends] = [0, true, false];
  while (!ends) {
    const room = Math.floor((MOST_ITERATIONS - rows - (begins ? whole : 0)) / column);
    const to = Math.min(size, from + room);
    ends = to === size && (begins ? whole : 0) + (to - from) * column + whole + rows <= MOST_ITERATIONS;
    ranges.push({ from, to, begins, ends });
    [from, begins] = [to, false];
  }
  return ranges;
}

/** Records one iteration for every basis. */
export function refreshBases(g: Graph, { matrices, bases, stored, when }: BasisRefresh): void {
  const [batch, size] = matrices.shape;
  const product = g.activation("eigenbasis.product", matrices.shape);
  matmul(g, {
    m: size,
    n: size,
    k: size,
    a: matrices,
    transposedA: true, // which it is as well
    b: bases,
    out: product,
    batch,
    when,
  });
  if (!g.profile.isSoftware) {
    orthonormalPanels(g, { matrices, product, bases, stored, shift: EIGENBASIS_SHIFT, when });
    return;
  }
  for (const range of columnRanges(size, THREADS)) {
    gramSchmidt(g, { matrices, bases, stored, when }, product, range);
  }
}

/** Records the orthogonalisation of a range of columns of every product. */
function gramSchmidt(
  g: Graph,
  { matrices, bases, stored, when }: BasisRefresh,
  product: Tensor,
  { from, to, begins, ends }: ColumnRange,
): void {
  const [batch, size] = matrices.shape;
  g.dispatch({
    label: "gram_schmidt",
    read: {
      matrices,
      bases: vec4(bases),
      flags: when.tensor,
      sizes: g.sizes(size, from, to, Number(begins), Number(ends)),
    },
    write: { x: vec4(product), stored: vec4(stored) },
    flops: 2 * batch * size ** 2 * (to - from),
    workgroups: [batch, 1, 1],
    body: `
var<workgroup> sums: array<f32, ${THREADS}>;
var<workgroup> column: array<f32, ${size}>;
fn total(own: f32, lane: u32, groups: vec3u) -> f32 {
  sums[lane] = own;
  workgroupBarrier();
  var sum = 0.0;
  for (var other = 0u; other < ${opaque(THREADS)}; other++) { sum += sums[other]; }
  workgroupBarrier();
  return sum;
}
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  if (flags[${when.index}] == 0.0) { return; }
  let size = sizes[0];
  let width = size / 4u;
  let first = group.x * size * width;
  var own = 0.0;
  for (var i = lane; i < size; i += ${THREADS}u) { own += matrices[(group.x * size + i) * size + i]; }
  let trace = total(own, lane, groups);
  let scale = select(0.0, 1.0 / trace, trace > 0.0);
  if (sizes[3] == 1u) {
    for (var i = lane; i < size * width; i += ${THREADS}u) {
      x[first + i] = scale * x[first + i] + ${f32(EIGENBASIS_SHIFT)} * bases[first + i];
    }
  }
  storageBarrier();
  for (var k = sizes[1]; k < sizes[2]; k++) {
    let at = first + k / 4u;
    own = 0.0;
    for (var row = lane; row < size; row += ${THREADS}u) {
      let value = x[at + row * width][k % 4u];
      column[row] = value;
      own += value * value;
    }
    let inverse = inverseSqrt(total(own, lane, groups));
    // A thread owns groups of four columns; those before k are done.
    for (var c = k / 4u + lane; c < width; c += ${THREADS}u) {
      let columns = vec4u(c * 4u) + vec4u(0u, 1u, 2u, 3u);
      var dots = vec4f();
      for (var row = 0u; row < size; row++) { dots += column[row] * x[first + row * width + c]; }
      // What is taken from column k itself leaves it at length 1.
      dots = select(select(vec4f(), vec4f(1.0 - inverse), columns == vec4u(k)), dots * inverse * inverse, columns > vec4u(k));
      for (var row = 0u; row < size; row++) { x[first + row * width + c] -= column[row] * dots; }
    }
    storageBarrier();
    workgroupBarrier();
  }
  if (trace <= 0.0 || sizes[4] == 0u) { return; }
  for (var i = lane; i < size * width; i += ${THREADS}u) {
    let columns = vec4u(i % width * 4u) + vec4u(0u, 1u, 2u, 3u);
    stored[first + i] = x[first + i] - select(vec4f(), vec4f(1.0), columns == vec4u(i / width));
  }
}`,
  });
}
