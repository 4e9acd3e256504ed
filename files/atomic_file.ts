/**
 * Files and folders that appear whole or not at all: written beside their place, flushed to the disk, then
 * renamed.
 *
 * @module
 */

import { basename, dirname, join } from "node:path";

/** Start of the names of files and folders that are still being written; leftovers may be deleted. */
export const TEMPORARY_PREFIX = ".tmp-";

/**
 * A path beside `path` for what is still being written.
 *
 * @param path Where the file or folder will be in the end.
 * @returns A fresh path in the same folder, and so on the same file system, that no reader looks for.
 */
export function temporaryPath(path: string): string {
  return join(dirname(path), `${TEMPORARY_PREFIX}${basename(path)}-${crypto.randomUUID().slice(0, 8)}`);
}

/**
 * Writes a file that appears under its name only when it is complete and flushed. On any error the partial
 * file is removed, and what was there before stays.
 *
 * @param path The file; its folder must exist. An existing file is replaced.
 * @param write Writes the content to the open file.
 * @throws {Error} The error of `write`, or that of the file system (a `Deno.errors` class where there is one)
 * with what to do about it.
 */
export async function writeFileAtomically(
  path: string,
  write: (file: Deno.FsFile) => Promise<void>,
): Promise<void> {
  const temporary = temporaryPath(path);
  const file = await explained(
    `Cannot write ${path}`,
    () => Deno.open(temporary, { write: true, createNew: true }),
  );
  try {
    try {
      await file.tryLock(true).catch(() => false);
      await write(file);
      await explained(`Cannot write ${path}`, () => file.sync());
    } finally {
      file.close();
    }
    await explained(`Cannot write ${path}`, () => Deno.rename(temporary, path));
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/**
 * Writes a text file as {@linkcode writeFileAtomically} does.
 *
 * @param path The file; its folder must exist. An existing file is replaced.
 * @param text The content.
 * @throws {Error} The error of the file system with what to do about it.
 */
export async function writeTextAtomically(path: string, text: string): Promise<void> {
  await writeFileAtomically(path, (file) => writeAll(file, new TextEncoder().encode(text), path));
}

/**
 * Makes a folder that appears under its name only when all of it is written. On any error nothing of it is left;
 * what a killed process has left of an earlier attempt is removed.
 *
 * @param path The folder: there must be none, or an empty one. Folders above it are made.
 * @param write Writes the content into the folder that it is given, flushing each file.
 * @throws {Deno.errors.AlreadyExists} If there is something at the path, before anything is written.
 * @throws {Error} The error of `write`, or that of the file system with what to do about it.
 */
export async function writeFolderAtomically(
  path: string,
  write: (temporary: string) => Promise<void>,
): Promise<void> {
  await checkEmpty(path);
  await removeLeftovers(path);
  const temporary = temporaryPath(path);
  const attempt = `Cannot make the folder ${path}`;
  try {
    await explained(attempt, () => Deno.mkdir(temporary, { recursive: true }));
    using _lock = await lockTemporary(temporary);
    await write(temporary);
    await syncFolder(temporary);
    await explained(attempt, async () => {
      // Windows does not rename over a folder, even an empty one. This fails on one that was filled meanwhile.
      if (await exists(path)) await Deno.remove(path);
      await Deno.rename(temporary, path);
    });
  } catch (error) {
    await Deno.remove(temporary, { recursive: true }).catch(() => {});
    throw error;
  }
  await syncFolder(dirname(path));
}

/**
 * Locks a temporary file or folder, so that other processes see that somebody writes to it. The system unlocks it when
 * the process ends, however it ends. Not by a lock file as `holdFolder()` has it: that would become part of what is
 * written, and taken out before the end it would leave a moment without a lock; and who holds this one need not be told.
 *
 * @param path The file or folder.
 * @returns The lock; closing it unlocks. Nothing if another holds it, or where this cannot be locked, as folders on
 * Windows and some network file systems.
 */
async function lockTemporary(path: string): Promise<Deno.FsFile | undefined> {
  const opened = await Deno.open(path, { read: true }).catch(() => undefined);
  if (await opened?.tryLock(true).catch(() => false)) return opened;
  opened?.close();
  return undefined;
}

/**
 * Whether a living process, this one too, writes to a temporary file or folder of {@linkcode writeFileAtomically} or
 * {@linkcode writeFolderAtomically}.
 *
 * @param path The temporary file or folder.
 * @returns False also where it cannot be told, as of folders on Windows.
 */
export async function isBeingWritten(path: string): Promise<boolean> {
  using opened = await Deno.open(path, { read: true }).catch(() => undefined);
  return await opened?.tryLock(true).catch(() => true) === false;
}

/** Removes temporary folders beside a path that nobody writes to any more. */
async function removeLeftovers(path: string): Promise<void> {
  const parent = dirname(path);
  const start = `${TEMPORARY_PREFIX}${basename(path)}-`;
  const names = await Array.fromAsync(Deno.readDir(parent), ({ name }) => name).catch(() => []);
  for (
    const name of names.filter((name) =>
      name.startsWith(start) && /^[0-9a-f]{8}$/.test(name.slice(start.length))
    )
  ) {
    using lock = await lockTemporary(join(parent, name));
    if (lock) await Deno.remove(join(parent, name), { recursive: true }).catch(() => {});
  }
}

/**
 * Checks that a folder can be made at a path.
 *
 * @param path The folder.
 * @throws {Deno.errors.AlreadyExists} If there is something other than an empty folder.
 * @throws {Error} If the path cannot be looked at, with what to do about it.
 */
export async function checkEmpty(path: string): Promise<void> {
  if (!await explained(`Cannot make the folder ${path}`, () => exists(path))) return;
  const isFolder = (await Deno.stat(path)).isDirectory;
  const [name] = isFolder ? await Array.fromAsync(Deno.readDir(path), ({ name }) => name) : [];
  if (isFolder && name === undefined) return;
  throw new Deno.errors.AlreadyExists(
    `${path} must be a new or an empty folder, got ${
      isFolder ? `one with ${name}` : "a file"
    }; choose another path`,
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Writes all bytes; `file.write` alone may write only some.
 *
 * @param file The open file.
 * @param bytes What to write.
 * @param path Name for messages.
 * @throws {Error} The error of the file system, such as a full disk, with what to do about it.
 */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array, path: string): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    written += await explained(`Cannot write ${path}`, () => file.write(bytes.subarray(written)));
  }
}

/**
 * Flushes a folder's entries to the disk, so that a rename in it survives a power failure. Windows cannot open
 * folders as files; there this does nothing.
 *
 * @param path The folder.
 */
export async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  } catch {
    // The content is flushed and renamed all the same: only the moment it becomes durable is not known.
  }
}

