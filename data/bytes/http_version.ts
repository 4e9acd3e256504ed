/**
 * Versions of what is at an address, as servers tell them.
 *
 * @module
 */

/** What tells one version of a content from another. */
export interface HttpVersion {
  /** The entity tag; null where the server gives none. */
  readonly etag: string | null;
  /** When it was changed last, as the server writes it; null where it does not say. */
  readonly modified: string | null;
  /** The length in bytes; null where the server does not say. */
  readonly byteLength: number | null;
}

/** A content at an address, as far as what there is now is concerned. */
export interface RemoteText {
  /** Stands for the address, credentials aside; nothing of it can be read from this. */
  readonly key: string;
  /** The version that was met last; undefined before there was any. */
  readonly version: HttpVersion | undefined;
  /**
   * Asks the server whether a version is still the one that it has, in one request without the content.
   *
   * @param known The version. One without a length, or without both entity tag and time, is never current.
   * @throws {ConnectionError} When there is no answer.
   */
  isCurrent(known: HttpVersion): Promise<boolean>;
}

/**
 * The version that an answer tells.
 *
 * @param response An answer with the content, or with a part of it.
 */
export function versionOf({ headers, status }: Response): HttpVersion {
  const total = status === 206
    ? /^bytes \d+-\d+\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1] ?? null
    : headers.get("content-length");
  // What comes through an encoding has another length than is told.
  const isEncoded = !/^(?:identity)?$/i.test(headers.get("content-encoding") ?? "");
  return {
    etag: headers.get("etag"),
    modified: headers.get("last-modified"),
    byteLength: total === null || isEncoded ? null : Number(total),
  };
}

/**
 * Whether two versions are surely the same content: by the entity tag, else by the time and the length.
 *
 * @param a One.
 * @param b The other.
 */
export function isSameVersion(a: HttpVersion, b: HttpVersion): boolean {
  if (a.etag !== null && b.etag !== null) {
    const isLength = a.byteLength === null || b.byteLength === null || a.byteLength === b.byteLength;
    return isLength && a.etag.replace(/^W\//, "") === b.etag.replace(/^W\//, "");
  }
  return a.modified !== null && a.modified === b.modified && a.byteLength !== null &&
    a.byteLength === b.byteLength;
}

/**
 * Whether a version is told apart from others to the byte, so that parts of it fit together.
 *
 * @param version The version.
 */
export function isStrong({ etag, modified }: HttpVersion): boolean {
  return etag === null ? modified !== null : !etag.startsWith("W/");
}
