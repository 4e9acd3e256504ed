/**
 * Uploads a model folder to the Hugging Face Hub, or to a server that speaks its protocol, by npm's
 * `@huggingface/hub`.
 *
 * Everything goes into one commit, which comes last: a push that fails on the way changes nothing that others
 * see. Large files are stored before it, each under its SHA-256, so a push that is repeated sends only those
 * that the Hub does not have yet. They take the Hub's Git LFS way, not the newer Xet one, which keeps nothing of
 * an interrupted push that the library could find again.
 *
 * @module
 */

import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { type HubClient, loadHubClient } from "./client.ts";
import { explained } from "../files/atomic_file.ts";
import { hubError } from "./error.ts";
import { hubFetch } from "./fetch.ts";

/** The Hugging Face Hub. */
export const HUB_ENDPOINT = "https://huggingface.co";

/** What a push needs. */
export interface PushOptions {
  /**
   * The folder, as {@linkcode writeModelFolder} makes it; its files are pushed, its folders are not. A link to a file
   * must stay within the folder.
   */
  readonly dir: string;
  /** Where to: `user/name` or `organization/name`. Made if it does not exist. */
  readonly repo: string;
  /** An access token that may write there. */
  readonly token: string;
  /** Address of the hub. Default: {@linkcode HUB_ENDPOINT}. */
  readonly endpoint?: string;
  /** Whether a repository that is made is for everybody to see, and whether one that is may be pushed to. Default: false. */
  readonly isPublic?: boolean;
  /** Called as large files are checked and sent. */
  readonly onProgress?: (progress: PushProgress) => void;
  /** Called before a failed request is tried again, with the reason and the seconds until then. */
  readonly onRetry?: (reason: string, seconds: number) => void;
}

/** What happens to a large file: its SHA-256 is computed; it is sent; it was; or the hub has had it. */
export type FileState = "checking" | "sending" | "sent" | "there";

/** Where a push stands. */
export interface PushProgress {
  /** The large file that has come to a new state; left out where only bytes were sent. */
  readonly file?: { readonly path: string; readonly state: FileState };
  /** Bytes of large files sent so far. */
  readonly sent: number;
  /** Bytes of those large files that are being sent or were. */
  readonly total: number;
}

/** What a push has done. */
export interface PushResult {
  /** Address of the repository. */
  readonly url: string;
  /** Id of the commit. */
  readonly commit: string;
  /** Whether only its owner sees the repository. */
  readonly private: boolean;
  /** Weights of an earlier push that the commit removed, since they are no part of this model. */
  readonly removed: readonly string[];
}

/**
 * Checks the name of a repository.
 *
 * @param repo The name.
 * @throws {RangeError} If it is not of the form `user/name`, or has characters that the Hub does not allow.
 */
export function checkRepoName(repo: string): void {
  const isGood = /^\w(?:[\w.-]{0,94}\w)?\/\w(?:[\w.-]{0,94}\w)?$/.test(repo) && !/--|\.\.|\.git$/.test(repo);
  if (isGood) return;
  throw new RangeError(
    `A repository must be user/name, of letters, digits, "-", "_" and "." (no "--" or "..", none at an end but "_"), ` +
      `got ${JSON.stringify(repo)}`,
  );
}

/**
 * Pushes a folder's files as one commit to the branch `main`. Needs Deno's permissions to read the folder and to
 * use the network; the hub names the hosts that take large files, so they are not known before.
 *
 * @param options The folder, the place and the token.
 * @returns Where it is.
 * @throws {RangeError} If the name of the repository is not allowed.
 * @throws {Deno.errors.NotFound} If there is no such folder, or the library is not in Deno's cache and cannot
 * be fetched.
 * @throws {Error} If a link leads out of the folder or nowhere, before anything is sent.
 * @throws {Error} If the hub refuses something or cannot be reached, with what to do about it. The token is in
 * no message.
 */
export async function pushToHub(options: PushOptions): Promise<PushResult> {
  const { dir, repo: name, token, endpoint = HUB_ENDPOINT, isPublic = false, onProgress, onRetry } = options;
  checkRepoName(name);
  const files = await filesOf(dir);
  const hub = await loadHubClient();
  const progress = new Progress(files, onProgress);
  const access = {
    accessToken: token,
    hubUrl: endpoint,
    fetch: hubFetch({ onSent: (bytes) => progress.send(bytes), onRetry }),
  };
  const repo = { type: "model", name } as const;
  try {
    const isPrivate = await openRepo(hub, access, name, isPublic);
    const removed = await staleWeights(hub, access, name, files);
    const pushing = hub.commitIter({
      ...access,
      repo,
      title: "Upload the model with koala-lm",
      operations: [
        ...[...files].map(([path, file]) => {
          return { operation: "addOrUpdate", path, content: pathToFileURL(file.path) } as const;
        }),
        ...removed.map((path) => ({ operation: "delete", path }) as const),
      ],
      useXet: false,
    });
    let event = await pushing.next();
    for (; !event.done; event = await pushing.next()) {
      if (event.value.event === "fileProgress") progress.report(event.value);
    }
    return { url: `${endpoint}/${name}`, commit: event.value!.commit.oid, private: isPrivate, removed };
  } catch (error) {
    throw error instanceof Refusal ? error : hubError(error, { repo: name, token, endpoint });
  }
}

