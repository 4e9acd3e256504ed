/**
 * The WGSL of attention's three kernels. The formulas are those of `attention.ts`.
 *
 * @module
 */
import { vectorAt } from "../../gpu/texels/texels.ts";
import { f32, mainInputs } from "../../gpu/wgsl.ts";
import { keepFactorWgsl } from "../dropout.ts";
import type { Columns } from "./cached_attention.ts";
import type { HeadRow } from "./head_row.ts";

/** Threads of a workgroup, which owns as many neighbouring queries or keys of one head. */
export const THREADS = 16;

/** What the kernels know beside the constants T, HS, NH, KV (key heads), GROUP (NH / KV) and STREAM. */
export interface AttentionText {
  /** How a thread holds a row of a head. */
  readonly row: HeadRow;
  /** Where q, k and v lie, and the name of the array that holds them. */
  readonly places: Readonly<Record<"q" | "k" | "v", Columns & { readonly array: string }>>;
  /** Columns of o. */
  readonly channels: number;
  /** Factor of the scores. */
  readonly scale: number;
  /** Probability of dropping a weight, drawn from `seed[0]` or, where there are starts, the value behind them. */
  readonly dropout: number;
  /** Whether q, k, v and dO are texels; default false. */
  readonly texels?: boolean;
  /** How many `starts` there are, from which on queries see keys; default none, and they see keys from the first on. */
  readonly starts?: number;
}

/** Where a kernel puts a gradient: the array's name, and whether it adds to it. */
export interface GradientText {
  readonly array: string;
  readonly accumulate: boolean;
}

/** o and l of the queries. `rows` holds l and D of each as a pair. */
export function forwardWgsl(text: AttentionText): string {
  const { each, loadOwn, loadShared, zeros, dot, store } = text.row;
  return `${declarations(text)}
${mainOver("NH")}
  let head = group.y % NH;
  let q_start = q_at(b, row, head);
  ${loadOwn("q", (c) => `load_q(q_start, ${c}) * SCALE`)}
  ${zeros("sum")}
  var top = -3.0e38;
  var total = 0.0;
  let last = min(group.x * ${THREADS}u + ${THREADS - 1}u, T - 1u);
  for (var j = 0u; j <= last; j++) {
    let k_start = k_at(b, j, head / GROUP);
    let v_start = v_at(b, j, head / GROUP);
    ${loadShared("k", (c) => `load_k(k_start, ${c})`)}
    ${loadShared("v", (c) => `load_v(v_start, ${c})`)}
    let s = select(-3.0e38, ${dot("q", "k")}, sees(b, row, j));
    let new_top = max(top, s);
    let shrink = exp(top - new_top);
    let p = select(0.0, exp(s - new_top), sees(b, row, j));
    total = total * shrink + p;
    let kept = p * keep(b, head, row, j);
    ${each((n) => `sum${n} = sum${n} * shrink + kept * v${n};`)}
    top = new_top;
  }
  if (t >= T) { return; }
  let o_start = o_at(b, row, head);
  ${store("sum", (value, c) => `o[o_start + ${c}] = ${value} / total;`)}
  rows[row_at(b, row, head)].x = top + log(total);
}`;
}

/** dq and D of the queries. */
export function backwardQueriesWgsl(text: AttentionText, dq: GradientText | undefined): string {
  const { row: { each, forPieces, loadOwn, loadShared, zeros, dot }, texels = false } = text;
  return `${declarations(text)}
${mainOver("NH")}
  let head = group.y % NH;
  let q_start = q_at(b, row, head);
  let o_start = o_at(b, row, head);
  ${loadOwn("q", (c) => `load_q(q_start, ${c}) * SCALE`)}
  ${loadOwn("g", (c) => vectorAt("dO", texels)(`o_start + ${c}`))}
  ${zeros("sum")}
  var d_row = 0.0;
  ${forPieces((c) => `d_row += product(g_own[${c}], o[o_start + ${c}]);`)}
  let l_row = rows[row_at(b, row, head)].x;
  let last = min(group.x * ${THREADS}u + ${THREADS - 1}u, T - 1u);
  for (var j = 0u; j <= last; j++) {
    let k_start = k_at(b, j, head / GROUP);
    let v_start = v_at(b, j, head / GROUP);
    ${loadShared("k", (c) => `load_k(k_start, ${c})`)}
    ${loadShared("v", (c) => `load_v(v_start, ${c})`)}
    let p = select(0.0, exp(${dot("q", "k")} - l_row), sees(b, row, j));
    let ds = p * ((${dot("g", "v")}) * keep(b, head, row, j) - d_row) * SCALE;
    ${each((n) => `sum${n} += ds * k${n};`)}
  }
  if (t >= T) { return; }
  rows[row_at(b, row, head)].y = d_row;
  ${storeGradient(text.row, dq, "sum", "q_start")}
}`;
}