/**
 * Runs a file operation; says of its failure what was attempted and what to do, keeping the error's class.
 *
 * @param attempt What cannot be done if it fails: `Cannot write out/run.json`.
 * @param operation The operation.
 * @returns What the operation returns.
 * @throws {Error} The operation's error with a fuller message. A missing Deno permission is passed on as it is,
 * since Deno's own message names the flag.
 */
export async function explained<T>(attempt: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    if (!(error instanceof Error) || error instanceof Deno.errors.NotCapable) throw error;
    const ErrorClass = Object.values(Deno.errors).find((known) => error.constructor === known) ?? Error;
    // Deno appends the call with a path that is already in `attempt`, or with a temporary name nobody knows.
    const reason = error.message.replace(/: \w+ '.*$/s, "");
    throw new ErrorClass(`${attempt}: ${reason}${remedy(error)}`, { cause: error });
  }
}

function remedy(error: Error): string {
  if (error instanceof Deno.errors.NotFound) return "; check that the path exists";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "; choose a place that this user may read and write";
  }
  if (error instanceof Deno.errors.NotADirectory) {
    return "; a part of the path is a file where a folder must be";
  }
  if (/os error (28|112|122)\b/.test(error.message)) return "; free some space and try again";
  if (/os error 27\b/.test(error.message)) return "; allow larger files here, see ulimit -f";
  return "";
}
