/**
 * A hub on the loopback interface: the part of the Hugging Face Hub's protocol by which models are pushed, with
 * its storage for large files at an address of its own, as the real one has it.
 *
 * It holds its clients to the protocol: a token for the hub and none for the storage, lengths and SHA-256 of
 * what is stored, and no commit of a file that is not.
 */
import { createHash } from "node:crypto";

/** A repository. */
export interface HubRepo {
  private: boolean;
  /** What its newest commit holds. */
  readonly files: Map<string, Uint8Array>;
  readonly commits: string[];
}

/** A running hub. */
export interface LoopbackHub extends AsyncDisposable {
  /** Its address. */
  readonly endpoint: string;
  /** The only token that it knows. */
  readonly token: string;
  readonly repos: Map<string, HubRepo>;
  /** Large files by SHA-256. */
  readonly objects: Map<string, Uint8Array>;
  /** Every request as `METHOD /path`, those to the storage as `METHOD storage/path`. */
  readonly requests: string[];
  /** Files above this size, and all weights, are large. */
  largeBytes: number;
  /** Large files above this size are uploaded in parts of it. */
  partBytes: number;
  /** Answers in place of the hub or the storage, where it gives a response. */
  intercept: (request: string) => Response | undefined | Promise<Response | undefined>;
}

/** The owner of everything that the token may write to. */
const OWNER = "me";

/** Starts a hub. */
export function startHub(): LoopbackHub {
  const parts = new Map<string, Uint8Array[]>();
  const answer = (place: string, handle: (request: Request, url: URL) => Promise<Response>) => {
    const handler = async (request: Request) => {
      const url = new URL(request.url);
      const line = `${request.method} ${place}${url.pathname}`;
      hub.requests.push(line);
      return await hub.intercept(line) ?? await handle(request, url);
    };
    return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, handler);
  };
  const storage = answer("storage", async (request, url) => {
    const [, kind, oid, part] = url.pathname.split("/");
    const body = await request.bytes();
    if (request.headers.has("authorization")) return failure(400, "the token is not for the storage");
    if (request.headers.get("content-length") !== String(body.length)) return failure(411, "no length");
    if (url.searchParams.get("signature") !== "secret") return failure(403, "no signature");
    if (kind === "parts") {
      parts.get(oid)![Number(part) - 1] = body;
      return new Response(null, { headers: { etag: `"${sha256(body)}"` } });
    }
    return store(oid, body);
  });
  const main = answer("", async (request, url) => {
    if (url.pathname === "/complete") {
      const { oid, parts: sent } = await request.json();
      const pieces = parts.get(oid)!;
      const isWhole = sent.every((part: { partNumber: number; etag: string }, i: number) =>
        part.partNumber === i + 1 && part.etag === `"${sha256(pieces[i])}"`
      );
      return isWhole ? store(oid, joined(pieces)) : failure(400, "parts do not fit");
    }
    if (request.headers.get("authorization") !== `Bearer ${hub.token}`) {
      return failure(401, "Invalid username or password.");
    }
    if (url.pathname === "/api/repos/create") return create(await request.json());
    const [, name, call] = /^(?:\/api\/models)?\/([^/]+\/[^/]+?)(?:\.git)?\/(.+)$/.exec(url.pathname) ?? [];
    const repo = hub.repos.get(name);
    if (repo === undefined) return failure(404, "Repository not found");
    switch (call) {
      case "revision/HEAD":
        return Response.json({ _id: name, id: name, private: repo.private, lastModified: 0 });
      case "tree/main":
        return Response.json(
          [...repo.files].map(([path, { length }]) => ({ type: "file", path, size: length })),
        );
      case "preupload/main": {
        const { files } = await request.json();
        const isLarge = ({ path, size }: { path: string; size: number }) =>
          size > hub.largeBytes || path.endsWith(".safetensors");
        return Response.json({
          files: files.map((file: { path: string; size: number }) => {
            return { path: file.path, uploadMode: isLarge(file) ? "lfs" : "regular" };
          }),
        });
      }
      case "info/lfs/objects/batch":
        return Response.json({ transfer: "basic", objects: (await request.json()).objects.map(place) });
      case "commit/main":
        return commit(name, repo, await request.text());
      default:
        return failure(404, "no such call");
    }
  });

  /** Says where a large file goes; nothing for one that is there. */
  function place({ oid, size }: { oid: string; size: number }): Record<string, unknown> {
    if (hub.objects.has(oid)) return { oid, size };
    const at = `http://127.0.0.1:${storage.addr.port}`;
    if (size <= hub.partBytes) {
      return { oid, size, actions: { upload: { href: `${at}/objects/${oid}?signature=secret` } } };
    }
    parts.set(oid, []);
    const numbers = Array.from(
      { length: Math.ceil(size / hub.partBytes) },
      (_, i) => `${i + 1}`.padStart(5, "0"),
    );
    const urls = numbers.map((number) => [number, `${at}/parts/${oid}/${number}?signature=secret`]);
    const header = { chunk_size: String(hub.partBytes), ...Object.fromEntries(urls) };
    return { oid, size, actions: { upload: { href: `${hub.endpoint}/complete`, header } } };
  }

  function store(oid: string, body: Uint8Array): Response {
    if (sha256(body) !== oid) return failure(400, "another SHA-256");
    hub.objects.set(oid, body);
    return new Response(null);
  }

  function create({ name, organization, visibility, type }: Record<string, string>): Response {
    const id = `${organization}/${name}`;
    if (organization !== OWNER) {
      return failure(403, `You have no rights to create a model under ${organization}`);
    }
    if (hub.repos.has(id)) return failure(409, "You already created this model repo");
    if (type !== "model") return failure(400, "not a model");
    hub.repos.set(id, { private: visibility === "private", files: new Map(), commits: [] });
    return Response.json({ url: `${hub.endpoint}/${id}`, id });
  }

  function commit(name: string, repo: HubRepo, text: string): Response {
    const changes = text.split("\n").map((line) => JSON.parse(line));
    const missing = changes.find(({ key, value }) => key === "lfsFile" && !hub.objects.has(value.oid));
    if (missing) return failure(400, `${missing.value.path} was not uploaded`);
    for (const { key, value } of changes) {
      if (key === "file") repo.files.set(value.path, Uint8Array.fromBase64(value.content));
      if (key === "lfsFile") repo.files.set(value.path, hub.objects.get(value.oid)!);
      if (key === "deletedFile") repo.files.delete(value.path);
    }
    const commitOid = createHash("sha1").update(text).digest("hex");
    repo.commits.push(commitOid);
    return Response.json({
      commitOid,
      commitUrl: `${hub.endpoint}/${name}/commit/${commitOid}`,
      hookOutput: "",
    });
  }

  const hub: LoopbackHub = {
    endpoint: `http://127.0.0.1:${main.addr.port}`,
    token: "hf_TheOnlyTokenThatThisHubKnows",
    repos: new Map(),
    objects: new Map(),
    requests: [],
    largeBytes: 100_000,
    partBytes: 1e9,
    intercept: () => undefined,
    async [Symbol.asyncDispose]() {
      await Promise.all([main.shutdown(), storage.shutdown()]);
    },
  };
  return hub;
}

/** An answer that says what is wrong; a client need not wait before it tries again. */
export function failure(status: number, error: string): Response {
  return Response.json({ error }, { status, headers: { "retry-after": "0" } });
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
}
