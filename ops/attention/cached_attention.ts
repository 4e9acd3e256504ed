/**
 * Attention of new positions over all positions of their sequences, whose keys and values lie in a cache:
 *
 * the query at position i attends to the keys of positions 0 to i, as in `attention.ts`, softmax online.
 *
 * A first kernel puts the new keys and values into the cache, a second attends. There it is one thread on a CPU
 * adapter, and on a GPU one workgroup, that owns the query of one head: its threads take a key each and then,
 * with all their weights, a part of the values' columns each. What a sequence gets does not depend on how many
 * others there are, nor on how many of its positions come at once.
 *
 * @module
 */
import type { Graph } from "../../gpu/graph.ts";
import { expectShape, type Tensor } from "../../gpu/tensor.ts";
import { f32, perThread, unroll } from "../../gpu/wgsl.ts";
import { type HeadRow, headRow } from "./head_row.ts";
import type { SequenceContext } from "./key_value_cache.ts";
import { lanesPerRow, perRow } from "../rows.ts";

/** Where queries, keys or values lie: rows of `stride` values, of which `offset` and the following belong to them. */
export interface Columns {
  /** [B, T, stride]. */
  readonly tensor: Tensor;
  /** The first column. */
  readonly offset: number;
  /** Columns of a row. */
  readonly stride: number;
}

/** Options of {@linkcode cachedAttention}. */
export interface CachedAttentionOptions {
  /** Query heads, NH. */
  readonly numHeads: number;
  /** Key and value heads, KV; a divisor of NH. */
  readonly numKeyValueHeads: number;
  /** Values of a head, HS. */
  readonly headDim: number;
  /** Factor of the scores. */
  readonly scale: number;
  /** Which layer of the cache. */
  readonly layer: number;
  /** Where the sequences are. */
  readonly context: SequenceContext;
}

/**
 * Adds keys and values to the cache and attends. Positions past the cache's end are not kept, and what they get
 * has no meaning: so a last piece of a sequence may be shorter than T.
 *
 * @param g The graph to record in; not a training graph.
 * @param q NH * HS columns of [B, T, ...].
 * @param k KV * HS columns of [B, T, ...].
 * @param v The shape of k.
 * @param options See {@linkcode CachedAttentionOptions}.
 * @returns [B, T, NH * HS].
 * @throws {TypeError} If the graph is a training graph or the context has another number of sequences.
 */
export function cachedAttention(
  g: Graph,
  q: Columns,
  k: Columns,
  v: Columns,
  options: CachedAttentionOptions,
): Tensor {
  const { numHeads, numKeyValueHeads, headDim, scale, layer, context } = options;
  if (g.training) {
    throw new TypeError("cachedAttention: a training graph must attend without a cache, got one");
  }
  const [batch, length] = q.tensor.shape; // B, T
  expectShape("cachedAttention", "the context's starts", context.starts, [batch], "u32");
  const { keys, values } = context.layer(layer, numKeyValueHeads * headDim); // [S, P, KV * HS]
  const row = headRow(g.profile, headDim);
  const constants = { T: length, P: context.length, KV: numKeyValueHeads, PIECES: row.pieces };
  const cache = { ...context, keys, values, constants, row };
  appendKeysValues(g, k, v, cache);
  return attend(g, q, cache, numHeads, scale);
}

/** What both kernels know. */
interface Cache {
  /** u32 [B]: the position of each sequence's first token. */
  readonly starts: Tensor;
  /** u32 [B]: which of the cache's sequences each is. */
  readonly slots: Tensor;
  /** [S, P, KV * HS]. */
  readonly keys: Tensor;
  /** The shape of the keys. */
  readonly values: Tensor;
  /** A row of a head. */
  readonly row: HeadRow;
  readonly constants: Readonly<Record<"T" | "P" | "KV" | "PIECES", number>>;
}

/** WGSL for the index of the first piece of a head in row b * T + t. */
function pieceAt({ width }: HeadRow, { offset, stride }: Columns, row: string, head: string): string {
  return `(${row} * ${stride / width}u + ${offset / width}u + ${head} * PIECES)`;
}

