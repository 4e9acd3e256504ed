/**
 * Pieces of WGSL that attention's tiled kernels share: what they load, which queries see which keys, and how scores become
 * gradients.
 *
 * @module
 */
import { list, unroll } from "../../gpu/wgsl.ts";
import { type AttentionText, declarations, type GradientText } from "./row_kernels.ts";
import { exchanged, rowVector, SCORES, sums, tileMemory, type Tiles } from "./tiles.ts";
import { type Rows, type Side, storeSums } from "./tile_products.ts";

/** Functions and workgroup memory. */
export function head(text: AttentionText, tiles: Tiles): string {
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

/** HS. */
export function headDimOf({ row: { width, pieces } }: AttentionText): number {
  return width * pieces;
}

/** Rows of q, k, v or dO. Positions past the end have the last row. */
export function rowsOf(
  name: "q" | "k" | "v" | "dO",
  head = name === "q" || name === "dO" ? "head" : "head / GROUP",
): Rows {
  return {
    at: (position) => [`${name === "dO" ? "o" : name}_at(b, min(${position}, T - 1u), ${head})`],
    load: (at, piece) => [`four_${name}(${at}, ${piece})`],
  };
}

/** Of both teams. */
export function pair(first: Rows, second: Rows): Rows {
  return {
    at: (position) => [...first.at(position), ...second.at(position)],
    load: (at, piece) => [...first.load(at, piece), ...second.load(at, piece)],
  };
}

/** A side of the scores' product. */
export function side(name: string, count: number, first: string, rows: Rows): Side {
  return { name, count, first, ...rows };
}

/** Declares a thread's sums. */
export function zeroSums(tiles: Tiles): string {
  return sums(tiles).map(({ name }) => `var ${name} = vec4f();`).join(" ");
}

/** Multiplies the sums of each row by its number among the kept vectors. */
export function scaleSums(tiles: Tiles): string {
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
export function scoreGradients(
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
export function store(
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
export function storeGradient(
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
