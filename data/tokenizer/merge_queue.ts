/**
 * The queue of pairs that wait to be merged.
 *
 * @module
 */

/** A pair of tokens that may be merged. */
export interface Candidate {
  /** The two ids as one number that orders as the pair does. */
  readonly pair: number;
  /** How often the pair occurred when it was queued. */
  count: number;
  /** The words it occurs in. */
  readonly places: readonly number[];
}

/** A binary heap: the highest count comes first, and of equal counts the smallest pair. */
export class MergeQueue {
  readonly #heap: Candidate[] = [];

  /**
   * Adds a candidate.
   *
   * @param candidate The candidate, which the queue keeps.
   */
  push(candidate: Candidate): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push(candidate);
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(candidate, heap[parent])) break;
      heap[i] = heap[parent];
      i = parent;
    }
    heap[i] = candidate;
  }

  /** Takes the first candidate out; `undefined` when there is none. */
  pop(): Candidate | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let i = 0;
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      if (child + 1 < heap.length && before(heap[child + 1], heap[child])) child++;
      if (!before(heap[child], last)) break;
      heap[i] = heap[child];
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Candidate, b: Candidate): boolean {
  return a.count > b.count || (a.count === b.count && a.pair < b.pair);
}
