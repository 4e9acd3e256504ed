/**
 * The products of attention's tiles in WGSL: statements that bring rows into workgroup memory, multiply them and store the
 * sums. `tiles.ts` says how they are laid out.
 *
 * @module
 */
import { opaque, unroll } from "../../gpu/wgsl.ts";
import { ownRow, rowValue, rowVector, SCORES, sums, type Tiles } from "./tiles.ts";

/** Rows in memory that come into workgroup memory. */
export interface Rows {
  /** WGSL for where a row begins, by its position in the sequence; for each team, or one for both. */
  at(position: string): readonly string[];
  /** WGSL for four values of a row that begins at `at`: its vector number `piece`. */
  load(at: string, piece: string): readonly string[];
}

/** A side of the product for scores. */
export interface Side extends Rows {
  /** Name in WGSL. */
  readonly name: string;
  /** How many of its rows a product takes. */
  readonly count: number;
  /** WGSL for the position of the first. */
  readonly first: string;
}

/** WGSL that chooses among expressions by the team. */
function byTeam(expressions: readonly string[]): string {
  return expressions.length === 1
    ? expressions[0]
    : `select(${expressions[1]}, ${expressions[0]}, team == 0u)`;
}

/** Statements that load vectors, each by its name, from what the team reads. */
function loads(vectors: readonly { name: string; load: readonly string[] }[]): string {
  if (vectors.every(({ load }) => load.length === 1)) {
    return vectors.map(({ name, load }) => `let ${name} = ${load[0]};`).join(" ");
  }
  const assign = (team: number) =>
    vectors.map(({ name, load }) => `${name} = ${load[team] ?? load[0]};`).join(" ");
  return `${vectors.map(({ name }) => `var ${name}: vec4f;`).join(" ")}
      if (team == 0u) { ${assign(0)} } else { ${assign(1)} }`;
}

/** How often a team, of which two threads take a row, brings rows. */
function passes({ team }: Tiles, rows: number): number {
  return Math.ceil(rows / (team / 2));
}

/** Statements that find where the rows begin that this thread brings into workgroup memory for scores. */
export function rowStarts(tiles: Tiles, { name, count, first, at }: Side): string {
  return unroll(
    passes(tiles, count),
    (n) => `let ${name}_at${n} = ${byTeam(at(`${first} + ${n * tiles.team / 2}u + t / 2u`))};`,
  );
}

/**
 * Statements that compute the tile's scores from all values of d. Neighbouring threads bring neighbouring halves of
 * 32 bytes, and write to neighbouring rows.
 */
export function scoreLoop(tiles: Tiles, headDim: number, a: Side, b: Side): string {
  const { chunk, team } = tiles;
  const all = [a, b].flatMap((side) => {
    const { name, count, load } = side;
    return Array.from({ length: passes(tiles, count) * chunk / 8 }, (_, n) => {
      const [pass, pair] = [Math.floor(n / (chunk / 8)), n % (chunk / 8)];
      const row = `${pass * team / 2}u + t / 2u`;
      const put = unroll(4, (k) => {
        const line = `${side === a ? 0 : chunk}u + ${8 * pair + k}u + (t & 1u) * 4u`;
        const to = rowValue("team", line, row);
        return `${to} = ${name}${n}[${k}];`;
      });
      return {
        name: `${name}${n}`,
        load: load(`${name}_at${pass}`, `(d / 4u + ${2 * pair}u + (t & 1u))`),
        put: (pass + 1) * team / 2 <= count ? put : `if (${row} < ${count}u) { ${put} }`,
      };
    });
  });
  return `${SCORES.map(({ name }) => `var ${name} = vec4f();`).join(" ")}
    for (var d = 0u; d < ${Math.ceil(headDim / chunk) * chunk}u; d += ${chunk}u) {
      ${loads(all)}
      ${all.map(({ put }) => put).join("\n      ")}
      workgroupBarrier();
      for (var k = 0u; k < ${opaque(chunk)}; k += 4u) {
        ${
    unroll(4, (n) => `
        let low${n} = ${rowVector(tiles, "team", `k + ${n}u`, 0)};
        let high${n} = ${rowVector(tiles, "team", `k + ${n}u`, 1)};
        let other${n} = tiles[team][k + ${chunk + n}u][tx];
        ${
      SCORES.map(({ name, column, half }) =>
        `${name} = fma(${half ? "high" : "low"}${n}, vec4f(other${n}[${column}]), ${name});`
      ).join(" ")
    }`)
  }
      }
      workgroupBarrier();
    }`;
}

