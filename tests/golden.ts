/**
 * Where golden files are: beside the checkout when the whole set is there, else the part kept in it.
 */
import { fileURLToPath } from "node:url";

const folders = [new URL("../../shared/golden/", import.meta.url), new URL("./golden/", import.meta.url)];

/** Path of a golden file or folder, or undefined if neither place has it. */
export function goldenPath(name: string): string | undefined {
  for (const folder of folders) {
    const path = fileURLToPath(new URL(name, folder));
    try {
      Deno.statSync(path);
      return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}
