/**
 * Glob patterns for paths: `*` and `?` within a path segment, `**` over any number of segments, `[abc]`,
 * `[!a-z]`, `{one,two}`, `{00..99}`, braces in braces, and `\` before a character that means itself (not on
 * Windows, where it divides folders). As in shells, a wildcard at the start of a segment matches no hidden name,
 * and braces are expanded before all else.
 *
 * Regular expressions that try every place for every `*` take time exponential in the number of them. Of what
 * follows a `*` or `**` up to the next one only the first match is of interest here, since whatever comes after
 * can match no better from a later one; so each is put in a group that is not tried again, and the time is at
 * most quadratic in the length of a path.
 *
 * @module
 */

import { expand } from "npm:brace-expansion@5.0.13";

/** How many patterns braces may stand for, and how long these may be together, in UTF-16 units. */
const MAX_PATTERNS = 1000;
const MAX_LENGTH = 1 << 15;

/**
 * Tells whether a text has characters that make it a pattern.
 *
 * @param text A path or pattern.
 */
export function isGlob(text: string): boolean {
  return /[*?[{\\]/.test(text);
}

/**
 * Splits a pattern into the folder in which to search and the pattern relative to it.
 *
 * @param pattern A pattern with `/` between segments, for example `books/2024/*.txt`.
 * @returns For the example `{ base: "books/2024", rest: "*.txt" }`; a pattern without a folder has base `.`.
 */
export function splitGlob(pattern: string): { base: string; rest: string } {
  const segments = pattern.split("/");
  let fixed = segments.findIndex(isGlob);
  if (fixed < 0) fixed = segments.length - 1;
  const base = segments.slice(0, fixed).join("/");
  return { base: base || (pattern.startsWith("/") ? "/" : "."), rest: segments.slice(fixed).join("/") };
}

/**
 * Tells whether a pattern may match hidden names: whether a segment of it, or what stands in braces, begins
 * with a dot.
 *
 * @param pattern The pattern.
 */
export function mayMatchHidden(pattern: string): boolean {
  return /(?:^|[/{,\\])\./.test(pattern);
}

/**
 * Compiles a pattern to a regular expression over whole relative paths with `/` between segments.
 *
 * @param pattern The pattern. Braces around one word alone stand for that word.
 *
 * @throws {SyntaxError} On an unclosed `[` or `{`, a range such as `[z-a]`, or a `\` at the end.
 * @throws {RangeError} When braces stand for more than 1000 patterns, or they are longer than 32,768 characters.
 *
 * @example
 * ```ts
 * import { ok } from "node:assert/strict";
 * ok(globToRegExp("**\/*.{txt,md}").test("a/b/c.md"));
 * ok(!globToRegExp("*.txt").test("a/b.txt"));
 * ```
 */
export function globToRegExp(pattern: string): RegExp {
  const groups = { count: 0 };
  const alternatives = expandBraces(pattern).map((plain) => pathSource(plain, groups));
  return new RegExp(`^(?:${alternatives.join("|")})$`, "su");
}

/** The patterns without braces that a pattern stands for. */
function expandBraces(pattern: string): string[] {
  let open = 0;
  for (const [part] of pattern.matchAll(/\\.|\[[!^]?\]?[^\]]*\]|[{}]/gs)) {
    if (part === "{") open++;
    if (part === "}" && open > 0) open--;
  }
  if (open > 0) throw unclosed(pattern, "an open {");
  const single = pattern.replace(
    /\\.|\{([^{},\\]+)\}/gs,
    (all, word) => word === undefined || word.includes("..") ? all : word,
  );
  // The package takes `\\` for one backslash.
  const patterns = pattern.length > MAX_LENGTH
    ? []
    : expand(single.replaceAll("\\\\", "\\\\\\\\"), { max: MAX_PATTERNS + 1 });
  const length = patterns.reduce((sum, { length }) => sum + length, 0);
  if (patterns.length > MAX_PATTERNS || length > MAX_LENGTH || pattern.length > MAX_LENGTH) {
    throw new RangeError(
      `A glob pattern must stand for at most ${MAX_PATTERNS} patterns of ${MAX_LENGTH} characters together: got ` +
        `more in "${pattern.slice(0, 80)}"; use * in place of braces, or give several patterns`,
    );
  }
  return patterns;
}

/** A pattern without braces as the source of a regular expression. */
function pathSource(pattern: string, groups: { count: number }): string {
  const segments = pattern.split("/").filter((segment, i, all) => segment !== "**" || all[i - 1] !== "**");
  const stretches: string[][] = [[]];
  for (const segment of segments) {
    if (segment === "**") stretches.push([]);
    else stretches.at(-1)!.push(segmentSource(segment, pattern, groups));
  }
  const [first, ...rest] = stretches.map((stretch) => stretch.join("\\/"));
  if (rest.length === 0) return first;
  const start = stretches[0].length > 0 ? `${first}\\/` : "";
  return start + rest.map((stretch, i) => {
    const isLast = i === rest.length - 1;
    if (isLast && stretches[i + 1].length === 0) return `${VISIBLE}(?:\\/${VISIBLE})*`;
    return once(`(?:${VISIBLE}\\/)*?${stretch}${isLast ? "$" : "\\/"}`, groups);
  }).join("");
}

/** A segment that is not hidden. */
const VISIBLE = "(?!\\.)[^\\/]+";

/** What matches as early as it can or not at all: the group in the look-ahead is not tried again. */
function once(source: string, groups: { count: number }): string {
  // Named, since the number of a group depends on all that stand before it.
  return `(?=(?<g${groups.count}>${source}))\\k<g${groups.count++}>`;
}

/** One segment of a pattern, from its start to its end, as the source of a regular expression. */
function segmentSource(segment: string, pattern: string, groups: { count: number }): string {
  const tokens =
    /\\(?<escaped>.)|(?<stars>\*+)|(?<any>\?)|\[(?<not>[!^]?)(?<members>\]?(?:\\.|[^\]\\])*)\]|./gsu;
  const stretches = [""];
  for (const { 0: all, groups: found = {} } of segment.matchAll(tokens)) {
    if (found.stars !== undefined) stretches.push("");
    else stretches[stretches.length - 1] += characterSource(all, found, pattern);
  }
  const [first, ...rest] = stretches;
  const visible = /^[*?[]/.test(segment) ? "(?!\\.)" : "";
  return visible + first + rest.map((stretch, i) => {
    if (stretch === "" && i === rest.length - 1) return "[^\\/]*";
    return once(`[^\\/]*?${stretch}${i === rest.length - 1 ? "(?![^\\/])" : ""}`, groups);
  }).join("");
}

/** What matches one character. */
function characterSource(
  token: string,
  { escaped, any, not, members }: Readonly<Record<string, string | undefined>>,
  pattern: string,
): string {
  if (any !== undefined) return "[^\\/]";
  if (members === undefined) {
    if (token === "[") throw unclosed(pattern, "an open [");
    if (token === "\\") throw unclosed(pattern, "a \\ at the end");
    return (escaped ?? token).replace(/[\\^$.*+?()[\]{}|/]/, "\\$&");
  }
  const inside = members.replace(/\\(.)|[\\\]^[&]/gsu, (all, letter = all) => classMember(letter));
  const source = `(?!\\/)[${not ? "^" : ""}${inside}]`;
  try {
    new RegExp(source, "u");
  } catch {
    throw new SyntaxError(
      `A glob pattern must have ranges from the lesser to the greater character: got "${token}" in "${pattern}"`,
    );
  }
  return source;
}

function classMember(letter: string): string {
  return /[\\\]^[-]/.test(letter) ? `\\${letter}` : letter;
}

function unclosed(pattern: string, what: string): SyntaxError {
  return new SyntaxError(`A glob pattern must close what it opens: got "${pattern}" with ${what}`);
}
