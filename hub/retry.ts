/**
 * When a failed request is worth another try, and after how long: one policy for all that speaks HTTP here.
 *
 * A busy server (408, 429, 5xx) and a broken connection are tried again, at most {@linkcode RETRIES} times in a
 * row. The wait is what the server asks for by `Retry-After`, else half a second, doubled with each failure, of
 * which a random half is taken off so that clients that failed together do not come back together. All waits in
 * a row last {@linkcode LONGEST_WAIT} seconds at most: a server that asks for more is not asked again.
 *
 * @module
 */

/** How often in a row a request is tried again before its failure counts. */
export const RETRIES = 5;
/** How long all waits in a row may last together, in seconds. */
export const LONGEST_WAIT = 600;
/** The first wait, in seconds; each is twice the one before. */
const FIRST_WAIT = 0.5;

/** There is no answer, or none but that the server is busy: no network, a wrong address, a server that is down. */
export class ConnectionError extends Error {
  /** Always `ConnectionError`. */
  override name = "ConnectionError";
}

/**
 * Whether a server that answers so may do better a moment later.
 *
 * @param status The status of its answer.
 */
export function isPassing(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/**
 * Reads the header `Retry-After`.
 *
 * @param value Its value: seconds, or the date of HTTP.
 * @param now The time in milliseconds since 1970; by default that of the clock.
 * @returns The whole seconds to wait, at least 0; null when there is no such header, or it says something else.
 *
 * @example
 * ```ts
 * import { equal } from "node:assert/strict";
 * equal(parseRetryAfter("120"), 120);
 * equal(parseRetryAfter("Thu, 01 Jan 1970 00:01:30 GMT", 60_000), 30);
 * ```
 */
export function parseRetryAfter(value: string | null, now: number = Date.now()): number | null {
  if (value === null) return null;
  if (/^\s*\d+\s*$/.test(value)) return Number(value);
  // A number of another kind would be read as a year.
  const date = /^[A-Z][a-z]+,? /.test(value) ? Date.parse(value) : NaN;
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - now) / 1000));
}

/** Whom a series of tries tells, and who may end it. */
export interface RetryOptions {
  /** Called before a request is tried again, with the reason and the seconds until then. */
  readonly onRetry?: (reason: string, seconds: number) => void;
  /** Ends the waiting. */
  readonly signal?: AbortSignal | null;
  /**
   * Whether the server was reached before. Until it was, a failed connection is not tried again: the address is
   * wrong, or there is no network. Default: false.
   */
  readonly reached?: boolean;
}

/** The failures in a row of one request, or of several for the parts of one content. */
export class Retries {
  /** Whether the server was reached. */
  reached: boolean;
  readonly #options: RetryOptions;
  #failures = 0;
  #waited = 0;

  /** @param options Whom to tell. */
  constructor(options: RetryOptions = {}) {
    this.#options = options;
    this.reached = options.reached ?? false;
  }

  /** Begins a new row, since something came. */
  reset(): void {
    this.#failures = this.#waited = 0;
  }

  /**
   * Counts a failure, and waits before the next try.
   *
   * @param reason What failed.
   * @param answer The answer of a busy server, whose `Retry-After` counts and whose body is dropped.
   * @returns Whether there is a next try; false at once when there is none, and the answer is left as it is.
   * @throws The reason of the signal, when that ends the waiting.
   */
  async again(reason: string, answer?: Response): Promise<boolean> {
    const asked = parseRetryAfter(answer?.headers.get("retry-after") ?? null);
    const seconds = asked ?? backoff(this.#failures);
    if (++this.#failures > RETRIES || this.#waited + seconds > LONGEST_WAIT) return false;
    this.#waited += seconds;
    await answer?.body?.cancel();
    this.#options.onRetry?.(reason, seconds);
    await sleep(seconds, this.#options.signal);
    return true;
  }
}

/**
 * The wait before a try when the server asks for none.
 *
 * @param failures How many tries in a row have failed before the last one.
 * @param random From 0 to below 1; by default by chance.
 * @returns Seconds, in tenths: from half of what is due to all of it.
 */
export function backoff(failures: number, random: number = Math.random()): number {
  return Math.round(10 * FIRST_WAIT * 2 ** failures * (0.5 + random / 2)) / 10;
}

/**
 * Makes a request, again where that may help.
 *
 * @param request Makes it once.
 * @param retries The failures so far, which may be those of other requests too.
 * @returns The last answer, whatever its status.
 * @throws {ConnectionError} When there is none.
 * @throws What `request` throws other than `TypeError`, which is how `fetch` says that a connection failed.
 */
export async function fetchWithRetries(
  request: () => Promise<Response>,
  retries: Retries,
): Promise<Response> {
  for (;;) {
    let response: Response;
    try {
      response = await request();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      if (retries.reached && await retries.again("the connection broke")) continue;
      const { message } = error.cause instanceof Error ? error.cause : error;
      // The address may hold a password or a signature.
      throw new ConnectionError(message.replace(/ for url \(\S*\)/, ""), { cause: error });
    }
    retries.reached = true;
    if (!isPassing(response.status)) return response;
    const host = URL.canParse(response.url) ? new URL(response.url).host : "the server";
    if (!await retries.again(`${host} answered ${response.status}`, response)) return response;
  }
}

function sleep(seconds: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
