/**
 * The WGSL of attention's three kernels for graphics cards: the formulas of `attention.ts` in the tiles of `tiles.ts`.
 *
 * @module
 */
import { mainInputs, unroll } from "../../gpu/wgsl.ts";
import type { AttentionText, GradientText } from "./row_kernels.ts";
import { bringRows, putWeights, rowStarts, scoreLoop, storeSums, sumLoop } from "./tile_products.ts";
import {
  head,
  headDimOf,
  pair,
  rowsOf,
  scaleSums,
  scoreGradients,
  side,
  store,
  storeGradient,
  zeroSums,
} from "./tiled_text.ts";
import { exchanged, ownRow, rowValue, rowVector, sums, threadPlace, type Tiles } from "./tiles.ts";

/** o and l of the queries. Of each query one thread keeps the largest score and the sum of all weights. */
export function tiledForwardWgsl(text: AttentionText, tiles: Tiles): string {
  const { own, walk, slice, threads, lines } = tiles;
  const a = side("a", own, "first", rowsOf("q"));
  const b = side("b", walk, "walk", rowsOf("k"));
  const score = (n: number) => rowValue("0", `${n}u`, "lane");
  const kept = rowValue("0", `${lines}u`, "lane");
  const ofOneRow = (statements: string) =>
    own === threads ? statements : `if (lane < ${own}u) {${statements}}`;
  return `${head(text, tiles)}
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {
  let b = group.y / NH;
  let head = group.y % NH;
  // Blocks that see more keys begin earlier.
  let first = (groups.x - 1u - group.x) * ${own}u;
  ${threadPlace(tiles)}
  let i = min(first + lane, T - 1u);
  let start = ${text.starts ? "starts[b * T + i]" : "0u"};
  var top = -3.0e38;
  var total = 0.0;
  ${zeroSums(tiles)}
  ${rowStarts(tiles, a)}
  let end = min(first + ${own}u, T);
  for (var walk = 0u; walk < end; walk += ${walk}u) {
    ${rowStarts(tiles, b)}
    ${scoreLoop(tiles, headDimOf(text), a, b)}
    for (var slice = 0u; slice < ${walk / slice}u; slice++) {
      let j = walk + slice * ${slice}u;
      if (j >= end) { break; }
      ${putWeights(tiles)}
      ${bringRows(tiles, "j", rowsOf("v"))}
      workgroupBarrier();
      ${
    ofOneRow(`
        ${
      unroll(slice, (n) => `
        let seen${n} = j + ${n}u <= i && j + ${n}u >= start;
        let s${n} = select(-3.0e38, ${score(n)} * SCALE, seen${n});`)
    }
        var new_top = top;
        ${unroll(slice, (n) => `new_top = max(new_top, s${n});`)}
        let shrink = exp(top - new_top);
        top = new_top;
        total *= shrink;
        ${
      unroll(slice, (n) => `
        let p${n} = select(0.0, exp(s${n} - new_top), seen${n});
        total += p${n};
        ${score(n)} = p${n} * keep(b, head, i, j + ${n}u);`)
    }
        ${kept} = shrink;
      `)
  }
      workgroupBarrier();
      ${scaleSums(tiles)}
      ${sumLoop(tiles)}
      workgroupBarrier();
    }
  }
  ${
    ofOneRow(`
    if (first + lane < T) { rows[row_at(b, i, head)].x = top + log(total); }
    ${kept} = 1.0 / total;`)
  }
  workgroupBarrier();
  ${scaleSums(tiles)}
  ${
    storeSums(tiles, (sum, position, piece) =>
      store(text, "o", "=", `o_at(b, ${position}, head)`, piece, sum))
  }
}`;
}

