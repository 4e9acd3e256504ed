/**
 * Contents at addresses, kept on disk while they are read, so that what has come once need not come again:
 *
 * ```
 * download-<32 hexadecimal digits>/   one for each address
 *   source.json                       what is there, see Kept
 *   content-<8 hexadecimal digits>    its bytes, from the first on
 * ```
 *
 * A reader first gets what is there, and then the rest from the server, which is appended. So a content is
 * fetched no further than it is read, and one whose reader stopped, or was stopped, goes on where it ended.
 * `source.json` counts only bytes that are flushed to the disk, and appears whole or not at all.
 *
 * What is there is used when the server says, once in a process, that it still has the version which that is
 * of. Where it tells no version or no length, by which it is known to be whole, the next process fetches
 * everything anew.
 *
 * @module
 */

import { join } from "node:path";
import { explained, writeAll } from "../../files/atomic_file.ts";
import { readJsonFile, writeJsonFile } from "../../files/json_file.ts";
import { holdFolder } from "../../files/lock_file.ts";
import { type ByteRanges, type Bytes, type ByteSource, FileSource } from "./byte_source.ts";
import type { HttpSource } from "./http_source.ts";
import { type HttpVersion, isSameVersion, isStrong } from "./http_version.ts";

const RECORD = "source.json";
const FORMAT = "koala-lm download";
/** After how many bytes what has come is flushed and counted. */
const FLUSH_BYTES = 64 << 20;

/** How far a content has come. */
export interface DownloadProgress {
  /** The content's name. */
  readonly name: string;
  /** How many bytes there are. */
  readonly done: number;
  /** How many there will be; null where the server does not say. */
  readonly total: number | null;
  /** Whether this was the last of them. */
  readonly whole: boolean;
}

/** What is there of a content. */
interface Kept {
  /** Always `koala-lm download`. */
  readonly format: typeof FORMAT;
  /** The content's name, for people. */
  readonly name: string;
  /** The file with its bytes. */
  readonly file: string;
  /** How many of them count. */
  readonly bytes: number;
  /** Whether these are all. */
  readonly whole: boolean;
  /** The version that they are of. */
  readonly version: HttpVersion;
}

/** A content at an address, kept in a folder. */
export class DownloadedSource implements ByteSource {
  readonly name: string;
  readonly path: string;
  readonly sniff = true;
  readonly #http: HttpSource;
  readonly #folder: string;
  readonly #onProgress: ((progress: DownloadProgress) => void) | undefined;
  /** The file that this process wrote, which is of the version that it met. */
  #own: string | undefined;

  /**
   * Reads nothing yet.
   *
   * @param http The content.
   * @param cacheDir Where its folder is made.
   * @param onProgress Told of every piece that came.
   */
  constructor(http: HttpSource, cacheDir: string, onProgress?: (progress: DownloadProgress) => void) {
    this.name = http.name;
    this.path = http.path;
    this.#http = http;
    this.#folder = join(cacheDir, `download-${http.key}`);
    this.#onProgress = onProgress;
  }

  /**
   * Reads the content. Where another process is fetching it, it is read past the folder.
   *
   * @throws {ConnectionError} When it must be fetched or asked about, and there is no answer.
   * @throws {Error} The error of the file system, such as a full disk, with what to do about it.
   */
  async *stream(): AsyncGenerator<Bytes> {
    const whole = await this.#whole();
    if (whole !== undefined) return yield* whole.stream();
    using lock = await this.#lock();
    yield* lock === undefined ? this.#http.stream() : this.#fetch();
  }

