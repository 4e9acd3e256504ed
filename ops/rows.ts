/**
 * What ops over rows share: on a CPU adapter one thread reduces a row by itself (a workgroup tree is six
 * times slower there), on a GPU a workgroup of 64 shares a row, so that neighbours read neighbours.
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
  return perWorkgroup({
    count: rows,
    index: "row",
    functions: `
const LANES = 64u;
var<workgroup> shared_values: array<f32, 64>;
var<private> lane_index: u32;
${reduce("row_sum", "shared_values[lane_index] + other")}
${reduce("row_max", "max(shared_values[lane_index], other)")}
${functions}`,
    statements: `lane_index = lane;
  ${statements}`,
  });
}
