/**
 * Contents at http and https addresses, read as a stream. A connection that breaks is taken up again where it
 * broke, and a busy server asked again, as `hub/retry.ts` has it.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { withoutSecrets } from "../../files/address.ts";
import {
  ConnectionError,
  fetchWithRetries,
  isPassing,
  parseRetryAfter,
  RETRIES,
  Retries,
} from "../../hub/retry.ts";
import { bufferRanges, type ByteRanges, type Bytes, type ByteSource, joined } from "./byte_source.ts";
import { type HttpVersion, isSameVersion, isStrong, type RemoteText, versionOf } from "./http_version.ts";

/** How long nothing may arrive before a connection counts as broken unless told otherwise, in milliseconds. */
const IDLE_MILLISECONDS = 60_000;

/** An answer of a server, and the end of its connection. */
interface Answer {
  readonly response: Response;
  readonly abort: AbortController;
}

/** A part of a content, as a server answered. */
interface Part {
  readonly body: ReadableStream<Bytes>;
  /** The offset of its first byte. */
  readonly start: number;
  /** Ends the connection. */
  readonly abort: AbortController;
}

/** How an address is read. */
export interface HttpOptions {
  /** What to call it in messages; by default the address without credentials and query. */
  readonly name?: string;
  /** Headers to send; none by default. */
  readonly headers?: Readonly<Record<string, string>>;
  /** How long nothing may arrive before the connection counts as broken, in milliseconds; 60,000 by default. */
  readonly idle?: number;
  /** Called before a request is made again, with the reason and the seconds until then. */
  readonly onRetry?: (reason: string, seconds: number) => void;
}

/** A content at an address. */
export class HttpSource implements ByteSource, RemoteText {
  readonly name: string;
  readonly path: string;
  readonly sniff = true;
  readonly key: string;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #idle: number;
  readonly #onRetry: HttpOptions["onRetry"];
  #version: HttpVersion | undefined;
  #hasRanges = false;

  /**
   * @param url The address.
   * @param options Its name, headers to send, for how long to wait, and whom to tell of another try.
   *
   * @throws {TypeError} When it is no address.
   */
  constructor(url: string, options: HttpOptions = {}) {
    const { origin, pathname, search } = parseUrl(url);
    this.#url = url;
    this.#headers = options.headers ?? {};
    this.#idle = options.idle ?? IDLE_MILLISECONDS;
    this.#onRetry = options.onRetry;
    this.name = options.name ?? origin + pathname;
    this.path = decodeURIComponentLeniently(pathname);
    this.key = createHash("sha256").update(origin + pathname + search).digest("hex").slice(0, 32);
  }

  get version(): HttpVersion | undefined {
    return this.#version;
  }

  /**
   * Reads the content.
   *
   * @param start The offset to begin at, of the version that {@linkcode version} tells; 0 by default.
   * @throws {ConnectionError} When there is no answer, or the connection breaks again and again.
   * @throws {TypeError} When the content is of another version than before.
   */
  stream(start = 0): AsyncGenerator<Bytes> {
    return this.#read(start, Infinity);
  }

  async isCurrent(known: HttpVersion): Promise<boolean> {
    const { etag, modified, byteLength } = known;
    if (byteLength === null || (etag === null && modified === null)) return false;
    const condition: Record<string, string> = etag === null
      ? { "if-modified-since": modified! }
      : { "if-none-match": etag };
    const { response, abort } = await this.#fetch(condition, this.#retries());
    // A server that knows no conditions sends the content; its headers tell enough.
    abort.abort();
    if (!response.ok && response.status !== 304) throw refused(this.name, response);
    const now = response.status === 304 ? known : versionOf(response);
    const isSame = isSameVersion(known, now);
    this.#version = isSame ? known : now;
    return isSame;
  }

  /** Reads bytes `start` to `end`, or to the end of the content. */
  async *#read(start: number, end: number): AsyncGenerator<Bytes> {
    let offset = start;
    for (const retries = this.#retries();;) {
      const part = await this.#request(offset, end, retries);
      const reader = part.body.getReader();
      let at = part.start;
      let fault: unknown;
      try {
        for (;;) {
          const idle = setTimeout(() => part.abort.abort(), this.#idle);
          let bytes: Bytes | undefined;
          try {
            bytes = (await reader.read()).value;
          } catch (error) {
            fault = error;
          } finally {
            clearTimeout(idle);
          }
          if (bytes === undefined) break;
          // A server that knows no ranges sends again what was read already.
          const wanted = bytes.subarray(Math.max(0, offset - at), Math.max(0, end - at));
          at += bytes.length;
          if (wanted.length === 0) continue;
          offset += wanted.length;
          retries.reset();
          yield wanted;
          if (offset >= end) return;
        }
      } finally {
        part.abort.abort();
        reader.releaseLock();
      }
      const total = this.#version!.byteLength;
      if (offset === total || (fault === undefined && total === null)) return;
      if (await retries.again(`${this.name} broke off`)) continue;
      const of = total === null ? "" : ` of ${total}`;
      throw new ConnectionError(
        `"${this.name}" broke off after ${offset}${of} bytes, and ${RETRIES} tries to go on from there failed; try again later`,
      );
    }
  }

