/**
 * What a file's name says of its content.
 *
 * @module
 */

import type { Compression } from "./decompress.ts";

/** How a content holds texts. */
export type Format = "text" | "jsonl" | "csv" | "tsv" | "parquet";

/** The formats by extension; each may be followed by `.gz` or `.zst`. */
const FORMATS: Readonly<Record<string, Format>> = {
  txt: "text",
  text: "text",
  md: "text",
  jsonl: "jsonl",
  ndjson: "jsonl",
  csv: "csv",
  tsv: "tsv",
  parquet: "parquet",
};

/** The extensions whose files are read from folders, for messages. */
export const EXTENSIONS: string = `${
  Object.keys(FORMATS).map((name) => `.${name}`).join(", ")
} (or with .gz or .zst)`;

/** Extensions of what is no text, and what to do about each. */
const REFUSED: Readonly<Record<string, string>> = {
  json: "name it .jsonl if every line is an object, else convert it, for example with jq -c '.[]'",
  ...Object.fromEntries(
    ["zip", "tar", "tgz", "7z", "rar"].map((name) => [name, "unpack it and give the folder"]),
  ),
  ...Object.fromEntries(
    ["bz2", "xz", "lz4", "br"].map((name) => [name, "decompress it, or compress it as .gz or .zst"]),
  ),
  ...Object.fromEntries(
    ["arrow", "feather", "npy", "npz", "pkl", "pt", "safetensors", "sqlite", "db", "xlsx"].map((
      name,
    ) => [name, "convert it to .jsonl or .parquet"]),
  ),
  ...Object.fromEntries(
    ["pdf", "doc", "docx", "epub", "odt"].map((name) => [name, "convert it to .txt"]),
  ),
};

/**
 * Tells format and compression by a name.
 *
 * @param path A path. A name with another extension, or none, is a text's.
 *
 * @throws {RangeError} When the extension is that of something that holds no text as it is.
 *
 * @example
 * ```ts
 * import { deepEqual } from "node:assert/strict";
 * deepEqual(formatOf("a/b.jsonl.zst"), { format: "jsonl", compression: "zst" });
 * deepEqual(formatOf("notes"), { format: "text", compression: null });
 * ```
 */
export function formatOf(path: string): { format: Format; compression: Compression | null } {
  const [, base, packed] = /^(.*?)(?:\.(gz|zst))?$/is.exec(path)!;
  const extension = /\.([^./\\]+)$/.exec(base)?.[1].toLowerCase() ?? "";
  if (Object.hasOwn(REFUSED, extension)) {
    throw new RangeError(
      `A source must be one of ${EXTENSIONS}, or plain text under another name: got "${path}"; ${
        REFUSED[extension]
      }`,
    );
  }
  const format = Object.hasOwn(FORMATS, extension) ? FORMATS[extension] : "text";
  return { format, compression: (packed?.toLowerCase() as Compression | undefined) ?? null };
}

/**
 * Tells whether a file in a folder is one of its texts.
 *
 * @param path The file's path.
 */
export function isTextFile(path: string): boolean {
  const extension = /\.([^./\\]+)(?:\.(?:gz|zst))?$/i.exec(path)?.[1].toLowerCase() ?? "";
  return Object.hasOwn(FORMATS, extension);
}
