/**
 * y[n] = table[ids[n]], and learned positions y[b, t] = x[b, t] + table[t].
 *
 * Backward of a lookup adds dy[n] to row ids[n]. Without atomics, and so in a fixed order: a first kernel
 * links each position to the next one with the same id, a second lets the first position of every id
 * walk its list.
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { expectShape, rowBlocks, type Tensor } from "../gpu/tensor.ts";
import { opaque, perThread } from "../gpu/wgsl.ts";
import { elementwise, passGradient } from "./elementwise.ts";
import { vectorType } from "./vector_type.ts";

const NONE = "0xffffffffu";

/**
 * Looks rows up in a table.
 *
 * @param g The graph to record in.
 * @param ids u32, any shape; an id past the table's end reads its last row.
 * @param table [V, C].
 * @returns [...ids.shape, C].
 * @throws {TypeError} If the shapes or types do not fit.
 */
export function embedding(g: Graph, ids: Tensor, table: Tensor): Tensor {
  expectShape("embedding", "ids", ids, ids.shape, "u32");
  expectShape("embedding", "table", table, [null, null]);
  const [vocab, channels] = table.shape; // V, C
  const count = ids.size; // N
  const { width, wgsl, wrap } = vectorType(channels);
  const perRow = channels / width;
  const y = g.activation("embedding", [...ids.shape, channels], [table]);
  // A table larger than a binding is looked up block by block.
  const blocks = rowBlocks(vocab, channels * 4, g.profile.maxBindingBytes);
  const constants = ([start, end]: readonly [number, number]) => ({
    PER_ROW: perRow,
    LAST: vocab - 1,
    START: start,
    END: end,
  });
  // Threads run along the channels of a row.
  const perVector = (statements: string) =>
    perThread({
      count: count * perRow,
      functions: wgsl,
      statements: `let n = i / PER_ROW;
  let c = i % PER_ROW;
  let row = min(ids[n], LAST);
  if (row < START || row >= END) { return; }
  let at = (row - START) * PER_ROW + c;
  ${statements}`,
    });
  for (const block of blocks) {
    g.dispatch({
      label: "embedding_forward",
      read: { ids, table: wrap(table.rows(...block)) },
      write: { y: wrap(y) },
      constants: constants(block),
      ...perVector("y[i] = table[at];"),
    });
  }
  g.tape(() => {
    const dy = g.gradientOf(y);
    const dtable = g.gradientTarget(table);
    if (!dy || !dtable) return;
    const next = g.activation("embedding.next", [count], [], "u32");
    const isFirst = g.activation("embedding.is_first", [count], [], "u32");
    linkEqual(g, ids, vocab - 1, next, isFirst);
    for (const block of blocks) {
      const part = dtable.tensor.rows(...block);
      // Only rows that were looked up are added to.
      if (!dtable.accumulate) {
        elementwise(g, { label: "clear_gradient", out: part, statements: "out[i] = vec4f();" });
      }
      g.dispatch({
        label: "embedding_backward",
        read: { ids, next, is_first: isFirst, dy: wrap(dy) },
        write: { dtable: wrap(part) },
        constants: constants(block),
        ...perVector(`
  if (is_first[n] == 0u) { return; }
  var sum = dy[i];
  for (var j = next[n]; j != ${NONE}; j = next[j]) { sum += dy[j * PER_ROW + c]; }
  dtable[at] += sum;`),
      });
    }
  });
  return y;
}

