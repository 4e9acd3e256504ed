/**
 * The `fetch` that talks to a hub: it tries again what may well succeed the next time, and counts the bytes that
 * have left.
 *
 * @module
 */

import { fetchWithRetries, Retries } from "./retry.ts";

/** Settings of {@linkcode hubFetch}. */
export interface HubFetchOptions {
  /** Called with the bytes of large files as they are sent; a negative number takes back a failed attempt. */
  readonly onSent?: (bytes: number) => void;
  /** Called before a request is tried again. */
  readonly onRetry?: (reason: string, seconds: number) => void;
}

/**
 * Makes a `fetch` that repeats requests as `retry.ts` has it.
 *
 * Blobs are sent as streams of known length and read anew for each attempt, so those that read from a file are
 * never in memory as a whole.
 *
 * @param options Whom to tell.
 * @returns The function. It gives the last answer, whatever its status, or throws a
 * `ConnectionError`.
 */
export function hubFetch({ onSent, onRetry }: HubFetchOptions = {}): typeof fetch {
  let reached = false;
  return async (input, init) => {
    let sent = 0;
    const count = (bytes: number) => {
      sent += bytes;
      onSent?.(bytes);
    };
    const takeBack = (reason: string, seconds: number) => {
      count(-sent);
      onRetry?.(reason, seconds);
    };
    const retries = new Retries({ onRetry: takeBack, signal: init?.signal, reached });
    try {
      return await fetchWithRetries(() => {
        const body = init?.body instanceof Blob ? new CountedBlob(init.body, count) : init?.body;
        return fetch(input, { ...init, body });
      }, retries);
    } finally {
      reached ||= retries.reached;
    }
  };
}

/** A blob that tells how much of it was read. */
class CountedBlob extends Blob {
  readonly #source: Blob;
  readonly #count: (bytes: number) => void;

  constructor(source: Blob, count: (bytes: number) => void) {
    super();
    this.#source = source;
    this.#count = count;
  }

  override get size(): number {
    return this.#source.size;
  }

  override stream(): ReadableStream<Uint8Array<ArrayBuffer>> {
    const count = this.#count;
    return this.#source.stream().pipeThrough(
      new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        transform(bytes, controller) {
          count(bytes.length);
          controller.enqueue(bytes);
        },
      }),
    );
  }
}
