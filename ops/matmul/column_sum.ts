/**
 * Sums over the rows of [rows, columns] values, as gradients of biases and normalisation weights need them:
 * one kernel sums blocks of rows, a second sums the blocks. No atomics, so the order never changes.
 *
 * @module
 */
import type { GradientTarget, Graph } from "../../gpu/graph.ts";
import type { Tensor } from "../../gpu/tensor.ts";
import { opaque, perThread } from "../../gpu/wgsl.ts";
import { perColumn } from "../rows.ts";
import { vectorType } from "../vector_type.ts";

/** Rows that one thread sums: fewer on a GPU, which has many more threads at once. */
const rowsPerBlock = (g: Graph) => g.profile.isSoftware ? 64 : 56;

/** What {@linkcode columnSums} takes. */
export interface ColumnSumOptions {
  /** Name of the first kernel. */
  readonly label: string;
  /** Number of rows that are summed. */
  readonly rows: number;
  /** Number of columns. */
  readonly columns: number;
  /** Tensors of [rows, columns], bound as arrays of `V` (vec4f where columns allow it, else f32). */
  readonly read: Readonly<Record<string, Tensor>>;
  /** Tensors bound as they are. */
  readonly extra?: Readonly<Record<string, Tensor>>;
  /** WGSL expression of type `V` for the value at `row` and index `i`, and where its sum [columns] goes. */
  readonly sums: readonly { readonly value: string; readonly into: GradientTarget }[];
}

/** Records the sums. */
export function columnSums(g: Graph, options: ColumnSumOptions): void {
  const { label, rows, columns, read, extra = {}, sums } = options;
  const { width, wgsl, wrap } = vectorType(columns);
  const blockRows = rowsPerBlock(g);
  const blocks = Math.ceil(rows / blockRows);
  const perRow = columns / width;
  const partials = sums.map((_, s) => g.activation(`${label}.partial${s}`, [blocks, columns]));
  const named = (tensors: readonly Tensor[], name: string) =>
    Object.fromEntries(tensors.map((t, s) => [`${name}${s}`, wrap(t)]));
  g.dispatch({
    label,
    read: {
      ...Object.fromEntries(Object.entries(read).map(([name, t]) => [name, wrap(t)])),
      ...extra,
      sizes: g.sizes(rows, perRow, blocks),
    },
    write: named(partials, "partial"),
    ...perThread({
      count: blocks * perRow,
      countWgsl: "sizes[2] * sizes[1]",
      index: "thread",
      functions: wgsl,
      statements: `let ROWS = sizes[0];
  let COLUMNS = sizes[1];
  let column = thread % COLUMNS;
  let first = thread / COLUMNS * ${blockRows}u;
  ${sums.map((_, s) => `var sum${s} = V();`).join(" ")}
  for (var row = first; row < min(first + ${blockRows}u, ROWS); row++) {
    let i = row * COLUMNS + column;
    ${sums.map(({ value }, s) => `sum${s} += ${value};`).join("\n    ")}
  }
  ${sums.map((_, s) => `partial${s}[thread] = sum${s};`).join("\n  ")}`,
    }),
  });
  g.dispatch({
    label: "column_sum_blocks",
    read: { ...named(partials, "partial"), sizes: g.sizes(blocks, perRow) },
    write: named(sums.map((s) => s.into.tensor), "into"),
    ...perColumn(g.profile, {
      columns: perRow,
      countWgsl: "sizes[1]",
      index: "column",
      functions: wgsl,
      statements: (loop, reduce) =>
        `${sums.map((_, s) => `var sum${s} = V();`).join(" ")}
  ${loop("block", opaque("sizes[0]"))} {
    ${sums.map((_, s) => `sum${s} += partial${s}[block * COUNT + column];`).join(" ")}
  }${sums.map((_, s) => reduce(`sum${s}`, "sum")).join("")}`,
      result: sums.map(({ into }, s) => `into${s}[column] ${into.accumulate ? "+=" : "="} sum${s};`)
        .join("\n  "),
    }),
  });
}
