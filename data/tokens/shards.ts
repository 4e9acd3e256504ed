/**
 * A folder with the token ids of a corpus, in shards:
 *
 * ```
 * index.json                             what is there, see TokenIndex
 * train-00000.bin, train-00001.bin ...   ids of the training text
 * validation-00000.bin ...               ids of the validation text
 * ```
 *
 * The shards of a side are one text, cut after every 64 Mi ids. Each is a file of bare ids as
 * `files.ts` describes, so nanoGPT and `numpy.memmap` read them as they are.
 *
 * A folder appears under its name only when it is complete and flushed to the disk, so a process that is
 * killed leaves none that looks finished. What it leaves has a name that starts with `.tmp-`, and the next
 * process that makes the same folder removes it.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import {
  explained,
  TEMPORARY_PREFIX,
  writeAll,
  writeFolderAtomically,
  writeTextAtomically,
} from "../../files/atomic_file.ts";
import { TokenFiles } from "./files.ts";
import type { BytesPerToken, TokenArray } from "./token_ids.ts";

/** How many ids a shard has, the last of a side aside. */
export const SHARD_TOKENS: number = 64 << 20;
const INDEX = "index.json";
const LOCK = ".lock";
const FORMAT = "koala-lm tokens";
const VERSION = 1;
/** How much is written at a time. */
const BUFFER_BYTES = 1 << 20;

/** The two sides of a split. */
export const SIDES = ["train", "validation"] as const;

/** One of {@linkcode SIDES}. */
export type Side = typeof SIDES[number];

/** One side in an index. */
export interface SideIndex {
  /** How many ids it has. */
  readonly tokens: number;
  /** The length of its text in UTF-8. */
  readonly text_bytes: number;
  /** Its files with the number of ids and the CRC-32 of the bytes of each. */
  readonly shards: readonly { readonly file: string; readonly tokens: number; readonly crc32: number }[];
}

/** What `index.json` holds. */
export interface TokenIndex {
  /** Always `koala-lm tokens`. */
  readonly format: typeof FORMAT;
  /** The version of the format. */
  readonly version: number;
  /** 2 for unsigned 16-bit ids, 4 for 32-bit ones; little-endian. */
  readonly bytes_per_token: BytesPerToken;
  /** What it was made from, such as the digest of the corpus; nothing depends on it. */
  readonly made_from: Readonly<Record<string, unknown>>;
  /** The training text. */
  readonly train: SideIndex;
  /** The validation text. */
  readonly validation: SideIndex;
}

/** A folder of shards that is open. */
export interface TokenShards extends Disposable {
  /** What it holds. */
  readonly index: TokenIndex;
  /** The ids of both sides. */
  readonly ids: Readonly<Record<Side, TokenFiles>>;
}

/**
 * Opens a folder of shards. All of it is read once, to compare its checksums.
 *
 * @param folder The folder.
 * @returns The shards, or null when there is no such folder, or it is damaged or of another version.
 * @throws {Error} If it cannot be read, with what to do about it.
 */
export async function openTokenShards(folder: string): Promise<TokenShards | null> {
  const opened: Partial<Record<Side, TokenFiles>> = {};
  const close = () => Object.values(opened).forEach((files) => files.close());
  try {
    const index: TokenIndex = JSON.parse(await Deno.readTextFile(join(folder, INDEX)));
    if (index.format !== FORMAT || index.version !== VERSION) return null;
    for (const side of SIDES) {
      const paths = index[side].shards.map(({ file }) => join(folder, file));
      for (const [i, { crc32 }] of index[side].shards.entries()) {
        if (await checksum(paths[i]) !== crc32) throw new SyntaxError(`"${paths[i]}" is damaged`);
      }
      opened[side] = await TokenFiles.open(paths, index.bytes_per_token);
      if (opened[side].length !== index[side].tokens) throw new SyntaxError(`"${folder}" is damaged`);
    }
    return { index, ids: opened as Record<Side, TokenFiles>, [Symbol.dispose]: close };
  } catch (error) {
    close();
    // A missing file and an index of any wrong shape mean the same: make it again.
    const isDamage = [Deno.errors.NotFound, SyntaxError, TypeError, RangeError]
      .some((kind) => error instanceof kind);
    if (isDamage) return null;
    throw error;
  }
}

async function checksum(path: string): Promise<number> {
  using file = await Deno.open(path);
  const buffer = new Uint8Array(4 * BUFFER_BYTES);
  let sum = 0;
  for (let read = await file.read(buffer); read !== null; read = await file.read(buffer)) {
    sum = crc32(buffer.subarray(0, read), sum);
  }
  return sum;
}

/**
 * Makes a folder of shards.
 *
 * @param folder The folder. One that is there is replaced, unless another process made it meanwhile.
 * @param width The bytes of an id.
 * @param write Appends the ids of both sides to the writers that it is given, in order, and says what they
 * were made from.
 * @param shardTokens How many ids a shard has; {@linkcode SHARD_TOKENS} by default.
 * @throws {Error} The error of `write`, or that of the file system with what to do about it. Nothing is left
 * behind then.
 */
