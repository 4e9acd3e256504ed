/**
 * The WGSL of attention's three kernels for graphics cards: the formulas of `attention.ts` in the tiles of `tiles.ts`.
 *
 * @module
 */
import { list, mainInputs, unroll } from "../../gpu/wgsl.ts";
import { type AttentionText, declarations, type GradientText } from "./row_kernels.ts";
import {
  bringRows,
  exchanged,
  ownRow,
  putWeights,
  type Rows,
  rowStarts,
  rowValue,
  rowVector,
  scoreLoop,
  SCORES,
  type Side,
  storeSums,
  sumLoop,
  sums,
  threadPlace,
  tileMemory,
  type Tiles,
} from "./tiles.ts";

/** o and l of the queries. Of each query one thread keeps the largest score and the sum of all weights. */
export function tiledForwardWgsl(text: AttentionText, tiles: Tiles): string {
  const { own, walk, slice, threads, lines } = tiles;
  const a = side("a", own, "first", rowsOf(text, "q"));
  const b = side("b", walk, "walk", rowsOf(text, "k"));
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
      ${bringRows(tiles, "j", rowsOf(text, "v"))}
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
  const a = side("a", own, "first", pair(rowsOf(text, "q"), rowsOf(text, "dO")));
  const b = side("b", walk, "walk", pair(rowsOf(text, "k"), rowsOf(text, "v")));
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
      ${bringRows(tiles, `walk + slice * ${slice}u`, rowsOf(text, "k"))}
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
  const a = side("a", own, "first", pair(rowsOf(text, "k", "kv_head"), rowsOf(text, "v", "kv_head")));
  const b = side("b", walk, "walk", pair(rowsOf(text, "q"), rowsOf(text, "dO")));
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
        ${bringRows(tiles, `walk + slice * ${slice}u`, pair(rowsOf(text, "dO"), rowsOf(text, "q")))}
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

/** Functions and workgroup memory. */
function head(text: AttentionText, tiles: Tiles): string {
  const { dropout, starts, row: { width, pieces } } = text;
  const headDim = headDimOf(text);
  const padded = headDim % tiles.chunk !== 0 || headDim !== 4 * tiles.columns * tiles.parts;
  const value = (name: string, c: string) => {
    const load = (c: string) => name === "dO" ? `dO[at + ${c}]` : `load_${name}(at, ${c})`;
    return padded ? `select(V(), ${load(`min(${c}, ${pieces - 1}u)`)}, ${c} < ${pieces}u)` : load(c);
  };
  const four = (name: string) => `
fn four_${name}(at: u32, piece: u32) -> vec4f {
  return ${
    width === 4 ? value(name, "piece") : `vec4f(${list(4, (n) => value(name, `(4u * piece + ${n}u)`))})`
  };
}`;
  const each = (name: string) => (n: number) => `${name}[${n}]`;
  const startOf = (i: string) => `starts[b * T + min(${i}, T - 1u)]`;
  const i = each("i");
  const j = each("j");
  return `${declarations(text)}
${tileMemory(tiles)}
${["q", "k", "v"].map(four).join("")}${tiles.kept > 0 ? "" : four("dO")}
// Whether queries see keys.
fn seen(b: u32, i: vec4u, j: vec4u) -> vec4<bool> {
  return (j <= i) & (i < vec4u(T))${starts ? ` & (j >= vec4u(${list(4, (n) => startOf(i(n)))}))` : ""};
}
fn keep4(b: u32, head: u32, i: vec4u, j: vec4u) -> vec4f {
  return ${dropout > 0 ? `vec4f(${list(4, (n) => `keep(b, head, ${i(n)}, ${j(n)})`)})` : "vec4f(1.0)"};
}`;
}

function headDimOf({ row: { width, pieces } }: AttentionText): number {
  return width * pieces;
}

/** Rows of q, k, v or dO. Positions past the end have the last row. */
function rowsOf(
  text: AttentionText,
  name: "q" | "k" | "v" | "dO",
  head = name === "q" || name === "dO" ? "head" : "head / GROUP",
): Rows {
  return {
    at: (position) => [`${name === "dO" ? "o" : name}_at(b, min(${position}, T - 1u), ${head})`],
    load: (at, piece) => [`four_${name}(${at}, ${piece})`],
  };
}

/** Of both teams. */
function pair(first: Rows, second: Rows): Rows {
  return {
    at: (position) => [...first.at(position), ...second.at(position)],
    load: (at, piece) => [...first.load(at, piece), ...second.load(at, piece)],
  };
}

function side(name: string, count: number, first: string, rows: Rows): Side {
  return { name, count, first, ...rows };
}

function zeroSums(tiles: Tiles): string {
  return sums(tiles).map(({ name }) => `var ${name} = vec4f();`).join(" ");
}

/** Multiplies the sums of each row by its number among the kept vectors. */
function scaleSums(tiles: Tiles): string {
  return `{
        let low = ${rowVector(tiles, "0", `${tiles.lines}u`, 0)};
        let high = ${rowVector(tiles, "0", `${tiles.lines}u`, 1)};
        ${sums(tiles).map(({ name, row }) => `${name} *= ${row < 4 ? "low" : "high"}[${row % 4}];`).join(" ")}
      }`;
}

/**
 * Statements that turn the scores of the first team into p, and those of the second, do v, into ds.
 *
 * @param of WGSL for the queries and keys of a thread's scores, and l or D; all for four rows.
 * @param weights Whether p is needed further, with dropout's mask.
 */
function scoreGradients(
  { dropout }: AttentionText,
  tiles: Tiles,
  of: (column: number, half: 0 | 1) => { i: string; j: string; stat: string },
  weights: boolean,
): string {
  const scores = SCORES.map(({ name, column, half }, n) => ({
    s: name,
    p: exchanged(tiles, n),
    ...of(column, half),
  }));
  const all = (statement: (score: typeof scores[0]) => string) => scores.map(statement).join("\n      ");
  return `if (team == 0u) {
      ${
    all(({ s, p, i, j, stat }) =>
      `${s} = select(vec4f(), exp(${s} * SCALE - ${stat}), seen(b, ${i}, ${j})); ${p} = ${s};`
    )
  }
    }
    workgroupBarrier();
    if (team == 1u) {
      ${all(({ s, p, i, j, stat }) => `${s} = ${p} * (${s} * keep4(b, head, ${i}, ${j}) - ${stat}) * SCALE;`)}
    }${
    dropout > 0 && weights
      ? ` else {
      ${all(({ s, i, j }) => `${s} *= keep4(b, head, ${i}, ${j});`)}
    }`
      : ""
  }
    workgroupBarrier();`;
}

/** Statements that store a vector of sums as the values `piece` of a row that begins at `start`. */
function store(
  { row: { width, pieces } }: AttentionText,
  array: string,
  assign: "=" | "+=",
  start: string,
  piece: string,
  sum: string,
): string {
  if (width === 4) {
    return `if (${piece} < ${pieces}u) { ${array}[${start} + ${piece}] ${assign} ${sum}; }`;
  }
  return unroll(
    4,
    (n) =>
      `if (4u * ${piece} + ${n}u < HS) { ${array}[${start} + 4u * ${piece} + ${n}u] ${assign} ${sum}[${n}]; }`,
  );
}

/** Adds the sums to a gradient, where it is required. */
function storeGradient(
  text: AttentionText,
  tiles: Tiles,
  into: GradientText | undefined,
  start: (position: string) => string,
): string {
  if (!into) return "";
  const { array, accumulate } = into;
  return storeSums(
    tiles,
    (sum, position, piece) => store(text, array, accumulate ? "+=" : "=", start(position), piece, sum),
  );
}
