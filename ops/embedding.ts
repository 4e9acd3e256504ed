/**
 * y[n] = table[ids[n]], and learned positions y[b, t] = x[b, t] + table[t].
 *
 * @module
 */
import type { Graph } from "../gpu/graph.ts";
import { expectShape, rowBlocks, type Tensor } from "../gpu/tensor.ts";
import { opaque, perThread } from "../gpu/wgsl.ts";
import { passGradient } from "./elementwise.ts";
import { lookupGradient, perLookup } from "./embedding_gradient.ts";
import { vectorType } from "./vector_type.ts";

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
  for (const [start, end] of blocks) {
    g.dispatch({
      label: "embedding_forward",
      read: { ids, table: wrap(table.rows(start, end)) },
      write: { y: wrap(y) },
      constants: { PER_ROW: perRow, LAST: vocab - 1, START: start, END: end },
      ...perLookup(count * perRow, wgsl, "y[i] = table[at];"),
    });
  }
  g.tape(() => {
    const dy = g.gradientOf(y);
    const dtable = g.gradientTarget(table);
    if (!dy || !dtable) return;
    lookupGradient(g, { ids, dy, table: dtable, blocks });
  });
  return y;
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