export async function writeTokenShards(
  folder: string,
  width: BytesPerToken,
  write: (sides: Readonly<Record<Side, ShardWriter>>) => Promise<Readonly<Record<string, unknown>>>,
  shardTokens: number = SHARD_TOKENS,
): Promise<void> {
  await removeLeftovers(folder);
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  try {
    await writeFolderAtomically(folder, async (temporary) => {
      const lockPath = join(temporary, LOCK);
      {
        using lock = await Deno.open(lockPath, { write: true, createNew: true });
        await lock.lock(true);
        await writeInto(temporary);
      }
      await Deno.remove(lockPath);
    });
  } catch (error) {
    // Another process may have been faster with the same.
    const other = await openTokenShards(folder).catch(() => null);
    if (other === null) throw error;
    other[Symbol.dispose]();
  }

  async function writeInto(temporary: string): Promise<void> {
    using train = new ShardWriter(temporary, "train", width, shardTokens);
    using validation = new ShardWriter(temporary, "validation", width, shardTokens);
    const madeFrom = await write({ train, validation });
    const index: TokenIndex = {
      format: FORMAT,
      version: VERSION,
      bytes_per_token: width,
      made_from: madeFrom,
      train: await train.finish(),
      validation: await validation.finish(),
    };
    await writeTextAtomically(join(temporary, INDEX), JSON.stringify(index, null, 2) + "\n");
  }
}

/** Removes what killed processes left of a folder that they were making; a living one holds a lock. */
async function removeLeftovers(folder: string): Promise<void> {
  const parent = dirname(folder);
  const start = `${TEMPORARY_PREFIX}${basename(folder)}-`;
  try {
    for await (const { name } of Deno.readDir(parent)) {
      if (!name.startsWith(start)) continue;
      const leftover = join(parent, name);
      const lock = await Deno.open(join(leftover, LOCK), { write: true });
      const isFree = await lock.tryLock(true);
      lock.close();
      if (isFree) await Deno.remove(leftover, { recursive: true });
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Writes the shards of one side. {@linkcode writeTokenShards} makes and finishes it. */
export class ShardWriter implements Disposable {
  #tokens = 0;
  #textBytes = 0;
  readonly #shards: { file: string; tokens: number; crc32: number }[] = [];
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #filled = 0;
  #open: { file: Deno.FsFile; path: string } | undefined;

  /**
   * Makes no file yet.
   *
   * @param folder Where the shards go.
   * @param side How their names start.
   * @param width The bytes of an id.
   * @param shardTokens How many ids a shard has.
   */
  constructor(
    readonly folder: string,
    readonly side: Side,
    readonly width: BytesPerToken,
    readonly shardTokens: number,
  ) {}

  /** How many ids there are so far. */
  get tokens(): number {
    return this.#tokens;
  }

  /**
   * Appends ids.
   *
   * @param ids The ids, as wide as the files have them.
   * @param textBytes The length of their text in UTF-8.
   * @throws {Error} The error of the file system, such as a full disk, with what to do about it.
   */
  async append(ids: TokenArray, textBytes: number): Promise<void> {
    this.#textBytes += textBytes;
    for (let start = 0; start < ids.length;) {
      const shard = this.#shards.at(-1);
      if (this.#open === undefined || shard === undefined || shard.tokens === this.shardTokens) {
        await this.#next();
        continue;
      }
      const room = Math.min(this.shardTokens - shard.tokens, (BUFFER_BYTES - this.#filled) / this.width);
      const part = ids.subarray(start, start + room);
      this.#buffer.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), this.#filled);
      this.#filled += part.byteLength;
      shard.tokens += part.length;
      this.#tokens += part.length;
      start += part.length;
      if (this.#filled === BUFFER_BYTES) await this.#flush();
    }
  }

  /** Writes what is left, and says what was written. */
  async finish(): Promise<SideIndex> {
    await this.#close();
    return { tokens: this.#tokens, text_bytes: this.#textBytes, shards: this.#shards };
  }

  async #next(): Promise<void> {
    await this.#close();
    const name = `${this.side}-${String(this.#shards.length).padStart(5, "0")}.bin`;
    const path = join(this.folder, name);
    const open = () => Deno.open(path, { write: true, createNew: true });
    this.#open = { path, file: await explained(`Cannot write ${path}`, open) };
    this.#shards.push({ file: name, tokens: 0, crc32: 0 });
  }

  async #flush(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#filled);
    const shard = this.#shards.at(-1)!;
    shard.crc32 = crc32(bytes, shard.crc32);
    await writeAll(this.#open!.file, bytes, this.#open!.path);
    this.#filled = 0;
  }

  async #close(): Promise<void> {
    if (this.#open === undefined) return;
    await this.#flush();
    const { file, path } = this.#open;
    await explained(`Cannot write ${path}`, () => file.sync());
    this[Symbol.dispose]();
  }

  /** Closes the file that is open. */
  [Symbol.dispose](): void {
    this.#open?.file.close();
    this.#open = undefined;
  }
}
