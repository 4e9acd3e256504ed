/**
 * Writing the token ids of one side of a split, in shards.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { writeAll } from "../../files/atomic_file.ts";
import type { BytesPerToken, TokenArray } from "./token_ids.ts";

/** How many ids a shard has, the last of a side aside. */
export const SHARD_TOKENS: number = 64 << 20;
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

/** A shard that is open; disposing of it closes it. */
export interface OpenShard extends Disposable {
  /** The file. */
  readonly file: Deno.FsFile;
  /** Its path, for messages. */
  readonly path: string;
}

/** Where the shards of a side go. */
export interface ShardPlace {
  /** Opens a new file for a shard of that name. */
  open(name: string): Promise<OpenShard>;
  /** Told when all of the shard is written. */
  finish(shard: OpenShard): Promise<void>;
}

/** Writes the shards of one side. Whoever makes it finishes it. */
export class ShardWriter implements Disposable {
  #tokens = 0;
  #textBytes = 0;
  readonly #shards: { file: string; tokens: number; crc32: number }[] = [];
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #filled = 0;
  #open: OpenShard | undefined;

  /**
   * Makes no file yet.
   *
   * @param place Where the shards go.
   * @param side How their names start.
   * @param width The bytes of an id.
   * @param shardTokens How many ids a shard has.
   */
  constructor(
    readonly place: ShardPlace,
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
    this.#open = await this.place.open(name);
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
    await this.place.finish(this.#open);
    this.#open = undefined;
  }

  /** Closes the shard that is not finished. */
  [Symbol.dispose](): void {
    this.#open?.[Symbol.dispose]();
    this.#open = undefined;
  }
}
