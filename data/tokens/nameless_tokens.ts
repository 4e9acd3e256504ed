/**
 * Token ids in files without names, for a run that is to leave nothing behind.
 *
 * @module
 */

import { type NamelessFile, openNamelessFile } from "../../files/nameless_file.ts";
import { TokenFiles } from "./files.ts";
import { SHARD_TOKENS, type ShardPlace, ShardWriter, type Side } from "./shard_writer.ts";
import type { BytesPerToken } from "./token_ids.ts";

/** Token ids that are gone when this is disposed of or the process ends, however it ends. */
export interface NamelessTokens extends Disposable {
  /** The ids of both sides. */
  readonly ids: Readonly<Record<Side, TokenFiles>>;
  /** The length of the text of both sides in UTF-8. */
  readonly textBytes: Readonly<Record<Side, number>>;
}

/**
 * Writes token ids into files without names.
 *
 * @param folder The folder on whose disk they are, see {@linkcode openNamelessFile}; made if it does not exist.
 * @param width The bytes of an id.
 * @param write Appends the ids of both sides to the writers that it is given, in order.
 * @returns The ids.
 * @throws {Error} The error of `write`, or that of the file system with what to do about it. Nothing is left
 * behind then.
 */
export async function writeNamelessTokens(
  folder: string,
  width: BytesPerToken,
  write: (sides: Readonly<Record<Side, ShardWriter>>) => Promise<void>,
): Promise<NamelessTokens> {
  const files: Record<Side, NamelessFile[]> = { train: [], validation: [] };
  const close = () => Object.values(files).flat().forEach((file) => file[Symbol.dispose]());
  const writer = (side: Side): ShardWriter => {
    const place: ShardPlace = {
      async open() {
        const file = await openNamelessFile(folder);
        files[side].push(file);
        return file;
      },
      // It stays open to be read.
      finish: async () => {},
    };
    return new ShardWriter(place, side, width, SHARD_TOKENS);
  };
  const sides = { train: writer("train"), validation: writer("validation") };
  try {
    await write(sides);
    const [train, validation] = [await sides.train.finish(), await sides.validation.finish()];
    return {
      ids: {
        train: await TokenFiles.of(files.train, width),
        validation: await TokenFiles.of(files.validation, width),
      },
      textBytes: { train: train.text_bytes, validation: validation.text_bytes },
      [Symbol.dispose]: close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