/** Puts new keys and values into the cache. */
function appendKeysValues(g: Graph, k: Columns, v: Columns, cache: Cache): void {
  const { starts, slots, keys, values, constants, row: { width, pieces, wrap } } = cache;
  const [batch, length] = k.tensor.shape; // B, T
  const count = batch * length * constants.KV * pieces;
  g.dispatch({
    label: "cache_keys_values",
    read: { k: wrap(k.tensor), v: wrap(v.tensor), starts, slots },
    write: { keys: wrap(keys), values: wrap(values) },
    constants,
    bytes: 4 * width * 4 * count,
    ...perThread({
      count,
      statements: `let row = i / (KV * PIECES);
  let c = i % (KV * PIECES);
  let position = starts[row / T] + row % T;
  if (position >= P) { return; }
  let to = (slots[row / T] * P + position) * KV * PIECES + c;
  keys[to] = k[${pieceAt(cache.row, k, "row", "0u")} + c];
  values[to] = v[${pieceAt(cache.row, v, "row", "0u")} + c];`,
    }),
  });
}

/** Attends to what the cache holds. */
function attend(g: Graph, q: Columns, cache: Cache, numHeads: number, scale: number): Tensor {
  const { starts, slots, keys, values, constants, row: { width, pieces, wrap, declarations } } = cache;
  const [batch, length] = q.tensor.shape; // B, T
  const o = g.activation("attention", [batch, length, numHeads * pieces * width]);
  const lanes = lanesPerRow(g.profile);
  const shared = lanes > 1;
  /** Pieces of the values that a thread sums up, and which they are. */
  const own = Math.ceil(pieces / lanes);
  const piece = (c: number) => (shared ? `min(lane + ${c * lanes}u, PIECES - 1u)` : `${c}u`);
  const addValues = (weight: string, position: string) => `
      let v_at = first_head + (${position}) * KV * PIECES;
      ${unroll(own, (c) => `sum${c} += ${weight} * values[v_at + ${piece(c)}];`)}`;
  g.dispatch({
    label: "cached_attention",
    read: { q: wrap(q.tensor), keys: wrap(keys), values: wrap(values), starts, slots },
    write: { o: wrap(o) },
    constants: { ...constants, NH: numHeads },
    ...perRow(g.profile, {
      rows: batch * length * numHeads,
      functions: `
${declarations}
const SCALE = ${f32(scale)};
${shared ? `var<workgroup> weights: array<f32, ${lanes}>;` : ""}`,
      statements: `let head = row % NH;
  let place = row / NH; // b * T + t
  let position = min(starts[place / T] + place % T, P - 1u);
  let q_at = ${pieceAt(cache.row, q, "place", "head")};
  let first_head = (slots[place / T] * P * KV + head / (NH / KV)) * PIECES;
  ${unroll(pieces, (c) => `let q${c} = q[q_at + ${c}u] * SCALE;`)}
  ${unroll(own, (c) => `var sum${c} = V();`)}
  var top = -3.0e38;
  var total = 0.0;
  for (var first = 0u; first <= position; first += LANES) {
    let j = first + lane;
    let k_at = first_head + min(j, position) * KV * PIECES;
    var s = 0.0;
    ${unroll(pieces, (c) => `s += product(q${c}, keys[k_at + ${c}u]);`)}
    let new_top = max(top, row_max(select(-3.0e38, s, j <= position)));
    let shrink = exp(top - new_top);
    let weight = select(0.0, exp(s - new_top), j <= position);
    total = total * shrink + row_sum(weight);
    top = new_top;
    ${unroll(own, (c) => `sum${c} *= shrink;`)}
    ${
        shared
          ? `weights[lane] = weight;
    workgroupBarrier();
    for (var i = 0u; i < min(LANES, position + 1u - first); i++) {${addValues("weights[i]", "first + i")}
    }
    workgroupBarrier(); // before weights are those of the next turn`
          : addValues("weight", "j")
      }
  }
  ${
        unroll(own, (c) => {
          const store = `o[row * PIECES + ${piece(c)}] = sum${c} / total;`;
          return shared ? `if (lane + ${c * lanes}u < PIECES) { ${store} }` : store;
        })
      }`,
    }),
  });
  return o;
}
