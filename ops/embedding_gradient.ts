/**
 * The gradient of a table of embeddings: dy[n] is added to row ids[n]. Without atomics, and so in a fixed order.
 *
 * On the CPU a first kernel links each position to the next one with the same id, a second lets the first position of
 * every id walk its list. On a GPU such a walk takes long where an id is frequent, as padding is. So
 * there the positions are ordered by their ids, and threads sum segments of {@linkcode SEGMENT} of them, whatever the ids.
 * The sum of a run of equal ids within a segment goes to the table at once. Of a run across segments, each segment
 * leaves its part behind: its tail in that segment where the run begins, a head in every other; one more kernel adds
 * those up.
 *
 * @module
 */
import type { GradientTarget, Graph } from "../gpu/graph.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { type Launch, perThread } from "../gpu/wgsl.ts";
import { elementwise } from "./elementwise.ts";
import { perRow } from "./rows.ts";
import { vectorType } from "./vector_type.ts";

const NONE = "0xffffffffu";

/** Positions that one thread of a GPU sums. */
const SEGMENT = 32;

/** What {@linkcode lookupGradient} takes. */
export interface LookupGradient {
  /** u32 [N]; an id past the table's end is that of its last row. */
  readonly ids: Tensor;
  /** [N, C]. */
  readonly dy: Tensor;
  /** [V, C]. */
  readonly table: GradientTarget;
  /** [start, end) of the rows of the table that one binding holds. */
  readonly blocks: readonly (readonly [number, number])[];
}

/** Records adding the gradient to the table's. */
export function lookupGradient(g: Graph, options: LookupGradient): void {
  const { table, blocks } = options;
  const record = g.profile.isSoftware ? walkLists(g, options) : sumSegments(g, options);
  for (const block of blocks) {
    const part = table.tensor.rows(...block);
    // Only rows that were looked up are added to.
    if (!table.accumulate) {
      elementwise(g, { label: "clear_gradient", out: part, statements: "out[i] = vec4f();" });
    }
    record(part, block);
  }
}

/**
 * A kernel with a thread for each vector of each position, along the channels: of index `i`, vector `c` of position
 * `n`, which is at index `at` in the rows START to END of a table. Others return.
 */
export function perLookup(count: number, functions: string, statements: string): Launch {
  return perThread({
    count,
    functions,
    statements: `let n = i / PER_ROW;
  let c = i % PER_ROW;
  let row = min(ids[n], LAST);
  if (row < START || row >= END) { return; }
  let at = (row - START) * PER_ROW + c;
  ${statements}`,
  });
}

/** Records what is left to do for a block of rows of the table. */
type BlockRecorder = (part: Tensor, block: readonly [number, number]) => void;

function walkLists(g: Graph, { ids, dy, table }: LookupGradient): BlockRecorder {
  const [vocab, channels] = table.tensor.shape;
  const { width, wgsl, wrap } = vectorType(channels);
  const next = g.activation("embedding.next", [ids.size], [], "u32");
  const isFirst = g.activation("embedding.is_first", [ids.size], [], "u32");
  linkEqual(g, ids, vocab - 1, next, isFirst);
  return (part, [start, end]) =>
    g.dispatch({
      label: "embedding_backward",
      read: { ids, next, is_first: isFirst, dy: wrap(dy) },
      write: { dtable: wrap(part) },
      constants: { PER_ROW: channels / width, LAST: vocab - 1, START: start, END: end },
      ...perLookup(
        ids.size * (channels / width),
        wgsl,
        `
  if (is_first[n] == 0u) { return; }
  var sum = dy[i];
  for (var j = next[n]; j != ${NONE}; j = next[j]) { sum += dy[j * PER_ROW + c]; }
  dtable[at] += sum;`,
      ),
    });
}

/** Records for each position the next one with the same id (at most `last`), and whether it is the first. */
function linkEqual(g: Graph, ids: Tensor, last: number, next: Tensor, isFirst: Tensor): void {
  const count = ids.size;
  // Four ids are compared at a time: the scan costs count^2 / 4 loads at worst.
  g.dispatch({
    label: "embedding_link",
    read: { ids, vectors: { tensor: ids, type: "vec4u" } },
    write: { next, is_first: isFirst },
    constants: { VECTORS: Math.ceil(count / 4), LAST: last },
    ...perThread({
      count,
      index: "n",
      threads: 16,
      functions:
        "fn matches(own: u32, at: u32) -> vec4<bool> { return min(vectors[at], vec4u(LAST)) == vec4u(own); }",
      statements: `let own = min(ids[n], LAST);
  let places = vec4u(0u, 1u, 2u, 3u);
  // What lies behind the ids is not counted, whatever it is.
  var at = n / 4u;
  var found = matches(own, at) & (at * 4u + places > vec4u(n)) & (at * 4u + places < vec4u(COUNT));
  while (!any(found) && at + 1u < VECTORS) {
    at++;
    found = matches(own, at) & (at * 4u + places < vec4u(COUNT));
  }
  let first_of_four = select(select(select(3u, 2u, found.z), 1u, found.y), 0u, found.x);
  next[n] = select(${NONE}, at * 4u + first_of_four, any(found));
  at = 0u;
  while (at < n / 4u && !any(matches(own, at))) { at++; }
  is_first[n] = select(0u, 1u, at == n / 4u && !any(matches(own, at) & (at * 4u + places < vec4u(n))));`,
    }),
  });
}

