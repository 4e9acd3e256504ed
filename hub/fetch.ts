/**
 * The `fetch` of a push to a hub: it tries again what may well succeed the next time, and counts the bytes that
 * have left.
 *
 * @module
 */

/** Settings of {@linkcode hubFetch}. */
export interface HubFetchOptions {
  /** Called with the bytes of large files as they are sent; a negative number takes back a failed attempt. */
  readonly onSent?: (bytes: number) => void;
  /** Called before a request is tried again. */
  readonly onRetry?: (reason: string, seconds: number) => void;
}

/** There is no answer: no network, a wrong address, or a connection that breaks again and again. */
export class ConnectionError extends Error {
  /** Always `ConnectionError`. */
  override name = "ConnectionError";
}

/** How often a request is made before its failure counts. */
const ATTEMPTS = 5;
/** The longest wait that a server may ask for, in seconds. */
const LONGEST_WAIT = 60;

/**
 * Makes a `fetch` that repeats requests which a busy server (429, 5xx) or a broken connection has failed, at
 * most four times: after as many seconds as the server asks for, else after 1, 2, 4 and 8. Until a first answer
 * came, a failed connection is not repeated: the address is wrong, or there is no network.
 *
 * Blobs are sent as streams of known length and read anew for each attempt, so those that read from a file are
 * never in memory as a whole.
 *
 * @param options Whom to tell.
 * @returns The function. It gives the last answer, whatever its status, or throws a
 * {@linkcode ConnectionError}.
 */
export function hubFetch({ onSent, onRetry }: HubFetchOptions = {}): typeof fetch {
  let reached = false;
  return async (input, init) => {
    for (let attempt = 1;; attempt++) {
      let sent = 0;
      const count = (bytes: number) => {
        sent += bytes;
        onSent?.(bytes);
      };
      const body = init?.body instanceof Blob ? new CountedBlob(init.body, count) : init?.body;
      let reason: string;
      let wait = 2 ** (attempt - 1);
      try {
        const response = await fetch(input, { ...init, body });
        reached = true;
        const isBusy = response.status === 429 || response.status >= 500;
        if (!isBusy || attempt === ATTEMPTS) return response;
        await response.body?.cancel();
        reason = `${new URL(response.url).host} answered ${response.status}`;
        const asked = response.headers.get("retry-after");
        if (asked !== null && /^\d+$/.test(asked)) wait = Math.min(Number(asked), LONGEST_WAIT);
      } catch (error) {
        if (!(error instanceof TypeError) || init?.signal?.aborted) throw error;
        if (!reached || attempt === ATTEMPTS) {
          const { message } = error.cause instanceof Error ? error.cause : error;
          throw new ConnectionError(message, { cause: error });
        }
        reason = "the connection broke";
      }
      onSent?.(-sent);
      onRetry?.(reason, wait);
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
      init?.signal?.throwIfAborted();
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
