/**
 * A folder that one process at a time may write to, by a lock file in it. What is still being written under a temporary
 * name has another lock, see `lockTemporary()` in `atomic_file.ts`.
 *
 * @module
 */
import { join } from "node:path";
import { explained } from "./atomic_file.ts";

/** Name of the lock file, which is there only while somebody holds the lock or after a process was killed. */
export const LOCK_FILE = ".lock";

/**
 * Takes a folder for this process. The system gives it back when the process ends, however it ends, so what a killed
 * process left behind is taken over.
 *
 * @param dir The folder; it exists.
 * @param what What the folder is, for the message, such as "the run folder".
 * @returns The lock; disposing of it gives the folder back and removes the lock file. Where files cannot be locked, as
 * on some network file systems, it holds nobody off.
 * @throws {Deno.errors.Busy} If another process, or another lock of this one, holds the folder; the message says which.
 * @throws {Error} If the lock file cannot be written, with what to do about it.
 */
export async function holdFolder(dir: string, what: string): Promise<Disposable> {
  const path = join(dir, LOCK_FILE);
  while (true) {
    const file = await explained(
      `Cannot lock ${what} ${dir}`,
      () => Deno.open(path, { read: true, write: true, create: true }),
    );
    const free = await file.tryLock(true).catch(() => true);
    if (!free) {
      file.close();
      const holder = (await Deno.readTextFile(path).catch(() => "")).trim() || "another process";
      throw new Deno.errors.Busy(
        `Only one process at a time may write to ${what} ${dir}, and ${holder} does; wait for it, stop it, or use ` +
          "another folder",
      );
    }
    // Whoever held it may have removed the file between our opening and locking it: then it is nobody's.
    const present = await Deno.stat(path).catch(() => undefined);
    if (present === undefined || present.ino !== (await file.stat()).ino) {
      file.close();
      continue;
    }
    await file.truncate();
    await file.write(new TextEncoder().encode(`process ${Deno.pid} since ${new Date().toISOString()}\n`));
    let held = true;
    return {
      [Symbol.dispose]() {
        if (!held) return;
        held = false;
        try {
          // First removed, then unlocked: whoever opens the file in between finds that it is gone.
          if (Deno.build.os !== "windows") Deno.removeSync(path);
        } catch {
          // The folder is gone, and with it the lock.
        }
        file.close();
      },
    };
  }
}