  async openRanges(): Promise<ByteRanges> {
    const probe = await this.#request(0, 1, this.#retries());
    probe.abort.abort();
    const { byteLength } = this.#version!;
    if (!this.#hasRanges || byteLength === null) return await bufferRanges(this.stream(), this.name);
    return {
      byteLength,
      slice: async (start, end = byteLength) => joined(await Array.fromAsync(this.#read(start, end))).buffer,
      [Symbol.dispose]: () => {},
    };
  }

  #retries(): Retries {
    return new Retries({ onRetry: this.#onRetry, reached: this.#version !== undefined });
  }

  /** Asks for bytes from `start` on; what comes may begin before. */
  async #request(start: number, end: number, retries: Retries): Promise<Part> {
    const { response, abort } = await this.#fetch(this.#rangeHeaders(start, end), retries);
    if (!response.ok) {
      abort.abort();
      throw refused(this.name, response);
    }
    return this.#accept(response, start, abort);
  }

  async #fetch(headers: Record<string, string>, retries: Retries): Promise<Answer> {
    let abort = new AbortController();
    const once = async () => {
      abort = new AbortController();
      const idle = setTimeout(() => abort.abort(), this.#idle);
      try {
        return await fetch(this.#url, {
          headers: { ...this.#headers, ...headers, "accept-encoding": "identity" },
          signal: abort.signal,
        });
      } catch (error) {
        throw abort.signal.aborted ? new TypeError(`nothing came for ${this.#idle / 1000} s`) : error;
      } finally {
        clearTimeout(idle);
      }
    };
    try {
      return { response: await fetchWithRetries(once, retries), abort };
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      // Not as its cause, whose message has the whole address.
      throw new ConnectionError(
        `"${this.name}" cannot be reached (${error.message}); check the address and the network`,
      );
    }
  }

  #rangeHeaders(start: number, end: number): Record<string, string> {
    if (start === 0 && end === Infinity) return {};
    const range = `bytes=${start}-${end < Infinity ? end - 1 : ""}`;
    // Of another version the server then sends the whole, which is told by its headers.
    const version = this.#version;
    const same = version && isStrong(version) ? version.etag ?? version.modified : null;
    return same === null ? { range } : { range, "if-range": same };
  }

  #accept(response: Response, start: number, abort: AbortController): Part {
    const { headers, status } = response;
    const range = /^bytes (\d+)-\d+\//.exec(headers.get("content-range") ?? "");
    const isPart = status === 206 && range !== null;
    const { etag, modified, byteLength } = versionOf(response);
    const known = this.#version;
    const differ = <T>(a: T | null = null, b: T | null) => a !== null && b !== null && a !== b;
    const changed = differ(known?.etag, etag) || differ(known?.byteLength, byteLength) ||
      (etag === null && differ(known?.modified, modified));
    if (changed || (isPart && Number(range[1]) !== start) || (status === 206 && !isPart)) {
      abort.abort();
      throw new TypeError(
        changed
          ? `"${this.name}" changed while it was read: its length, entity tag or time is another; start again, or download it first`
          : `"${this.name}" cannot be read: the server answered with other bytes than it was asked for; download it first`,
      );
    }
    this.#version = {
      etag: etag ?? known?.etag ?? null,
      modified: known?.modified ?? modified,
      byteLength: byteLength ?? known?.byteLength ?? null,
    };
    this.#hasRanges ||= isPart;
    const body = response.body ?? new ReadableStream({ start: (c) => c.close() });
    return { body: body as ReadableStream<Bytes>, start: isPart ? start : 0, abort };
  }
}

function parseUrl(url: string): URL {
  try {
    return new URL(url);
  } catch {
    throw new TypeError(
      `An address must be a URL such as https://example.org/texts.jsonl.gz: got "${withoutSecrets(url)}"`,
    );
  }
}

function decodeURIComponentLeniently(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function refused(name: string, { status, statusText, headers }: Response): Error {
  const seconds = parseRetryAfter(headers.get("retry-after"));
  const isGone = status === 404 || status === 410;
  const advice = isGone
    ? "check the address"
    : status === 401 || status === 403
    ? "it needs an access that was not given"
    : `try again ${seconds ? `in ${seconds} s` : "later"}`;
  const Kind = isGone ? Deno.errors.NotFound : isPassing(status) ? ConnectionError : Error;
  return new Kind(
    `"${name}" cannot be read: the server answered ${`${status} ${statusText}`.trim()}; ${advice}`,
  );
}
