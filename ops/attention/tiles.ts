/**
 * Attention's products through workgroup memory, for graphics cards, laid out as in FlashAttention-2 (arXiv
 * 2307.08691). Its three kernels have one form: a workgroup owns a block of queries or keys of a head and walks over
 * tiles of the others, and for each of them
 *
 * s_ow = sum_d a_od b_wd, weights_ow = f(s_ow), sum_od += sum_w weights_ow x_wd.
 *
 * A team of threads computes both products, each thread 8 x 4 scores and 8 x 8 sums. Its 8 rows are four neighbours
 * in the block's first half and four in its second. Workgroup memory is lines of vectors: a line has all rows of the
 * block, or of a tile, with one value of each, so that a and b are turned on their way there, `chunk` values of d at a
 * time; weights and x follow, `slice` rows of the tile at a time. In the backward kernels there are two teams, which
 * multiply different things. All lines of a hot loop depend on its counter alone and places in them on the thread
 * alone, so that both are held within bounds outside of it, or by the scalar unit.
 *
 * A multiply-add reads 1.5 bytes of workgroup memory for scores and 1 for sums; 1.5 for these too where a head has
 * at most 32 values, so that a thread has 8 x 4. With 8 x 8 scores a thread would have 128 sums and scores, which is
 * all that some cards give it. Of RDNA 3's 16 waves in a SIMD there is room for 8 (for 6 in `attention_backward_q` with
 * heads of more than 80 values). On GCN, whose 256 registers all waves of a lane share, 96 sums and scores, and
 * what the compiler loads early, leave room for one wave; four would take 4 x 4 scores and 4 x 4 sums, and with them 2
 * bytes for a multiply-add and twice as many tiles.
 *
 * @module
 */
/** Vectors of workgroup memory that WebGPU guarantees: 16 KiB. */
const MAX_VECTORS = 1024;
/** Threads of a workgroup that WebGPU guarantees. */
const MAX_THREADS = 256;

/** How a kernel is laid out. */
export interface Tiles {
  /** Rows that a workgroup owns. */
  readonly own: 64 | 32;
  /** Rows of a tile that it walks over. */
  readonly walk: number;
  /** Values of d that are in workgroup memory at a time for scores. */
  readonly chunk: number;
  /** Rows of a tile that are there at a time for sums. */
  readonly slice: number;
  /** Of those, rows that each team adds. */
  readonly teamSlice: number;
  /** Threads side by side, which own neighbouring columns. */
  readonly columns: number;
  /** Vectors of sums of a thread in each row. */
  readonly parts: 1 | 2;
  /** Threads of a team. */
  readonly team: number;
  /** Threads of the workgroup. */
  readonly threads: number;
  /** Vectors in a line of workgroup memory: the block's rows, or those of a tile, with one value of each. */
  readonly width: number;
  /** Lines for one row of x. */
  readonly rowLines: 1 | 2;
  /** Lines of each team. */
  readonly lines: number;
  /** Lines behind them that the kernel has for itself, for one value of each of the block's rows. */
  readonly kept: number;
}

/** What the teams do: one computes everything; two share the slices' rows; two have weights and rows each. */
export type Teams = "one" | "shared" | "apart";

/**
 * The largest tiles that fit.
 *
 * @param headDim Values of a head.
 * @param teams See {@linkcode Teams}.
 * @returns Undefined if heads are too large: above 256 values.
 */
export function tilesFor(headDim: number, teams: Teams): Tiles | undefined {
  if (headDim > 256) return undefined;
  const parts = headDim <= 32 ? 1 : 2;
  // A multiple of four, so that slices of 16 rows end where a thread's do.
  const columns = Math.max(8, 4 * Math.ceil(headDim / (16 * parts)));
  const count = teams === "one" ? 1 : 2;
  const own = 8 * columns * count <= MAX_THREADS ? 64 : 32;
  const team = own / 8 * columns;
  const walk = 4 * columns;
  const width = Math.max(columns, own / 4);
  const rowLines = Math.ceil(columns * parts / width) as 1 | 2;
  const kept = teams === "one" ? 1 : 0;
  const teamSlice = (slice: number) => teams === "shared" ? slice / 2 : slice;
  const forScores = (chunk: number) => 2 * chunk;
  const forSums = (slice: number) => teamSlice(slice) * (1 + rowLines);
  const fits = (lines: number) => count * width * (lines + kept) <= MAX_VECTORS;
  const chunk = [16, 8].find((n) => fits(forScores(n)))!;
  const slice = [16, 8, 4].find((n) => fits(forSums(n)))!;
  // Two teams exchange their scores, 8 vectors of each thread.
  const lines = Math.max(forScores(chunk), forSums(slice), count === 2 ? own / 2 : 0);
  return {
    own,
    walk,
    chunk,
    slice,
    teamSlice: teamSlice(slice),
    columns,
    parts,
    team,
    threads: count * team,
    width,
    rowLines,
    lines,
    kept,
  };
}

/** Names of a thread's scores: `s0a` has those of its first four rows with its first column of the tile. */
export const SCORES: readonly { readonly name: string; readonly column: number; readonly half: 0 | 1 }[] = [
  0,
  1,
  2,
  3,
].flatMap((column) => [
  { name: `s${column}a`, column, half: 0 as const },
  { name: `s${column}b`, column, half: 1 as const },
]);

/** Names of a thread's sums: `sum3_1` has the second vector of columns in its fourth row. */
export function sums({ parts }: Tiles): { name: string; row: number; part: number }[] {
  return Array.from({ length: 8 * parts }, (_, n) => {
    const [row, part] = [n >> (parts - 1), n & (parts - 1)];
    return { name: `sum${row}_${part}`, row, part };
  });
}

/** WGSL for the thread's row of the block, from 0 on. */
export function ownRow({ own }: Tiles, row: number): string {
  return `${row < 4 ? row : own / 2 + row - 4}u + 4u * ty`;
}

/** Declares the workgroup's memory. Where a line is constant, its index needs no check in a loop. */
export function tileMemory({ width, lines, kept, threads, team }: Tiles): string {
  return `var<workgroup> tiles: array<array<array<vec4f, ${width}>, ${lines + kept}>, ${threads / team}>;`;
}

/** WGSL for four of the thread's rows of the block, in a line. */
export function rowVector({ own }: Tiles, team: string, line: string, half: 0 | 1): string {
  return `tiles[${team}][${line}][${half * own / 8}u + ty]`;
}

/** WGSL for one row, an expression, in a line. */
export function rowValue(team: string, line: string, row: string): string {
  return `tiles[${team}][${line}][(${row}) / 4u][(${row}) & 3u]`;
}

/** WGSL for a place that the thread shares with the other team's thread of its number; there are eight. */
export function exchanged({ own }: Tiles, n: number): string {
  return `tiles[${n >> 2}][${(n & 3) * own / 8}u + ty][tx]`;
}

/**
 * Statements that say which thread this is: its team, its number `t` in it, its rows by `ty` and columns by `tx`. The
 * masks change nothing, but show compilers that every index is in range.
 */
export function threadPlace({ columns, team, own }: Tiles): string {
  return `let team = (lane / ${team}u) & 1u;
  let t = lane % ${team}u;
  let ty = (t / ${columns}u) & ${own / 8 - 1}u;
  let tx = t % ${columns}u;`;
}
