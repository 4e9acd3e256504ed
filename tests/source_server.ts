/** Serves the checkout, as a web server would that has the repository. */

const root = new URL("..", import.meta.url);
const TYPES: Record<string, string> = {
  ts: "application/typescript",
  js: "text/javascript",
  json: "application/json",
};

/** A server on this machine. */
export interface SourceServer extends AsyncDisposable {
  /** Such as `127.0.0.1:1234`. */
  readonly host: string;
}

/** Serves the sources of the checkout and nothing else. */
export function serveSources(): SourceServer {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, serveFile);
  return { host: `127.0.0.1:${server.addr.port}`, [Symbol.asyncDispose]: () => server.shutdown() };
}

async function serveFile(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const type = /^\/(?:[\w-]+\/)*\w+\.(ts|js|json)$/.exec(pathname)?.[1];
  const text = type && await Deno.readTextFile(new URL(`.${pathname}`, root)).catch(() => undefined);
  if (text === undefined) return new Response("not found", { status: 404 });
  return new Response(text, { headers: { "content-type": TYPES[type!] } });
}
