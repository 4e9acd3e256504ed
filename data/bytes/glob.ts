/**
 * Glob patterns for paths: `*` and `?` within a path segment, `**` over any number of segments, `[abc]`,
 * `[!a-z]` and `{one,two}`. As in shells, a wildcard at the start of a segment matches no hidden name.
 *
 * @module
 */

/**
 * Tells whether a text has characters that make it a pattern.
 *
 * @param text A path or pattern.
 */
export function isGlob(text: string): boolean {
  return /[*?[{]/.test(text);
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
 * Compiles a pattern to a regular expression over whole relative paths with `/` between segments.
 *
 * @param pattern The pattern.
 *
 * @throws {SyntaxError} On an unclosed `[` or `{`, or `{` inside `{`.
 *
 * @example
 * ```ts
 * import { ok } from "node:assert/strict";
 * ok(globToRegExp("**\/*.{txt,md}").test("a/b/c.md"));
 * ok(!globToRegExp("*.txt").test("a/b.txt"));
 * ```
 */
export function globToRegExp(pattern: string): RegExp {
  const fail = (what: string): never => {
    throw new SyntaxError(`A glob pattern must close what it opens: got "${pattern}" with ${what}`);
  };
  let out = "";
  let braces = false;
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i];
    const hidden = i === 0 || pattern[i - 1] === "/" ? "(?!\\.)" : "";
    if (c === "*" && pattern[i + 1] === "*") {
      const alone = (i === 0 || pattern[i - 1] === "/") &&
        (i + 2 === pattern.length || pattern[i + 2] === "/");
      if (alone && pattern[i + 2] === "/") {
        out += "(?:(?!\\.)[^/]+/)*";
        i += 2;
      } else {
        out += alone ? "(?:(?!\\.)[^/]+(?:/(?!\\.)[^/]+)*)" : "[^/]*";
        i += 1;
      }
    } else if (c === "*") out += `${hidden}[^/]*`;
    else if (c === "?") out += `${hidden}[^/]`;
    else if (c === "[") {
      // A bracket right after the opening one is a member, not the end.
      const start = i + (pattern[i + 1] === "!" || pattern[i + 1] === "^" ? 2 : 1);
      const end = pattern.indexOf("]", start + 1);
      if (end < 0) fail("an open [");
      const members = pattern.slice(start, end).replace(/[\\\]^[&]/g, "\\$&");
      out += `${hidden}(?!/)[${start > i + 1 ? "^" : ""}${members}]`;
      i = end;
    } else if (c === "{") {
      if (braces) fail("a { inside another");
      braces = true;
      out += "(?:";
    } else if (c === "}" && braces) {
      braces = false;
      out += ")";
    } else if (c === "," && braces) out += "|";
    else out += c.replace(/[\\^$.|+()[\]{}]/, "\\$&");
  }
  if (braces) fail("an open {");
  return new RegExp(`^${out}$`, "s");
}
