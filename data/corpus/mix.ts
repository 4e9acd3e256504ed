/**
 * Mixing: documents of several sources in fixed shares.
 *
 * @module
 */

import { utf8Length } from "../tokenizer/byte_level.ts";
import type { Document } from "../document.ts";

/** A source to mix. */
export interface MixedSource {
  /** Its name, for the report. */
  readonly name: string;
  /** Its weight, above 0; its share is the weight divided by the sum of all. */
  readonly weight: number;
  /** Its documents, parts of one right after another. */
  readonly documents: AsyncIterable<Document>;
}

/** How much of a source a mixture took. */
export interface SourceShare {
  /** The source. */
  readonly name: string;
  /** The share that was asked for, from 0 to 1. */
  readonly share: number;
  /** How many documents were taken. */
  readonly documents: number;
  /** Their length in UTF-8. */
  readonly bytes: number;
  /** Whether all of it was taken, as far as that was seen. */
  readonly exhausted: boolean;
}

/**
 * Mixes documents so that at any time each source has given its share of all bytes (of text, in UTF-8), as
 * nearly as whole documents allow: the next document is from the source that has given the least for its
 * weight, the first of them if several have. When that source has no more, the mixture ends, whatever the
 * others still hold; so the shares hold to the end, and none is read twice.
 *
 * @param sources The sources.
 * @returns The documents. The generator's return value tells how much each source gave.
 */
export async function* mixDocuments(
  sources: readonly MixedSource[],
): AsyncGenerator<Document, SourceShare[]> {
  const sum = sources.reduce((total, { weight }) => total + weight, 0);
  const states = sources.map(({ name, weight, documents }) => ({
    name,
    weight,
    iterator: documents[Symbol.asyncIterator](),
    // A document's end is seen only by the next one's beginning, which waits here.
    waiting: undefined as Document | undefined,
    documents: 0,
    bytes: 0,
    exhausted: false,
  }));
  try {
    for (;;) {
      const next = states.reduce((least, s) => s.bytes / s.weight < least.bytes / least.weight ? s : least);
      let document = next.waiting ?? (await next.iterator.next()).value as Document | undefined;
      next.exhausted = document === undefined;
      if (document === undefined) break;
      next.documents++;
      do {
        next.bytes += utf8Length(document.text);
        yield document;
        document = (await next.iterator.next()).value as Document | undefined;
      } while (document !== undefined && document.part > 0);
      next.waiting = document;
      next.exhausted = document === undefined;
    }
  } finally {
    for (const { iterator } of states) await iterator.return?.();
  }
  return states.map(({ name, weight, documents, bytes, exhausted }) => {
    return { name, share: weight / sum, documents, bytes, exhausted };
  });
}