function sumSegments(g: Graph, { ids, dy, table }: LookupGradient): BlockRecorder {
  const [vocab, channels] = table.tensor.shape;
  const count = ids.size; // N
  const { width, wgsl, wrap } = vectorType(channels);
  const segments = Math.ceil(count / SEGMENT);
  // Positions in the order of their ids, those with the same id as they come; and the ids in that order.
  const order = g.activation("embedding.order", [count], [], "u32");
  const sorted = g.activation("embedding.sorted", [count], [], "u32");
  const heads = g.activation("embedding.heads", [segments, channels]);
  const tails = g.activation("embedding.tails", [segments, channels]);
  sortPositions(g, { ids, last: vocab - 1, order, sorted });
  const perSegment = (statements: string) =>
    perThread({
      count: segments * (channels / width),
      functions: wgsl,
      statements: `let c = i % PER_ROW;
  let first = i / PER_ROW * ${SEGMENT}u;
  let end = min(first + ${SEGMENT}u, POSITIONS);
  ${statements}`,
    });
  const inBlock = (id: string) => `${id} >= START && ${id} < END`;
  return (part, [start, end]) => {
    const constants = { PER_ROW: channels / width, POSITIONS: count, START: start, END: end };
    g.dispatch({
      label: "embedding_backward",
      read: { order, sorted, dy: wrap(dy) },
      write: { dtable: wrap(part), heads: wrap(heads), tails: wrap(tails) },
      constants,
      ...perSegment(`var own = sorted[first];
  var is_head = first > 0u && sorted[max(first, 1u) - 1u] == own;
  var sum = V();
  for (var place = first; place < end; place++) {
    sum += dy[order[place] * PER_ROW + c];
    let next = select(${NONE}, sorted[min(place + 1u, POSITIONS - 1u)], place + 1u < POSITIONS);
    if (next != own) {
      if (is_head) {
        heads[i] = sum;
      } else if (${inBlock("own")}) {
        dtable[(own - START) * PER_ROW + c] += sum;
      }
      own = next;
      is_head = false;
      sum = V();
    } else if (place + 1u == end) {
      if (is_head) { heads[i] = sum; } else { tails[i] = sum; }
    }
  }`),
    });
    g.dispatch({
      label: "embedding_backward_runs",
      read: { sorted, heads: wrap(heads), tails: wrap(tails) },
      write: { dtable: wrap(part) },
      constants,
      ...perSegment(`let own = sorted[end - 1u];
  let begins_here = first == 0u || sorted[max(first, 1u) - 1u] != own;
  if (!begins_here || end == POSITIONS || sorted[min(end, POSITIONS - 1u)] != own) { return; }
  if (!(${inBlock("own")})) { return; }
  var sum = tails[i];
  for (var place = end; place < POSITIONS && sorted[min(place, POSITIONS - 1u)] == own; place += ${SEGMENT}u) {
    sum += heads[place / ${SEGMENT}u * PER_ROW + c];
  }
  dtable[(own - START) * PER_ROW + c] += sum;`),
    });
  };
}

/**
 * Sorts by counting, a workgroup for each position: how many have a smaller id (at most `last`), or the same and come
 * earlier. Costs count^2 / 4 loads of four. The sums of whole numbers are exact below 2^24 positions.
 */
function sortPositions(
  g: Graph,
  { ids, last, order, sorted }: { ids: Tensor; last: number; order: Tensor; sorted: Tensor },
): void {
  g.dispatch({
    label: "embedding_order",
    read: { ids, vectors: { tensor: ids, type: "vec4u" } },
    write: { order, sorted },
    constants: { VECTORS: Math.ceil(ids.size / 4), LAST: last },
    ...perRow(g.profile, {
      rows: ids.size,
      statements: `let own = min(ids[row], LAST);
  var before = 0u;
  for (var at = lane; at < VECTORS; at += LANES) {
    let others = min(vectors[at], vec4u(LAST));
    let places = at * 4u + vec4u(0u, 1u, 2u, 3u);
    // What lies behind the ids is not counted, whatever it is.
    let comes_before = ((others < vec4u(own)) & (places < vec4u(COUNT))) |
      ((others == vec4u(own)) & (places < vec4u(row)));
    before += dot(select(vec4u(), vec4u(1u), comes_before), vec4u(1u));
  }
  let place = u32(row_sum(f32(before)));
  if (lane == 0u) {
    order[place] = row;
    sorted[place] = own;
  }`,
    }),
  });
}
