/** A server on this machine that gives files, well or badly, for tests of what reads from the network. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A file, and how it is given. */
export interface ServedFile {
  /** The content. */
  readonly content: Uint8Array;
  /** Whether ranges are honoured. Default: true. */
  readonly ranges?: boolean;
  /** The entity tag, null for none; several are given one after another. Default: a fixed one. */
  readonly etag?: string | null | string[];
  /** When it was changed last, as HTTP writes it; several are given one after another. Default: it is not told. */
  readonly modified?: string | string[];
  /** Whether conditions on entity tag and time are honoured. Default: true. */
  readonly conditions?: boolean;
  /** Whether the length is told. Default: true. */
  readonly length?: boolean;
  /** After how many bytes an answer breaks off: one number for each answer, then none does. */
  readonly breaks?: number[];
  /** Whether an answer that breaks off leaves the connection open. Default: false. */
  readonly stalls?: boolean;
  /** Statuses that are answered first, without the content. */
  readonly statuses?: number[];
  /** The headers of those. */
  readonly statusHeaders?: Record<string, string>;
  /** Headers to add. */
  readonly headers?: Record<string, string>;
}

/** What a request is answered by that no file is for. */
export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A running server. */
export interface FileServer extends AsyncDisposable {
  /** Its address, without a slash at the end. */
  readonly url: string;
  /** What was asked for, such as `GET /path bytes=5-`. */
  readonly requests: string[];
  /** How many bytes of contents were given. */
  sent: number;
}

/**
 * Starts a server.
 *
 * @param files What to give, by path.
 * @param otherwise Answers everything else. Default: 404.
 */
export async function serveFiles(
  files: Record<string, ServedFile>,
  otherwise: Answer = (_, response) => void response.writeHead(404).end("no such file"),
): Promise<FileServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push([request.method, request.url, request.headers.range].filter(Boolean).join(" "));
    const file = files[new URL(request.url!, "http://x").pathname];
    if (file === undefined) otherwise(request, response);
    else running.sent += answer(file, request.headers, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  const running: FileServer = { url, requests, sent: 0, [Symbol.asyncDispose]: close };
  return running;
}

/** Answers a request, and says how many bytes of the content it gives. */
function answer(file: ServedFile, asking: IncomingHttpHeaders, response: ServerResponse): number {
  const status = file.statuses?.shift();
  if (status !== undefined) {
    response.writeHead(status, file.statusHeaders).end();
    return 0;
  }
  const { content, ranges = true, etag = '"1"', modified, conditions = true, length = true } = file;
  const time = Array.isArray(modified) ? modified.shift() : modified;
  const headers: Record<string, string> = { ...file.headers };
  const tag = Array.isArray(etag) ? etag.shift() ?? null : etag;
  if (tag !== null) headers.etag = tag;
  if (time !== undefined) headers["last-modified"] = time;
  const isTold = (version: string | undefined) => version !== undefined && [tag, time].includes(version);
  if (conditions && [asking["if-none-match"], asking["if-modified-since"]].some(isTold)) {
    response.writeHead(304, headers).end();
    return 0;
  }
  const isSame = asking["if-range"] === undefined || isTold(asking["if-range"] as string);
  const asked = ranges && isSame ? /^bytes=(\d+)-(\d*)$/.exec(asking.range ?? "") : null;
  const start = Number(asked?.[1] ?? 0);
  const end = Math.min(content.length, asked?.[2] ? Number(asked[2]) + 1 : content.length);
  if (length) headers["content-length"] = String(end - start);
  if (asked) headers["content-range"] = `bytes ${start}-${end - 1}/${content.length}`;
  response.writeHead(asked ? 206 : 200, headers);
  const broken = file.breaks?.shift();
  if (broken === undefined) {
    response.end(content.slice(start, end));
    return end - start;
  }
  response.flushHeaders();
  const given = content.slice(start, Math.min(end, start + broken));
  response.write(given, () => file.stalls || response.destroy());
  return given.length;
}
