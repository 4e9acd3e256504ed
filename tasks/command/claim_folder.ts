/**
 * Makes a task's output folder before any work is done.
 *
 * @module
 */
import { basename, dirname, join } from "node:path";
import { temporaryPath } from "../../files/atomic_file.ts";

/** A folder that is there and can be written. */
export interface ClaimedFolder {
  /** The folder. */
  readonly dir: string;
  /** Removes what was made and is still empty. */
  release(): Promise<void>;
}

/**
 * Makes a folder and tries to write there.
 *
 * @param dir The folder; those above it are made too.
 * @throws {Error} If the folder cannot be made or written.
 */
export async function claimFolder(dir: string): Promise<ClaimedFolder> {
  const made = await missingFolders(dir).catch(() => []);
  const release = async () => {
    // Removes only what is empty: a folder with checkpoints stays, and so do those above it.
    for (const folder of made) await Deno.remove(folder).catch(() => {});
  };
  try {
    await Deno.mkdir(dir, { recursive: true });
    const probe = temporaryPath(join(dir, "probe"));
    await Deno.writeTextFile(probe, "");
    await Deno.remove(probe);
  } catch (error) {
    await release();
    throw new Error(`--out must be a folder that can be written, got ${dir}; choose another one`, {
      cause: error,
    });
  }
  return { dir, release };
}

/**
 * Makes a folder of one's own: with `-2`, `-3` and so on after its name where there is one already, made by whoever
 * started in the same second.
 *
 * @param dir The folder; those above it are made too.
 * @throws {Error} If the folder cannot be made or written.
 */
export async function claimNewFolder(dir: string): Promise<ClaimedFolder> {
  const above = await claimFolder(dirname(dir));
  for (let number = 1;; number++) {
    const own = number === 1 ? dir : join(dirname(dir), `${basename(dir)}-${number}`);
    try {
      await Deno.mkdir(own); // fails where there is one, which tells who was first
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) continue;
      throw error;
    }
    const release = async () => {
      await Deno.remove(own).catch(() => {});
      await above.release();
    };
    return { dir: own, release };
  }
}

/** The folders on a path that do not exist, innermost first. */
async function missingFolders(dir: string): Promise<string[]> {
  try {
    await Deno.lstat(dir);
    return [];
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const parent = dirname(dir);
    return parent === dir ? [dir] : [dir, ...await missingFolders(parent)];
  }
}
