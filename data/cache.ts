/**
 * A folder of derived files that can always be made again, keyed by what they were made from.
 *
 * An entry is some files and an index that tells their lengths and SHA-256 digests. The index is written
 * last, and each file beside its place and then renamed, so an interrupted write leaves no entry, and two
 * processes that make the same entry do not disturb each other. What does not match the index is not used.
 *
 * @module
 */

import { join } from "node:path";

/** The files of an entry by name, and facts about them that fit into JSON. */
export interface CacheEntry {
  /** The files' bytes. */
  readonly files: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
  /** Whatever else is to be kept. */
  readonly facts: Readonly<Record<string, number>>;
}

/** Changes when what is made from the same input changes, so that old entries are no longer found. */
const FORMAT = 1;

/**
 * The SHA-256 digest of bytes or of a text's UTF-8.
 *
 * @param data The bytes or the text.
 * @returns 64 hexadecimal digits.
 */
export async function sha256(data: Uint8Array<ArrayBuffer> | string): Promise<string> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/**
 * Makes an entry's key from everything that decides its content.
 *
 * @param kind What the entry is, which starts its files' names.
 * @param inputs Digests and settings.
 */
export async function cacheKey(kind: string, inputs: Readonly<Record<string, unknown>>): Promise<string> {
  return `${kind}-${(await sha256(JSON.stringify({ FORMAT, kind, ...inputs }))).slice(0, 32)}`;
}

/**
 * Reads an entry.
 *
 * @param cacheDir The cache's folder.
 * @param key The entry's key.
 * @param names The files it must have.
 * @returns The entry, or null when there is none or it is damaged.
 */
export async function readCache(
  cacheDir: string,
  key: string,
  names: readonly string[],
): Promise<CacheEntry | null> {
  try {
    const index = JSON.parse(await Deno.readTextFile(join(cacheDir, `${key}.index.json`)));
    const files: Record<string, Uint8Array<ArrayBuffer>> = {};
    for (const name of names) {
      const bytes = await Deno.readFile(join(cacheDir, `${key}.${name}`));
      const { byteLength, digest } = index.files[name];
      if (bytes.length !== byteLength || await sha256(bytes) !== digest) return null;
      files[name] = bytes;
    }
    if (Object.values(index.facts).some((fact) => typeof fact !== "number")) return null;
    return { files, facts: index.facts };
  } catch (error) {
    // A missing file and an index of any wrong shape mean the same: make it again.
    const damaged = error instanceof Deno.errors.NotFound || error instanceof SyntaxError ||
      error instanceof TypeError;
    if (damaged) return null;
    throw error;
  }
}

/**
 * Writes an entry, replacing what is there.
 *
 * @param cacheDir The cache's folder; made if missing.
 * @param key The entry's key.
 * @param entry Its files and facts.
 */
export async function writeCache(cacheDir: string, key: string, entry: CacheEntry): Promise<void> {
  await Deno.mkdir(cacheDir, { recursive: true });
  const index: Record<string, { byteLength: number; digest: string }> = {};
  for (const [name, bytes] of Object.entries(entry.files)) {
    index[name] = { byteLength: bytes.length, digest: await sha256(bytes) };
    await writeWhole(join(cacheDir, `${key}.${name}`), bytes);
  }
  const text = JSON.stringify({ files: index, facts: entry.facts }, null, 2) + "\n";
  await writeWhole(join(cacheDir, `${key}.index.json`), new TextEncoder().encode(text));
}

async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  try {
    await Deno.writeFile(temporary, bytes);
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}