/** What each call of the library gets. */
interface HubAccess {
  readonly accessToken: string;
  readonly hubUrl: string;
  readonly fetch: typeof fetch;
}

/** A push that this module refuses; its message is complete. */
class Refusal extends Error {}

/** A file to push. */
interface LocalFile {
  /** Where it is; of a link, where that leads. */
  readonly path: string;
  readonly size: number;
}

/** The files in a folder by name, hidden ones left out: those are being written, or are a system's own. */
async function filesOf(dir: string): Promise<Map<string, LocalFile>> {
  return await explained(`Cannot push ${dir}`, async () => {
    const root = await Deno.realPath(dir);
    const names = (await Array.fromAsync(Deno.readDir(root), ({ name }) => name)).sort();
    const files = new Map<string, LocalFile>();
    for (const name of names.filter((name) => !name.startsWith("."))) {
      const path = await Deno.realPath(join(root, name)).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
        throw new Error(`${name} is a link that leads nowhere; remove it`);
      });
      const { isFile, size } = await Deno.stat(path);
      if (!isFile) continue;
      if (/^\.\.(?:[\\/]|$)/.test(relative(root, path))) {
        throw new Error(
          `${name} is a link out of the folder, to ${path}; put a copy of that file in its place`,
        );
      }
      files.set(name, { path, size });
    }
    return files;
  });
}

/** Makes the repository unless it is there; says whether it is private. */
async function openRepo(
  hub: HubClient,
  access: HubAccess,
  name: string,
  isPublic: boolean,
): Promise<boolean> {
  const find = () => hub.modelInfo({ ...access, name }).catch(unless(hub, 404));
  let existing = await find();
  if (existing === undefined) {
    const visibility = isPublic ? "public" : "private";
    const made = await hub.createRepo({ ...access, repo: { type: "model", name }, visibility })
      .catch(unless(hub, 409));
    if (made !== undefined) return !isPublic;
    existing = await find(); // Made meanwhile, or by a request whose answer was lost.
  }
  if (existing === undefined) {
    throw new Refusal(
      `${name} exists on ${access.hubUrl}, but the token may not see it; choose another name`,
    );
  }
  if (!existing.private && !isPublic) {
    throw new Refusal(
      `${name} is public, so what is pushed there is for everybody to see; give --public if that is meant, ` +
        "or choose another name",
    );
  }
  return existing.private;
}

/** Weights that an earlier push left there and Python would load in place of, or beside, those of this one. */
async function staleWeights(
  hub: HubClient,
  access: HubAccess,
  name: string,
  files: ReadonlyMap<string, LocalFile>,
): Promise<string[]> {
  const there = await Array.fromAsync(hub.listFiles({ ...access, repo: { type: "model", name } }));
  const isWeights = /^model(-\d{5}-of-\d{5})?\.safetensors$|^model\.safetensors\.index\.json$/;
  return there.map(({ path }) => path).filter((path) => isWeights.test(path) && !files.has(path));
}

/** Takes one answer of the Hub for "nothing". */
function unless(hub: HubClient, status: number): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof hub.HubApiError && error.statusCode === status) return undefined;
    throw error;
  };
}

/** Follows the library's events and the bytes sent. */
class Progress {
  readonly #files: ReadonlyMap<string, LocalFile>;
  readonly #tell: (progress: PushProgress) => void;
  readonly #states = new Map<string, FileState>();
  #sent = 0;
  #total = 0;

  constructor(files: ReadonlyMap<string, LocalFile>, tell: (progress: PushProgress) => void = () => {}) {
    this.#files = files;
    this.#tell = tell;
  }

  send(bytes: number): void {
    this.#sent += bytes;
    this.#tell({ sent: this.#sent, total: this.#total });
  }

  /** The library reports 0 when it starts to send a file, and 1 at the end or where it need not be sent. */
  report({ path, state: does, progress }: { path: string; state: string; progress: number }): void {
    const before = this.#states.get(path);
    const isSent = before === "sending" || before === "sent";
    const state = does === "hashing" ? "checking" : progress < 1 ? "sending" : isSent ? "sent" : "there";
    if (state === before) return;
    this.#states.set(path, state);
    if (state === "sending") this.#total += this.#files.get(path)?.size ?? 0;
    this.#tell({ file: { path, state }, sent: this.#sent, total: this.#total });
  }
}