/** dk and dv of the keys and values, from all queries of the heads that share them. */
export function backwardKeysValuesWgsl(
  text: AttentionText,
  dk: GradientText | undefined,
  dv: GradientText | undefined,
): string {
  const { row: { each, loadOwn, loadShared, zeros, dot }, texels = false } = text;
  return `${declarations(text)}
${mainOver("KV")}
  let kv_head = group.y % KV;
  let k_start = k_at(b, row, kv_head);
  let v_start = v_at(b, row, kv_head);
  ${loadOwn("k", (c) => `load_k(k_start, ${c}) * SCALE`)}
  ${loadOwn("v", (c) => `load_v(v_start, ${c})`)}
  ${zeros("dk")}
  ${zeros("dv")}
  for (var head = kv_head * GROUP; head < (kv_head + 1u) * GROUP; head++) {
    for (var i = group.x * ${THREADS}u; i < T; i++) {
      let q_start = q_at(b, i, head);
      let o_start = o_at(b, i, head);
      ${loadShared("q", (c) => `load_q(q_start, ${c})`)}
      ${loadShared("g", (c) => vectorAt("dO", texels)(`o_start + ${c}`))}
      let l_and_d = rows[row_at(b, i, head)];
      let p = select(0.0, exp(${dot("k", "q")} - l_and_d.x), sees(b, i, row));
      let mask = keep(b, head, i, row);
      let ds = p * ((${dot("v", "g")}) * mask - l_and_d.y) * SCALE;
      let kept = p * mask;
      ${each((n) => `dv${n} += kept * g${n}; dk${n} += ds * q${n};`)}
    }
  }
  if (t >= T) { return; }
  ${storeGradient(text.row, dk, "dk", "k_start")}
  ${storeGradient(text.row, dv, "dv", "v_start")}
}`;
}

/** Adds sums to a row of a gradient, where one is required. */
function storeGradient(row: HeadRow, into: GradientText | undefined, sums: string, start: string): string {
  if (!into) return "";
  const assign = into.accumulate ? "+=" : "=";
  return row.store(sums, (value, c) => `${into.array}[${start} + ${c}] ${assign} ${value};`);
}

/** The head of a kernel whose threads each own row t of a head, of which there are NH or KV in a sequence. */
function mainOver(heads: "NH" | "KV"): string {
  return `
@compute @workgroup_size(${THREADS}) fn main(${mainInputs}) {
  let b = group.y / ${heads};
  let t = group.x * ${THREADS}u + lane;
  // Threads past the end repeat the last row and store nothing: the loops stay uniform.
  let row = min(t, T - 1u);`;
}

/** Functions: where rows of batch b, position t and a head begin, what is seen and what is kept. */
export function declarations(text: AttentionText): string {
  const { row, places, channels, scale, dropout, starts, texels = false } = text;
  const { width } = row;
  const rowsOf = (name: "q" | "k" | "v") => {
    const { array, offset, stride } = places[name];
    return `
fn ${name}_at(b: u32, t: u32, head: u32) -> u32 {
  return ((b * T + t) * ${stride}u + ${offset}u + head * HS) / ${width}u;
}
fn load_${name}(at: u32, c: u32) -> V { return ${vectorAt(array, texels)("at + c")}; }`;
  };
  return `const SCALE = ${f32(scale)};
${row.declarations}
${rowsOf("q")}${rowsOf("k")}${rowsOf("v")}
fn o_at(b: u32, t: u32, head: u32) -> u32 { return ((b * T + t) * ${channels}u + head * HS) / ${width}u; }
fn row_at(b: u32, t: u32, head: u32) -> u32 { return (b * NH + head) * T + t; }
// Whether query i sees key j.
fn sees(b: u32, i: u32, j: u32) -> bool { return j <= i${starts ? " && j >= starts[b * T + i]" : ""}; }
// The mask of dropout.
${
    dropout > 0
      ? `${keepFactorWgsl(dropout)}
fn keep(b: u32, head: u32, i: u32, j: u32) -> f32 {
  return keep_factor(${starts ? `starts[${starts}]` : "seed[0]"}, STREAM, ((b * NH + head) * T + i) * T + j);
}`
      : "fn keep(b: u32, head: u32, i: u32, j: u32) -> f32 { return 1.0; }"
  }`;
}
