/**
 * Folders that are there for as long as somebody works in them. A lock in each, which the system gives back when
 * its process ends, however it ends, tells those of living processes from what killed ones left.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { explained, TEMPORARY_PREFIX, temporaryPath } from "./atomic_file.ts";
import { holdFolder, LOCK_FILE } from "./lock_file.ts";

/** A folder that is removed when it is disposed of. */
export interface TemporaryFolder extends AsyncDisposable {
  /** Its path. */
  readonly path: string;
}

/**
 * Makes a folder for the time of some work, and removes what killed processes left beside it.
 *
 * @param path What it would be called if it stayed; its name is another, that no reader looks for.
 * @returns The folder.
 * @throws {Error} If it cannot be made, with what to do about it.
 */
export async function holdTemporaryFolder(path: string): Promise<TemporaryFolder> {
  await removeLeftovers(dirname(path));
  const temporary = temporaryPath(path);
  await explained(`Cannot make the folder ${temporary}`, () => Deno.mkdir(temporary, { recursive: true }));
  const lock = await holdFolder(temporary, "the temporary folder");
  return {
    path: temporary,
    async [Symbol.asyncDispose]() {
      lock[Symbol.dispose]();
      await Deno.remove(temporary, { recursive: true }).catch(() => {});
    },
  };
}

/**
 * Removes temporary folders with a lock that no living process holds.
 *
 * @param parent The folder that they are in; there may be none.
 */
export async function removeLeftovers(parent: string): Promise<void> {
  const names = await Array.fromAsync(Deno.readDir(parent), ({ name }) => name).catch(() => []);
  for (const name of names.filter((name) => name.startsWith(TEMPORARY_PREFIX))) {
    const lockPath = join(parent, name, LOCK_FILE);
    // One without a lock is something else, or was made just now, or is finished.
    using lock = await Deno.open(lockPath, { write: true }).catch(() => undefined);
    if (!await lock?.tryLock(true).catch(() => false)) continue;
    if (!await Deno.stat(lockPath).catch(() => undefined)) continue;
    // Windows removes no file that is open.
    if (Deno.build.os === "windows") lock?.close();
    await Deno.remove(join(parent, name), { recursive: true }).catch(() => {});
  }
}
