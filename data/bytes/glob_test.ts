import { deepEqual, equal, throws } from "node:assert/strict";
import { globToRegExp, isGlob, splitGlob } from "./glob.ts";

Deno.test("globToRegExp() matches as shells do", () => {
  const table: [string, string, boolean][] = [
    ["*.txt", "a.txt", true],
    ["*.txt", "a.txt.gz", false],
    ["*.txt", "d/a.txt", false],
    ["*.txt", ".hidden.txt", false],
    [".*.txt", ".hidden.txt", true],
    ["**/*.txt", "a.txt", true],
    ["**/*.txt", "d/e/a.txt", true],
    ["**/*.txt", "d/.git/a.txt", false],
    ["d/**", "d/e/a", true],
    ["d/**", "d", false],
    ["?.md", "x.md", true],
    ["?.md", "xy.md", false],
    ["[a-c]1", "b1", true],
    ["[!a-c]1", "b1", false],
    ["[!a-c]1", "/1", false],
    ["[]]x", "]x", true],
    ["*.{txt,md}", "a.md", true],
    ["*.{txt,md}", "a.rst", false],
    ["a+(b).txt", "a+(b).txt", true],
    ["a.txt", "abtxt", false],
    ["x,y}", "x,y}", true],
  ];
  for (const [pattern, path, expected] of table) {
    equal(globToRegExp(pattern).test(path), expected, `${pattern} on ${path}`);
  }
});

Deno.test("globToRegExp() rejects what is left open", () => {
  throws(() => globToRegExp("a[b"), SyntaxError);
  throws(() => globToRegExp("a{b,c"), SyntaxError);
  throws(() => globToRegExp("a{b,{c}}"), SyntaxError);
});

Deno.test("splitGlob() finds the folder to search", () => {
  deepEqual(splitGlob("a/b/*.txt"), { base: "a/b", rest: "*.txt" });
  deepEqual(splitGlob("*.txt"), { base: ".", rest: "*.txt" });
  deepEqual(splitGlob("/*.txt"), { base: "/", rest: "*.txt" });
  deepEqual(splitGlob("/a/**/c"), { base: "/a", rest: "**/c" });
  equal(isGlob("a/b.txt"), false);
});
