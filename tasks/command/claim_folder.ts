/**
 * Makes a task's output folder before any work is done.
 *
 * @module
 */
import { dirname, join } from "node:path";

/**
 * Makes a folder and tries to write there.
 *
 * @param dir The folder; those above it are made too.
 * @returns `release`, which removes what was made and is still empty.
 * @throws {Error} If the folder cannot be made or written.
 */
export async function claimFolder(dir: string): Promise<{ release(): Promise<void> }> {
  const made = await missingFolders(dir).catch(() => []);
  const release = async () => {
    // Removes only what is empty: a folder with checkpoints stays, and so do those above it.
    for (const folder of made) await Deno.remove(folder).catch(() => {});
  };
  try {
    await Deno.mkdir(dir, { recursive: true });
    const probe = join(dir, ".tmp-probe");
    await Deno.writeTextFile(probe, "");
    await Deno.remove(probe);
  } catch (error) {
    await release();
    throw new Error(`--out must be a folder that can be written, got ${dir}; choose another one`, {
      cause: error,
    });
  }
  return { release };
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
