/**
 * What ops over rows and over columns share: on a CPU adapter one thread reduces a row or a column by itself (a
 * workgroup tree is six times slower there), on a GPU a workgroup shares it, and neighbours read neighbours. Sums are
 * taken in an order that an adapter never changes.
 *
 * @module
 */
import type { Profile } from "../gpu/device.ts";
import { type Launch, perThread, perWorkgroup } from "../gpu/wgsl.ts";

/** What {@linkcode perRow} takes. */
export interface RowOptions {
  /** Number of rows. */
  readonly rows: number;
  /** WGSL functions and the like. */
  readonly functions?: string;
  /**
   * WGSL statements that know `row`, `lane` (of LANES) and may call `row_sum(f32)` and `row_max(f32)` in uniform
   * control flow. Bounds of loops over constant lengths should be `opaque`.
   */
  readonly statements: string;
}

/** Threads that share a row: 1 or 64. */
export function lanesPerRow(profile: Profile): number {
  return profile.isSoftware ? 1 : 64;
}

/** A kernel over rows, laid out for an adapter. */
export function perRow(profile: Profile, { rows, functions = "", statements }: RowOptions): Launch {
  if (profile.isSoftware) {
    return perThread({
      count: rows,
      index: "row",
      threads: 16, // Small workgroups, so that few rows still spread over all cores.
      functions: `
const LANES = 1u;
fn row_sum(value: f32) -> f32 { return value; }
fn row_max(value: f32) -> f32 { return value; }
${functions}`,
      statements: `{
  let lane = 0u;
  ${statements}
  }`,
    });
  }
  return perWorkgroup({
    count: rows,
    index: "row",
    functions: `
const LANES = 64u;
var<private> lane_index: u32;
${profile.subgroupSize > 0 ? subgroupReductions(profile.subgroupSize) : treeReductions}
${functions}`,
    statements: `lane_index = lane;
  ${statements}`,
  });
}

/** `row_sum` and `row_max` of 64 threads by halves, in the workgroup's memory. */
const treeReductions = `var<workgroup> shared_values: array<f32, 64>;${
  [["row_sum", "shared_values[lane_index] + other"], ["row_max", "max(shared_values[lane_index], other)"]]
    .map(([name, combine]) => `
fn ${name}(value: f32) -> f32 {
  workgroupBarrier();
  shared_values[lane_index] = value;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (lane_index < half) {
      let other = shared_values[lane_index + half];
      shared_values[lane_index] = ${combine};
    }
    workgroupBarrier();
  }
  return shared_values[0];
}`).join("")
}`;

/** The same by subgroups of `size` lanes, whose results alone go through the workgroup's memory. */
function subgroupReductions(size: number): string {
  const parts = Math.ceil(64 / size);
  const reduce = (name: string, operation: string, combine: (a: string, b: string) => string) => {
    if (parts === 1) return `fn ${name}(value: f32) -> f32 { return ${operation}(value); }`;
    return `
fn ${name}(value: f32) -> f32 {
  let part = ${operation}(value);
  workgroupBarrier();
  if (lane_index % ${size}u == 0u) { shared_values[lane_index / ${size}u] = part; }
  workgroupBarrier();
  return ${Array.from({ length: parts }, (_, n) => `shared_values[${n}]`).reduce(combine)};
}`;
  };
  return `${parts > 1 ? `var<workgroup> shared_values: array<f32, ${parts}>;` : ""}
${reduce("row_sum", "subgroupAdd", (a, b) => `${a} + ${b}`)}
${reduce("row_max", "subgroupMax", (a, b) => `max(${a}, ${b})`)}`;
}

/** What {@linkcode perColumn} takes. */
export interface ColumnOptions {
  /** Number of columns, each a `V`. */
  readonly columns: number;
  /** The number in WGSL, as in {@linkcode LaunchOptions}. */
  readonly countWgsl?: string;
  /** Name of the column's index in WGSL. */
  readonly index: string;
  /** WGSL functions and the like, with the type `V`, which is f32 or vec4f. */
  readonly functions: string;
  /**
   * WGSL statements that go over the values of a column.
   *
   * @param loop The head of a loop over those of the numbers from 0 to `bound - 1` that are this thread's.
   * @param reduce A statement that replaces a variable of type V by the sum or the largest of all threads'.
   */
  readonly statements: (
    loop: (name: string, bound: string) => string,
    reduce: (name: string, how: "sum" | "max") => string,
  ) => string;
  /** WGSL statements that write what came of a column; one thread has them to do. */
  readonly result: string;
}

/** Columns that a workgroup reduces on a GPU: four vectors of four are a cache line of 64 bytes. */
const COLUMNS = 4;
const COLUMN_THREADS = 256;

/** A kernel over columns of few to some thousand values, laid out for an adapter. */
export function perColumn(profile: Profile, options: ColumnOptions): Launch {
  const { columns, countWgsl, index, functions, statements, result } = options;
  if (profile.isSoftware) {
    const all = statements(
      (name, bound) => `for (var ${name} = 0u; ${name} < ${bound}; ${name}++)`,
      () => "",
    );
    return perThread({ count: columns, countWgsl, index, functions, statements: `${all}\n  ${result}` });
  }
  const reduce = (how: string, combine: string) => `
fn column_${how}(value: V, lane: u32) -> V {
  workgroupBarrier();
  column_values[lane] = value;
  workgroupBarrier();
  for (var half = ${COLUMN_THREADS / 2}u; half >= ${COLUMNS}u; half >>= 1u) {
    if (lane < half) {
      let other = column_values[lane + half];
      column_values[lane] = ${combine};
    }
    workgroupBarrier();
  }
  return column_values[lane % ${COLUMNS}u];
}`;
  const slices = COLUMN_THREADS / COLUMNS;
  const all = statements(
    (name, bound) => `for (var ${name} = lane / ${COLUMNS}u; ${name} < ${bound}; ${name} += ${slices}u)`,
    (name, how) => `\n  ${name} = column_${how}(${name}, lane);`,
  );
  return perWorkgroup({
    count: Math.ceil(columns / COLUMNS),
    countWgsl: countWgsl && `(${countWgsl} + ${COLUMNS - 1}u) / ${COLUMNS}u`,
    index: "columns_group",
    threads: COLUMN_THREADS,
    functions: `${functions}
var<workgroup> column_values: array<V, ${COLUMN_THREADS}>;
${all.includes("column_sum(") ? reduce("sum", "column_values[lane] + other") : ""}
${all.includes("column_max(") ? reduce("max", "max(column_values[lane], other)") : ""}`,
    statements: `{
  let COUNT = ${countWgsl ?? `${columns}u`};
  let own_column = columns_group * ${COLUMNS}u + lane % ${COLUMNS}u;
  let ${index} = min(own_column, COUNT - 1u);
  ${all}
  if (lane >= ${COLUMNS}u || own_column >= COUNT) { return; }
  ${result}
  }`,
  });
}
