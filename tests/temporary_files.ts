/** Temporary folders for tests. */
import { dirname, join } from "node:path";

/** Makes a temporary folder with files, for the time of a function. */
export async function withFiles(
  files: Record<string, string | Uint8Array>,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = (await Deno.makeTempDir()).replaceAll("\\", "/");
  try {
    for (const [name, content] of Object.entries(files)) {
      const path = join(folder, name);
      await Deno.mkdir(dirname(path), { recursive: true });
      await Deno.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content);
    }
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs a test in an empty folder of its own. */
export async function inTempDir(test: (dir: string) => Promise<void>): Promise<void> {
  await withFiles({}, test);
}
