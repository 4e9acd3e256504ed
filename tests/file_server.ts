/** A server on this machine that gives files, well or badly, for tests of what reads from the network. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A file, and how it is given. */
export interface ServedFile {
  /** The content. */
  readonly content: Uint8Array;
  /** Whether ranges are honoured. Default: true. */
  readonly ranges?: boolean;
  /** The entity tag, null for none; several are given one after another. Default: a fixed one. */
  readonly etag?: string | null | string[];
  /** Whether the length is told. Default: true. */
  readonly length?: boolean;
  /** After how many bytes an answer breaks off: one number for each answer, then none does. */
  readonly breaks?: number[];
  /** Whether an answer that breaks off leaves the connection open. Default: false. */
  readonly stalls?: boolean;
  /** Statuses that are answered first, without the content. */
  readonly statuses?: number[];
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
    const { range } = request.headers;
    requests.push([request.method, request.url, range].filter(Boolean).join(" "));
    const file = files[new URL(request.url!, "http://x").pathname];
    if (file === undefined) otherwise(request, response);
    else answer(file, range, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { url, requests, [Symbol.asyncDispose]: close };
}

function answer(file: ServedFile, range: string | undefined, response: ServerResponse): void {
  const status = file.statuses?.shift();
  if (status !== undefined) return void response.writeHead(status).end();
  const { content, ranges = true, etag = '"1"', length = true } = file;
  const asked = ranges ? /^bytes=(\d+)-(\d*)$/.exec(range ?? "") : null;
  const start = Number(asked?.[1] ?? 0);
  const end = Math.min(content.length, asked?.[2] ? Number(asked[2]) + 1 : content.length);
  const headers: Record<string, string> = { ...file.headers };
  const tag = Array.isArray(etag) ? etag.shift() ?? null : etag;
  if (tag !== null) headers.etag = tag;
  if (length) headers["content-length"] = String(end - start);
  if (asked) headers["content-range"] = `bytes ${start}-${end - 1}/${content.length}`;
  response.writeHead(asked ? 206 : 200, headers);
  const broken = file.breaks?.shift();
  if (broken === undefined) return void response.end(content.slice(start, end));
  response.flushHeaders();
  response.write(
    content.slice(start, Math.min(end, start + broken)),
    () => file.stalls || response.destroy(),
  );
}
