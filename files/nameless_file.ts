/**
 * Files that are gone when the process ends, however it ends: their name is removed as soon as they are open.
 *
 * @module
 */

import { join } from "node:path";
import { explained, TEMPORARY_PREFIX } from "./atomic_file.ts";

const PREFIX = `${TEMPORARY_PREFIX}nameless-`;

/** A file without a name. Dispose of it when done. */
export interface NamelessFile extends Disposable {
  /** The file, open for reading and writing. */
  readonly file: Deno.FsFile;
  /** The path that it had, for messages. */
  readonly path: string;
}

/**
 * Makes a file that needs room on a disk and no name. Windows keeps the name until the file is closed. What a
 * process left that was killed between opening and removing goes as well; for a living one a name that is
 * removed changes nothing.
 *
 * @param folder The folder on whose disk it is; made if it does not exist.
 * @returns The file.
 * @throws {Error} If it cannot be made, with what to do about it.
 */
export async function openNamelessFile(folder: string): Promise<NamelessFile> {
  await explained(`Cannot make the folder ${folder}`, () => Deno.mkdir(folder, { recursive: true }));
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name).catch(() => []);
  const remove = (path: string) => Deno.remove(path).catch(() => {});
  for (const name of names.filter((name) => name.startsWith(PREFIX))) await remove(join(folder, name));
  const path = join(folder, `${PREFIX}${crypto.randomUUID().slice(0, 8)}`);
  const open = () => Deno.open(path, { read: true, write: true, createNew: true });
  const file = await explained(`Cannot write ${path}`, open);
  await remove(path);
  let isOpen = true;
  return {
    file,
    path,
    [Symbol.dispose]() {
      if (isOpen) file.close();
      isOpen = false;
    },
  };
}