  async openRanges(): Promise<ByteRanges> {
    const whole = await this.#whole();
    if (whole !== undefined) return await whole.openRanges();
    using lock = await this.#lock();
    if (lock !== undefined) { for await (const _ of this.#fetch()); }
    return await (await this.#whole() ?? this.#http).openRanges();
  }

  /** The file, if all of the content is there. */
  async #whole(): Promise<FileSource | undefined> {
    const kept = await this.#current();
    return kept?.whole ? new FileSource(join(this.#folder, kept.file)) : undefined;
  }

  /** What is there, if it is of the version that the server has. */
  async #current(): Promise<Kept | undefined> {
    const kept = await this.#read();
    if (kept === undefined || kept.file === this.#own) return kept;
    const { version } = this.#http;
    const isCurrent = version === undefined
      ? await this.#http.isCurrent(kept.version)
      : isSameVersion(kept.version, version);
    return isCurrent ? kept : undefined;
  }

  async #read(): Promise<Kept | undefined> {
    try {
      const kept = await readJsonFile(join(this.#folder, RECORD)) as unknown as Kept;
      if (kept.format !== FORMAT || !/^content-[0-9a-f]{8}$/.test(kept.file)) return undefined;
      const { size } = await Deno.stat(join(this.#folder, kept.file));
      const isThere = kept.whole ? size === kept.bytes : size >= kept.bytes;
      return isThere && typeof kept.version === "object" ? kept : undefined;
    } catch (error) {
      // A missing and a damaged file mean the same: fetch it again.
      if (error instanceof Deno.errors.NotFound || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** Keeps other processes from fetching the same; nothing where one does. */
  async #lock(): Promise<Disposable | undefined> {
    const attempt = `Cannot make the folder ${this.#folder}`;
    await explained(attempt, () => Deno.mkdir(this.#folder, { recursive: true }));
    return await holdFolder(this.#folder, "the download").catch((error) => {
      if (error instanceof Deno.errors.Busy) return undefined;
      throw error;
    });
  }

  /** Gives what is there, and fetches the rest. The folder is locked. */
  async *#fetch(): AsyncGenerator<Bytes> {
    // Asked again, for another process may have fetched it before the lock was free.
    const kept = await this.#current();
    const goesOn = kept !== undefined && (kept.file === this.#own || isStrong(kept.version) || kept.whole);
    const name = goesOn ? kept.file : `content-${crypto.randomUUID().slice(0, 8)}`;
    let { bytes, whole } = goesOn ? kept : { bytes: 0, whole: false };
    if (!goesOn) await this.#empty();
    const path = join(this.#folder, name);
    const open = () => Deno.open(path, { read: true, write: true, create: true });
    using file = await explained(`Cannot write ${path}`, open);
    await file.truncate(bytes);
    let flushed = bytes;
    const flush = async () => {
      const { version } = this.#http;
      if (version === undefined) return;
      await explained(`Cannot write ${path}`, () => file.sync());
      flushed = bytes;
      const now: Kept = { format: FORMAT, name: this.name, file: name, bytes, whole, version };
      await writeJsonFile(join(this.#folder, RECORD), now);
    };
    try {
      yield* pieces(file, bytes);
      whole ||= bytes === this.#http.version?.byteLength;
      if (whole) return;
      for await (const piece of this.#http.stream(bytes)) {
        this.#own = name;
        await writeAll(file, piece, path);
        bytes += piece.length;
        if (bytes - flushed >= FLUSH_BYTES) await flush();
        this.#tell(bytes, false);
        yield piece;
      }
      this.#own = name;
      whole = true;
      this.#tell(bytes, true);
    } finally {
      await flush();
    }
  }

  /** Removes what is there of other versions. */
  async #empty(): Promise<void> {
    for await (const { name } of Deno.readDir(this.#folder)) {
      if (name !== RECORD && !name.startsWith("content-")) continue;
      // Windows removes nothing that is open. What stays is not found again.
      await Deno.remove(join(this.#folder, name)).catch(() => {});
    }
  }

  #tell(done: number, whole: boolean): void {
    this.#onProgress?.({ name: this.name, done, total: this.#http.version?.byteLength ?? null, whole });
  }
}

/** The first bytes of a file, after which it stands where they end. */
async function* pieces(file: Deno.FsFile, bytes: number): AsyncGenerator<Bytes> {
  while (bytes > 0) {
    const piece = new Uint8Array(Math.min(bytes, 1 << 18));
    const read = await file.read(piece);
    if (read === null) return;
    bytes -= read;
    yield piece.subarray(0, read);
  }
}