/** dq and D of the queries. One team computes q k, the other do v and from both ds; each adds half of a slice. */
export function tiledBackwardQueriesWgsl(
  text: AttentionText,
  tiles: Tiles,
  dq: GradientText | undefined,
): string {
  const { own, walk, slice, threads } = tiles;
  const a = side("a", own, "first", pair(rowsOf("q"), rowsOf("dO")));
  const b = side("b", walk, "walk", pair(rowsOf("k"), rowsOf("v")));
  const ofRow = (half: 0 | 1) => ({
    i: `(vec4u(first + ${ownRow(tiles, 4 * half)}) + vec4u(0u, 1u, 2u, 3u))`,
    stat: `stat${half}`,
  });
  return `${head(text, tiles)}
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {
  let b = group.y / NH;
  let head = group.y % NH;
  let first = (groups.x - 1u - group.x) * ${own}u;
  ${threadPlace(tiles)}
  // l for the first team, D for the second.
  if (lane < ${own}u) {
    let i = min(first + lane, T - 1u);
    let o_start = o_at(b, i, head);
    var d_row = 0.0;
    for (var c = 0u; c < ${text.row.pieces}u; c++) { d_row += product(dO[o_start + c], o[o_start + c]); }
    ${rowValue("0", "0u", "lane")} = rows[row_at(b, i, head)].x;
    ${rowValue("1", "0u", "lane")} = d_row;
    if (first + lane < T) { rows[row_at(b, i, head)].y = d_row; }
  }
  workgroupBarrier();
  let stat0 = ${rowVector(tiles, "team", "0u", 0)};
  let stat1 = ${rowVector(tiles, "team", "0u", 1)};
  workgroupBarrier();
  ${zeroSums(tiles)}
  ${rowStarts(tiles, a)}
  let end = min(first + ${own}u, T);
  for (var walk = 0u; walk < end; walk += ${walk}u) {
    ${rowStarts(tiles, b)}
    ${scoreLoop(tiles, headDimOf(text), a, b)}
    let j = walk + tx * 4u;
    ${scoreGradients(text, tiles, (column, half) => ({ ...ofRow(half), j: `vec4u(j + ${column}u)` }), false)}
    for (var slice = 0u; slice < ${walk / slice}u; slice++) {
      if (walk + slice * ${slice}u >= end) { break; }
      ${putWeights(tiles, "second")}
      ${bringRows(tiles, `walk + slice * ${slice}u`, rowsOf("k"))}
      workgroupBarrier();
      ${sumLoop(tiles)}
      workgroupBarrier();
    }
  }
  ${
    unroll(tiles.parts, (p) => {
      const own = sums(tiles).filter(({ part }) => part === p);
      return `
  if (team == 1u) { ${own.map(({ name, row }) => `${exchanged(tiles, row)} = ${name};`).join(" ")} }
  workgroupBarrier();
  if (team == 0u) { ${own.map(({ name, row }) => `${name} += ${exchanged(tiles, row)};`).join(" ")} }
  workgroupBarrier();`;
    })
  }
  if (team == 1u) { return; }
  ${storeGradient(text, tiles, dq, (position) => `q_at(b, ${position}, head)`)}
}`;
}

/** dk and dv, from all queries of the heads that share them. One team computes q k and dv, the other do v, ds and dk. */
export function tiledBackwardKeysValuesWgsl(
  text: AttentionText,
  tiles: Tiles,
  dk: GradientText | undefined,
  dv: GradientText | undefined,
): string {
  const { own, walk, slice, threads } = tiles;
  const a = side("a", own, "first", pair(rowsOf("k", "kv_head"), rowsOf("v", "kv_head")));
  const b = side("b", walk, "walk", pair(rowsOf("q"), rowsOf("dO")));
  const j = (half: 0 | 1) => `(vec4u(first + ${ownRow(tiles, 4 * half)}) + vec4u(0u, 1u, 2u, 3u))`;
  return `${head(text, tiles)}
@compute @workgroup_size(${threads}) fn main(${mainInputs}) {
  let b = group.y / KV;
  let kv_head = group.y % KV;
  let first = group.x * ${own}u;
  ${threadPlace(tiles)}
  ${zeroSums(tiles)}
  ${rowStarts(tiles, a)}
  for (var head = kv_head * GROUP; head < (kv_head + 1u) * GROUP; head++) {
    for (var walk = first; walk < T; walk += ${walk}u) {
      ${rowStarts(tiles, b)}
      ${scoreLoop(tiles, headDimOf(text), a, b)}
      let i = walk + tx * 4u;
      // l for the first team, D for the second.
      ${
    unroll(4, (n) => `
      let pair${n} = rows[row_at(b, min(i + ${n}u, T - 1u), head)];
      let stat${n} = vec4f(select(pair${n}.y, pair${n}.x, team == 0u));`)
  }
      ${
    scoreGradients(text, tiles, (column, half) => ({
      i: `vec4u(i + ${column}u)`,
      j: j(half),
      stat: `stat${column}`,
    }), true)
  }
      for (var slice = 0u; slice < ${walk / slice}u; slice++) {
        if (walk + slice * ${slice}u >= T) { break; }
        ${putWeights(tiles)}
        ${bringRows(tiles, `walk + slice * ${slice}u`, pair(rowsOf("dO"), rowsOf("q")))}
        workgroupBarrier();
        ${sumLoop(tiles)}
        workgroupBarrier();
      }
    }
  }
  if (team == 0u) {
    ${storeGradient(text, tiles, dv, (position) => `v_at(b, ${position}, kv_head)`)}
  } else {
    ${storeGradient(text, tiles, dk, (position) => `k_at(b, ${position}, kv_head)`)}
  }
}`;
}
