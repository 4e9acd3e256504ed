/**
 * Contents at http and https addresses, read as a stream. A connection that breaks is taken up again where it
 * broke.
 *
 * @module
 */

import { bufferRanges, type ByteRanges, type Bytes, type ByteSource, joined } from "./byte_source.ts";

/** How often in a row an address is tried again before it is given up. */
const RETRIES = 5;
/** How long the first pause between two tries is, in milliseconds; each is twice the one before. */
const FIRST_PAUSE = 250;
/** How long nothing may arrive before a connection counts as broken unless told otherwise, in milliseconds. */
const IDLE_MILLISECONDS = 60_000;
/** What a server answers that may do better a moment later. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/** What tells one version of a content from another. */
interface Version {
  /** The entity tag; null where the server gives none. */
  readonly etag: string | null;
  /** The length in bytes; null where the server does not say. */
  readonly byteLength: number | null;
}

/** A part of a content, as a server answered. */
interface Answer {
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
}

/** A content at an address. */
export class HttpSource implements ByteSource {
  readonly name: string;
  readonly path: string;
  readonly sniff = true;
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #idle: number;
  #version: Version | undefined;
  #hasRanges = false;

  /**
   * @param url The address.
   * @param options Its name, headers to send, and for how long to wait.
   *
   * @throws {TypeError} When it is no address.
   */
  constructor(url: string, options: HttpOptions = {}) {
    const { origin, pathname } = parseUrl(url);
    this.#url = url;
    this.#headers = options.headers ?? {};
    this.#idle = options.idle ?? IDLE_MILLISECONDS;
    this.name = options.name ?? origin + pathname;
    this.path = decodeURIComponentLeniently(pathname);
  }

  stream(): AsyncGenerator<Bytes> {
    return this.#read(0, Infinity);
  }

  /** Reads bytes `start` to `end`, or to the end of the content. */
  async *#read(start: number, end: number): AsyncGenerator<Bytes> {
    let offset = start;
    for (let failures = 0;;) {
      const answer = await this.#request(offset, end, failures > 0);
      const reader = answer.body.getReader();
      let at = answer.start;
      let fault: unknown;
      try {
        for (;;) {
          const idle = setTimeout(() => answer.abort.abort(), this.#idle);
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
          failures = 0;
          yield wanted;
          if (offset >= end) return;
        }
      } finally {
        answer.abort.abort();
        reader.releaseLock();
      }
      const total = this.#version!.byteLength;
      if (offset === total || (fault === undefined && total === null)) return;
      if (++failures > RETRIES) {
        const of = total === null ? "" : ` of ${total}`;
        throw new Deno.errors.ConnectionReset(
          `"${this.name}" broke off after ${offset}${of} bytes, and ${RETRIES} tries to go on from there failed; try again later`,
          { cause: fault },
        );
      }
      await pause(failures);
    }
  }

  async openRanges(): Promise<ByteRanges> {
    const probe = await this.#request(0, 1, false);
    probe.abort.abort();
    const { byteLength } = this.#version!;
    if (!this.#hasRanges || byteLength === null) return await bufferRanges(this.stream(), this.name);
    return {
      byteLength,
      slice: async (start, end = byteLength) => joined(await Array.fromAsync(this.#read(start, end))).buffer,
      [Symbol.dispose]: () => {},
    };
  }

  /** Asks for bytes from `start` on; what comes may begin before. */
  async #request(start: number, end: number, resuming: boolean): Promise<Answer> {
    for (let failures = 0;; failures++) {
      const abort = new AbortController();
      const idle = setTimeout(() => abort.abort(), this.#idle);
      let response: Response;
      try {
        response = await fetch(this.#url, {
          headers: this.#requestHeaders(start, end),
          signal: abort.signal,
        });
      } catch (error) {
        // Without permission every try fails alike; and so it mostly does when there never was a connection.
        if (error instanceof Deno.errors.NotCapable) throw error;
        if (resuming && failures < RETRIES) {
          await pause(failures + 1);
          continue;
        }
        throw unreachable(this.name, error);
      } finally {
        clearTimeout(idle);
      }
      if (PASSING.has(response.status) && failures < RETRIES) {
        await response.body?.cancel();
        await pause(failures + 1);
        continue;
      }
      if (!response.ok) {
        await response.body?.cancel();
        throw refused(this.name, response);
      }
      return this.#accept(response, start, abort);
    }
  }

  #requestHeaders(start: number, end: number): Record<string, string> {
    const headers: Record<string, string> = { ...this.#headers, "accept-encoding": "identity" };
    if (start > 0 || end < Infinity) headers.range = `bytes=${start}-${end < Infinity ? end - 1 : ""}`;
    return headers;
  }

  #accept(response: Response, start: number, abort: AbortController): Answer {
    const { headers, status } = response;
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
    const isPart = status === 206 && range !== null;
    const length = isPart ? range[2] : headers.get("content-length");
    const etag = headers.get("etag");
    const byteLength = length === null || length === "*" ? null : Number(length);
    const known = this.#version;
    const differ = <T>(a: T | null = null, b: T | null) => a !== null && b !== null && a !== b;
    const changed = differ(known?.etag, etag) || differ(known?.byteLength, byteLength);
    if (changed || (isPart && Number(range[1]) !== start) || (status === 206 && !isPart)) {
      abort.abort();
      throw new TypeError(
        changed
          ? `"${this.name}" changed while it was read: its length or entity tag is another; start again, or download it first`
          : `"${this.name}" cannot be read: the server answered with other bytes than it was asked for; download it first`,
      );
    }
    this.#version = {
      etag: etag ?? known?.etag ?? null,
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
    throw new TypeError(`An address must be a URL such as https://example.org/texts.jsonl.gz: got "${url}"`);
  }
}

function decodeURIComponentLeniently(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function unreachable(name: string, cause: unknown): Error {
  return new Deno.errors.ConnectionRefused(
    `"${name}" cannot be reached (${(cause as Error).message}); check the address and the network`,
  );
}

function refused(name: string, { status, statusText }: Response): Error {
  const advice = status === 404 || status === 410
    ? "check the address"
    : status === 401 || status === 403
    ? "it needs an access that was not given"
    : "try again later";
  const Kind = status === 404 || status === 410 ? Deno.errors.NotFound : Error;
  return new Kind(
    `"${name}" cannot be read: the server answered ${`${status} ${statusText}`.trim()}; ${advice}`,
  );
}

function pause(failures: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE * 2 ** (failures - 1)));
}