/**
 * Statements that bring a slice of rows as they lie, behind the weights.
 *
 * @param first WGSL for the position of the first row.
 */
export function bringRows(tiles: Tiles, first: string, { at, load }: Rows): string {
  const { slice, teamSlice, columns, parts, rowLines, threads, team } = tiles;
  const pieces = columns * parts;
  const apart = at("").length === 2;
  const [thread, helpers] = apart ? ["t", team] : ["lane", threads];
  const piece = `(${thread} % ${pieces}u)`;
  const [part, column] = rowLines === 1
    ? ["", piece]
    : [` + ${piece} / ${columns}u`, `${piece} % ${columns}u`];
  const vectors = Array.from({ length: Math.ceil(slice * pieces / helpers) }, (_, n) => {
    const row = `(${n * helpers / pieces}u + ${thread} / ${pieces}u)`;
    const line = `${teamSlice}u + ${row} % ${teamSlice}u * ${rowLines}u${part}`;
    return {
      name: `x${n}`,
      load: load(byTeam(at(`${first} + ${row}`)), piece),
      put: `tiles[${apart ? "team" : `${row} / ${teamSlice}u`}][${line}][${column}] = x${n};`,
    };
  });
  return `${loads(vectors)}
      ${vectors.map(({ put }) => put).join(" ")}`;
}

/** Statements that put the thread's scores, by now weights, into the slice, if this is the one that has them. */
export function putWeights(tiles: Tiles, team: "own" | "second" = "own"): string {
  const { slice, teamSlice } = tiles;
  const to = team === "own" ? "team" : `weight_row / ${teamSlice}u`;
  return `if (${team === "own" ? "" : "team == 1u && "}tx / ${slice / 4}u == slice) {
        let weight_row = (tx % ${slice / 4}u) * 4u;
        ${
    SCORES.map(({ name, column, half }) =>
      `${rowVector(tiles, to, `weight_row % ${teamSlice}u + ${column}u`, half)} = ${name};`
    ).join("\n        ")
  }
      }`;
}

/** Statements that add the products of a slice's weights and rows to the sums. */
export function sumLoop(tiles: Tiles): string {
  const { teamSlice, rowLines, columns, parts } = tiles;
  const x = (n: number, part: number) =>
    rowLines === 1
      ? `tiles[team][j + ${teamSlice + n}u][${part * columns}u + tx]`
      : `tiles[team][2u * j + ${teamSlice + 2 * n + part}u][tx]`;
  return `for (var j = 0u; j < ${opaque(teamSlice)}; j += 4u) {
        ${
    unroll(4, (n) => `
        let low${n} = ${rowVector(tiles, "team", `j + ${n}u`, 0)};
        let high${n} = ${rowVector(tiles, "team", `j + ${n}u`, 1)};
        ${unroll(parts, (p) => `let x${n}_${p} = ${x(n, p)};`)}
        ${
      sums(tiles).map(({ name, row, part }) =>
        `${name} = fma(vec4f(${row < 4 ? "low" : "high"}${n}[${row % 4}]), x${n}_${part}, ${name});`
      ).join(" ")
    }`)
  }
      }`;
}

/** Statements that store each of the thread's sums whose row is within the sequence. */
export function storeSums(
  tiles: Tiles,
  store: (sum: string, position: string, piece: string) => string,
): string {
  const ofRow = (row: number) => sums(tiles).filter((sum) => sum.row === row);
  return unroll(8, (row) =>
    `{
    let position = first + ${ownRow(tiles, row)};
    if (position < T) {
      ${
      ofRow(row).map(({ name, part }) => store(name, "position", `(${part * tiles.columns}u + tx)`)).join(
        "\n      ",
      )
    }
    }
  }`);
}
