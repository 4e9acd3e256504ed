/**
 * Files of data sets on the Hugging Face Hub, or a server with the same interface.
 *
 * @module
 */

import { isTextFile } from "./file_names.ts";
import { globToRegExp, isGlob, splitGlob } from "./glob.ts";
import { HttpSource } from "./http_source.ts";
import { type HubClient, loadHubClient } from "../../hub/client.ts";
import { hubFetch } from "../../hub/fetch.ts";
import { ConnectionError, isPassing } from "../../hub/retry.ts";

/** Where the hub is, who asks, and who is told. */
export interface HubOptions {
  /** The hub's address; by default `HF_ENDPOINT`, where Deno may read it, else `https://huggingface.co`. */
  readonly hubUrl?: string;
  /** The access token; by default `HF_TOKEN`, where Deno may read it, else none. */
  readonly accessToken?: string;
  /** Called before a request to a server is made again, with the reason and the seconds until then. */
  readonly onRetry?: (reason: string, seconds: number) => void;
}

/**
 * Finds files of a data set.
 *
 * @param source `hf://datasets/OWNER/NAME/PATH`, where the path is a file, a folder, of which all files in a
 * known format are read at any depth, or a pattern; without a path, the whole data set, its README.md aside.
 * `NAME@REVISION` takes another branch, tag or commit than `main`; a `/` in it is written `%2F`.
 * @param options Where the hub is, and who asks.
 * @returns The files, in the order of their paths.
 *
 * @throws {RangeError} When the source is not of that form.
 * @throws {Deno.errors.NotFound} When there is no such data set or file.
 * @throws {ConnectionError} When the hub cannot be reached, or is busy.
 * @throws {Error} When the hub does not allow the access.
 */
export async function findHubFiles(source: string, options: HubOptions = {}): Promise<HttpSource[]> {
  const match = /^hf:\/\/datasets\/([^/@]+\/[^/@]+)(?:@([^/]+))?(?:\/(.*))?$/.exec(source);
  if (match === null) {
    throw new RangeError(
      `A source on the Hugging Face Hub must be hf://datasets/OWNER/NAME/PATH: got "${source}"`,
    );
  }
  const [, owner, escaped = "main", rest = ""] = match;
  const path = rest.replace(/\/+$/, "");
  const revision = decodeURIComponent(escaped);
  const { onRetry } = options;
  const hub = await loadHubClient();
  const shared = {
    repo: { type: "dataset", name: owner } as const,
    hubUrl: (options.hubUrl ?? environment("HF_ENDPOINT") ?? hub.HUB_URL).replace(/\/+$/, ""),
    accessToken: options.accessToken ?? environment("HF_TOKEN"),
    fetch: hubFetch({ onRetry }),
  };
  const list = async (folder: string): Promise<string[]> => {
    const files: string[] = [];
    const where = { path: escapePath(folder), revision: encodeURIComponent(revision), recursive: true };
    for await (const entry of hub.listFiles({ ...shared, ...where })) {
      if (entry.type === "file") files.push(entry.path);
    }
    return files;
  };
  let paths: string[];
  try {
    if (isGlob(path)) {
      const { base } = splitGlob(path);
      const pattern = globToRegExp(path);
      paths = (await list(base === "." ? "" : base)).filter((file) => pattern.test(file));
    } else if (path !== "" && await hub.fileExists({ ...shared, path: escapePath(path), revision })) {
      paths = [path];
    } else {
      paths = (await list(path)).filter((file) => isTextFile(file) && file !== "README.md");
    }
  } catch (error) {
    throw explained(error, source, hub);
  }
  if (paths.length === 0) {
    throw new Deno.errors.NotFound(
      `A source on the Hugging Face Hub must have a file in a known format: "${source}" has none; look at ${shared.hubUrl}/datasets/${owner}/tree/${revision}`,
    );
  }
  const headers = shared.accessToken ? { authorization: `Bearer ${shared.accessToken}` } : undefined;
  const root = `${shared.hubUrl}/datasets/${owner}/resolve/${encodeURIComponent(revision)}`;
  return paths.sort((a, b) => a < b ? -1 : a > b ? 1 : 0).map((file) =>
    new HttpSource(`${root}/${escapePath(file)}`, {
      name: `hf://datasets/${owner}/${file}`,
      headers,
      onRetry,
    })
  );
}

function escapePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

/** A variable of the environment that Deno may read without being asked for permission. */
function environment(variable: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return state === "granted" ? Deno.env.get(variable) || undefined : undefined;
}

function explained(error: unknown, source: string, hub: HubClient): unknown {
  if (error instanceof Deno.errors.NotCapable || error instanceof SyntaxError) return error;
  if (!(error instanceof hub.HubApiError)) {
    const Kind = error instanceof ConnectionError ? ConnectionError : Error;
    return new Kind(
      `"${source}" cannot be looked up on the hub (${(error as Error).message}); check the network`,
    );
  }
  const { statusCode } = error;
  if (statusCode === 404) {
    return new Deno.errors.NotFound(
      `A source on the Hugging Face Hub must exist: there is no "${source}"; check owner, name and path`,
    );
  }
  const advice = statusCode === 401 || statusCode === 403
    ? "the data set does not exist, or needs a token: set HF_TOKEN and run with --allow-env=HF_TOKEN"
    : "try again later";
  const Kind = isPassing(statusCode) ? ConnectionError : Error;
  return new Kind(`"${source}" cannot be looked up: the hub answered ${statusCode}; ${advice}`);
}
