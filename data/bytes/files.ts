/**
 * Texts on disk: files, folders of them and glob patterns.
 *
 * @module
 */

import { EXTENSIONS, isTextFile } from "./file_names.ts";
import { globToRegExp, isGlob, mayMatchHidden, splitGlob } from "./glob.ts";

/**
 * Finds the files that a source on disk names.
 *
 * @param source A file; a folder, of which all files in a known format are taken, at any depth, hidden ones
 * aside; or a pattern, of which all matching files are taken.
 * @returns Their paths, sorted.
 *
 * @throws {Deno.errors.NotFound} When there is no such file, the folder has no text or nothing matches.
 * @throws {SyntaxError} When the pattern is bad.
 * @throws {TypeError} When the source is something else, such as a device.
 */
export async function findFiles(source: string): Promise<string[]> {
  const path = Deno.build.os === "windows" ? source.replaceAll("\\", "/") : source;
  let info: Deno.FileInfo | undefined;
  try {
    info = await Deno.stat(path);
  } catch (error) {
    // Windows calls a name with wildcards invalid rather than missing.
    if (!isGlob(path) && !(error instanceof Deno.errors.NotFound)) throw error;
  }
  if (info?.isFile) return [path];
  if (info?.isDirectory) {
    const files = await walk(path, "", isTextFile);
    if (files.length > 0) return files;
    throw new Deno.errors.NotFound(
      `A folder of texts must hold a file in a known format, ${EXTENSIONS}: "${source}" has none; for other names use a pattern such as "${
        source.replace(/[/\\]$/, "")
      }/**/*.log"`,
    );
  }
  if (info !== undefined) {
    throw new TypeError(`A source must be a file, folder or pattern: "${source}" is something else`);
  }
  if (!isGlob(path)) {
    throw new Deno.errors.NotFound(
      `A source must exist: there is no file or folder "${source}"; check the path`,
    );
  }
  const { base, rest } = splitGlob(path);
  const pattern = globToRegExp(rest);
  let files: string[] = [];
  try {
    files = await walk(
      base,
      "",
      (name) => pattern.test(name),
      mayMatchHidden(rest),
    );
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) && !(error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
  }
  if (files.length > 0) return files;
  throw new Deno.errors.NotFound(
    `A pattern must match a file: "${source}" matches none; check the path, and that the shell passes it on`,
  );
}

/** Files under a folder whose path relative to it is wanted, sorted by path; links are followed, not in circles. */
async function walk(
  folder: string,
  prefix: string,
  wanted: (name: string) => boolean,
  hidden = false,
  above: readonly string[] = [],
): Promise<string[]> {
  const real = await Deno.realPath(folder);
  if (above.includes(real)) return [];
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (!hidden && entry.name.startsWith(".")) continue;
    const path = folder === "." ? entry.name : `${folder.replace(/\/$/, "")}/${entry.name}`;
    const name = prefix + entry.name;
    let kind: { isFile: boolean; isDirectory: boolean } = entry;
    if (entry.isSymlink) {
      // A link to nowhere is no text.
      const target = await Deno.stat(path).catch(() => null);
      if (target === null) continue;
      kind = target;
    }
    // One by one: as arguments of a single call, very many paths overflow the stack.
    if (kind.isDirectory) {
      for (const inner of await walk(path, `${name}/`, wanted, hidden, [...above, real])) found.push(inner);
    }
    if (kind.isFile && wanted(name)) found.push(path);
  }
  // By UTF-16 units, so that no locale or file system changes the order.
  return found.sort((a, b) => a < b ? -1 : a > b ? 1 : 0);
}
