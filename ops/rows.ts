/**
 * What ops over rows share: on a CPU adapter one thread reduces a row by itself (a workgroup tree is six
 * times slower there), on a GPU a workgroup of 64 shares a row, so that neighbours read neighbours.
 *
 * @module
 */
import type { Profile } from "../gpu/device.ts";
import { flatIndexWgsl, flatWorkgroups, mainInputs } from "../gpu/kernel.ts";

/** How a kernel over rows is laid out. */
export interface RowLayout {
  /** Threads that share a row: 1 or 64. */
  readonly lanes: number;
  /** Workgroups for all rows. */
  readonly workgroups: [number, number, number];
  /**
   * Wraps statements in a `main` that knows `row`, `lane` (of LANES) and may call `row_sum(f32)` and
   * `row_max(f32)` in uniform control flow. Loops over constant lengths should multiply their bound with
   * `one`, which keeps compilers from unrolling them (see `opaqueLoop`).
   */
  main(functions: string, statements: string): string;
}

/** Lays out a kernel over `rows` rows for an adapter. */
export function rowLayout(profile: Profile, rows: number): RowLayout {
  if (profile.isSoftware) {
    return {
      lanes: 1,
      // Small workgroups, so that few rows still spread over all cores.
      workgroups: flatWorkgroups(Math.ceil(rows / 16)),
      main: (functions, statements) => `
${flatIndexWgsl}
const LANES = 1u;
fn row_sum(value: f32) -> f32 { return value; }
fn row_max(value: f32) -> f32 { return value; }
${functions}
@compute @workgroup_size(16) fn main(${mainInputs.replace("lane: u32", "thread: u32")}) {
  let row = flat_group(group, groups) * 16u + thread;
  let lane = 0u;
  let one = groups.z;
  if (row >= ${rows}u) { return; }
  ${statements}
}`,
    };
  }
  const reduce = (name: string, combine: string) => `
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
}`;
  return {
    lanes: 64,
    workgroups: flatWorkgroups(rows),
    main: (functions, statements) => `
${flatIndexWgsl}
const LANES = 64u;
var<workgroup> shared_values: array<f32, 64>;
var<private> lane_index: u32;
${reduce("row_sum", "shared_values[lane_index] + other")}
${reduce("row_max", "max(shared_values[lane_index], other)")}
${functions}
@compute @workgroup_size(64) fn main(${mainInputs}) {
  let row = flat_group(group, groups);
  lane_index = lane;
  let one = groups.z;
  if (row >= ${rows}u) { return; }
  ${statements}
}`,
  };
}
