/** A server on this machine with the Hugging Face Hub's interface to data sets, for tests of what reads them. */
import { type Answer, type FileServer, type ServedFile, serveFiles } from "./file_server.ts";

/** A running hub. */
export interface DatasetHub extends FileServer {
  /** The values of the header `authorization` that came. */
  readonly tokens: Set<string | undefined>;
  /** What it gives, by path: that of a file of {@linkcode serveHub} is `/cdn/` and its name, escaped. */
  readonly served: Record<string, ServedFile>;
}

/**
 * Starts a hub with the data set `owner/name`, which has the revisions `main` and `v/2`, and one that is closed,
 * `owner/closed`. The listing comes in pages of two, and contents from another place.
 *
 * @param files The texts, each served as a line of JSON, by name. More may be put in later.
 */
export async function serveHub(files: Record<string, string>): Promise<DatasetHub> {
  const tokens = new Set<string | undefined>();
  const reply: Answer = (request, response) => {
    tokens.add(request.headers.authorization);
    const url = new URL(request.url!, server.url);
    const path = decodeURIComponent(url.pathname);
    const listing = /^\/api\/datasets\/owner\/name\/tree\/(main|v\/2)(?:\/(.*))?$/.exec(path);
    if (listing) {
      const folder = listing[2] ? `${listing[2]}/` : "";
      const entries = Object.keys(files).filter((file) => file.startsWith(folder));
      if (entries.length === 0) return void response.writeHead(404).end("{}");
      const at = Number(url.searchParams.get("cursor") ?? 0);
      url.searchParams.set("cursor", String(at + 2));
      const headers: Record<string, string> = { "content-type": "application/json" };
      if (at + 2 < entries.length) headers.link = `<${url}>; rel="next"`;
      const page = entries.slice(at, at + 2).map((file) => ({ type: "file", path: file, size: 1 }));
      return void response.writeHead(200, headers).end(JSON.stringify(page));
    }
    const [, way, file] = /^\/datasets\/owner\/name\/(raw|resolve)\/(?:main|v\/2)\/(.*)$/.exec(path) ?? [];
    if (file !== undefined && files[file] !== undefined) {
      if (way === "raw") return void response.writeHead(200).end();
      return void response.writeHead(302, { location: `/cdn/${encodeURIComponent(file)}` }).end();
    }
    const status = path.startsWith("/api/datasets/owner/closed") ? 401 : 404;
    response.writeHead(status).end("no such thing");
  };
  const served: Record<string, ServedFile> = Object.fromEntries(
    Object.entries(files).map(([file, text]) => {
      const content = new TextEncoder().encode(JSON.stringify({ text }));
      return [`/cdn/${encodeURIComponent(file)}`, { content }];
    }),
  );
  const server = await serveFiles(served, reply);
  return Object.assign(server, { tokens, served });
}