/** Records for each position the next one with the same id (at most `last`), and whether it is the first. */
function linkEqual(g: Graph, ids: Tensor, last: number, next: Tensor, isFirst: Tensor): void {
  const count = ids.size;
  // Four ids are compared at a time: the scan costs count^2 / 4 loads at worst.
  g.dispatch({
    label: "embedding_link",
    read: { ids, vectors: { tensor: ids, type: "vec4u" } },
    write: { next, is_first: isFirst },
    constants: { VECTORS: Math.ceil(count / 4), LAST: last },
    ...perThread({
      count,
      index: "n",
      threads: 16,
      functions:
        "fn matches(own: u32, at: u32) -> vec4<bool> { return min(vectors[at], vec4u(LAST)) == vec4u(own); }",
      statements: `let own = min(ids[n], LAST);
  let places = vec4u(0u, 1u, 2u, 3u);
  // What lies behind the ids is not counted, whatever it is.
  var at = n / 4u;
  var found = matches(own, at) & (at * 4u + places > vec4u(n)) & (at * 4u + places < vec4u(COUNT));
  while (!any(found) && at + 1u < VECTORS) {
    at++;
    found = matches(own, at) & (at * 4u + places < vec4u(COUNT));
  }
  let first_of_four = select(select(select(3u, 2u, found.z), 1u, found.y), 0u, found.x);
  next[n] = select(${NONE}, at * 4u + first_of_four, any(found));
  at = 0u;
  while (at < n / 4u && !any(matches(own, at))) { at++; }
  is_first[n] = select(0u, 1u, at == n / 4u && !any(matches(own, at) & (at * 4u + places < vec4u(n))));`,
    }),
  });
}

/**
 * Adds a learned vector for each position.
 *
 * @param g The graph to record in.
 * @param x [B, T, C].
 * @param table [P, C] with P >= T.
 * @param starts u32 [B], the position of each sequence's first row, without a gradient; default 0. Positions past
 * the table take its last row.
 * @returns [B, T, C].
 * @throws {TypeError} If the shapes do not fit.
 * @throws {RangeError} If the table has fewer rows than there are positions.
 */
export function addPositions(g: Graph, x: Tensor, table: Tensor, starts?: Tensor): Tensor {
  expectShape("addPositions", "x", x, [null, null, null]);
  const [batch, length, channels] = x.shape; // B, T, C
  expectShape("addPositions", "table", table, [null, channels]);
  if (table.shape[0] < length) {
    throw new RangeError(
      `addPositions: the table has ${
        table.shape[0]
      } positions, got sequences of ${length}; use shorter sequences`,
    );
  }
  const { width, wgsl, wrap } = vectorType(channels);
  const period = (length * channels) / width; // of one sequence
  const y = g.activation("positions", x.shape, starts ? [] : [x, table]);
  const main = (count: number, statements: string) => ({
    constants: { PERIOD: period, BATCH: batch },
    ...perThread({ count, functions: wgsl, statements }),
  });
  if (starts) expectShape("addPositions", "starts", starts, [batch], "u32");
  const [rows, perRow] = [table.shape[0], channels / width];
  g.dispatch({
    label: "positions_forward",
    read: { x: wrap(x), table: wrap(table), ...(starts ? { starts } : {}) },
    write: { y: wrap(y) },
    ...main(
      batch * period,
      starts
        ? `let position = min(starts[i / PERIOD] + i % PERIOD / ${perRow}u, ${rows - 1}u);
  y[i] = x[i] + table[position * ${perRow}u + i % ${perRow}u];`
        : "y[i] = x[i] + table[i % PERIOD];",
    ),
  });
  if (starts) return y;
  g.tape(() => {
    const dy = g.gradientOf(y);
    if (!dy) return;
    const dtable = g.gradientTarget(table);
    if (dtable) {
      g.dispatch({
        label: "positions_backward",
        read: { dy: wrap(dy) },
        write: { dtable: wrap(dtable.tensor) },
        ...main(
          // Positions past the sequences have a gradient of zero.
          dtable.accumulate ? period : table.size / width,
          `var sum = V();
  if (i < PERIOD) {
    for (var b = 0u; b < ${opaque("BATCH")}; b++) { sum += dy[b * PERIOD + i]; }
  }
  dtable[i] ${dtable.accumulate ? "+=" : "="} sum;`,
        ),
      });
    }
    passGradient(g, x, dy);
  });
  return y;
}
