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
 * process that makes such a folder beside it removes it.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { explained, writeFolderAtomically, writeTextAtomically } from "../../files/atomic_file.ts";
import { LOCK_FILE } from "../../files/lock_file.ts";
import { removeLeftovers } from "../../files/temporary_folder.ts";
import { TokenFiles } from "./files.ts";
import {
  SHARD_TOKENS,
  type ShardPlace,
  ShardWriter,
  type Side,
  type SideIndex,
  SIDES,
} from "./shard_writer.ts";
import type { BytesPerToken } from "./token_ids.ts";

const INDEX = "index.json";
const FORMAT = "koala-lm tokens";
const VERSION = 1;
/** How much is read at a time. */
const BUFFER_BYTES = 4 << 20;

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
  const buffer = new Uint8Array(BUFFER_BYTES);
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
  await removeLeftovers(dirname(folder));
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  try {
    await writeFolderAtomically(folder, async (temporary) => {
      const lockPath = join(temporary, LOCK_FILE);
      using lock = await Deno.open(lockPath, { write: true, createNew: true });
      await lock.lock(true);
      await writeInto(temporary);
      // First removed, then unlocked: who waits to remove a leftover must not find it free. Not so on Windows.
      if (Deno.build.os === "windows") lock.close();
      await Deno.remove(lockPath);
    });
  } catch (error) {
    // Another process may have been faster with the same.
    const other = await openTokenShards(folder).catch(() => null);
    if (other === null) throw error;
    other[Symbol.dispose]();
  }

  async function writeInto(temporary: string): Promise<void> {
    const place = filesIn(temporary);
    using train = new ShardWriter(place, "train", width, shardTokens);
    using validation = new ShardWriter(place, "validation", width, shardTokens);
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

/** Shards as files of a folder, flushed to the disk when they are finished. */
function filesIn(folder: string): ShardPlace {
  return {
    async open(name) {
      const path = join(folder, name);
      const open = () => Deno.open(path, { write: true, createNew: true });
      const file = await explained(`Cannot write ${path}`, open);
      return { file, path, [Symbol.dispose]: () => file.close() };
    },
    async finish(shard) {
      await explained(`Cannot write ${shard.path}`, () => shard.file.sync());
      shard[Symbol.dispose]();
    },
  };
}
