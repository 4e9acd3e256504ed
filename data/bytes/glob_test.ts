import { deepEqual, equal, throws } from "node:assert/strict";
import { globToRegExp, isGlob, mayMatchHidden, splitGlob } from "./glob.ts";

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
    ["*.{txt}", "a.txt", true],
    // Braces in braces, over segments, and ranges.
    ["{a,b{c,{d,e}}}.txt", "bd.txt", true],
    ["{a,b{c,{d,e}}}.txt", "b.txt", false],
    ["{a/{b,c},d}/*", "a/c/x", true],
    ["{a/{b,c},d}/*", "d/x", true],
    ["{a/{b,c},d}/*", "a/x", false],
    ["part-{08..11}.{csv,jsonl}", "part-09.csv", true],
    ["part-{08..11}.{csv,jsonl}", "part-9.csv", false],
    ["a{,-b}", "a", true],
    // Escapes.
    ["\\*\\?.txt", "*?.txt", true],
    ["\\*\\?.txt", "ab.txt", false],
    ["\\{a,b\\}*", "{a,b}c", true],
    ["\\[ab]", "[ab]", true],
    ["\\[ab]", "a", false],
    ["{\\*,b}x", "*x", true],
    ["{\\*,b}x", "cx", false],
    ["\\\\{a,b}*", "\\bc", true],
    // Classes.
    ["[!x]y", "ay", true],
    ["[!x]y", "xy", false],
    ["[^x]y", "xy", false],
    ["[\\]a]", "]", true],
    ["[\\]a]", "\\", false],
    ["[a\\-c]", "b", false],
    ["[a\\-c]", "-", true],
    ["[{,]x", "{x", true],
    ["[.a]b", ".b", false],
    ["a[.]b", "a.b", true],
    ["[😀-😂]?", "😁😁", true],
    // Segments.
    ["a/**/b/**/c*", "a/b/b/x/c1", true],
    ["a/**/b/**/c*", "a/x/y/b/c", true],
    ["a/**/b/**/c*", "a/x/c", false],
    ["**/b/**/b", "b/b", true],
    ["**/b/**/b", "b", false],
    ["**/**/x", "x", true],
    ["a**b", "a1b", true],
    ["a**b", "a/b", false],
    ["*a*ab", "xaab", true],
    ["*a*ab", "xab", false],
    ["*ab*abc", "ababc", true],
    ["*a*", "b", false],
    ["a*?", "a", false],
    ["**", "a/b", true],
    // Hidden names.
    ["**", "a/.b", false],
    ["**/.*", "a/.b", true],
    ["**/.git/**", "a/.git/b", true],
    ["{.a,b}/*", ".a/x", true],
    ["\\.a*", ".ab", true],
    ["*{.a,b}", ".a", false],
    ["a*b", "a.b", true],
    ["a\nb*", "a\nbc", true],
  ];
  for (const [pattern, path, expected] of table) {
    equal(globToRegExp(pattern).test(path), expected, `${pattern} on ${path}`);
  }
});

Deno.test("globToRegExp() rejects what is left open", () => {
  throws(() => globToRegExp("a[b"), SyntaxError);
  throws(() => globToRegExp("a{b,c"), SyntaxError);
  throws(() => globToRegExp("a{b,{c}"), SyntaxError);
  throws(() => globToRegExp("a\\"), SyntaxError);
  throws(() => globToRegExp("[z-a]"), { name: "SyntaxError", message: /got "\[z-a\]"/ });
});

Deno.test("globToRegExp() makes an end of patterns that regular expressions hang on", () => {
  // One after another, a regular expression would try 255^30 ways to divide the name.
  const name = "a".repeat(255);
  equal(globToRegExp("*a".repeat(30) + "*b").test(name), false);
  equal(globToRegExp("*a".repeat(30)).test(name), true);
  const path = Array(100).fill("a").join("/");
  equal(globToRegExp("**/a/".repeat(30) + "b").test(path), false);
  equal(globToRegExp("**/*a/".repeat(30) + "**/a").test(path), true);
  equal(globToRegExp(`{${"*a*,".repeat(500)}}b`).test(name), false);
  for (const many of ["{1..1000000000}", "{a,b}".repeat(30), "{a,".repeat(1100) + "}".repeat(1100)]) {
    throws(() => globToRegExp(many), { name: "RangeError", message: /at most 1000 patterns/ });
  }
});

Deno.test("mayMatchHidden() tells whether hidden folders need be searched", () => {
  for (const pattern of [".a/*", "b/.a", "{b,.a}/*", "{.a,b}", "\\.a"]) {
    equal(mayMatchHidden(pattern), true, pattern);
  }
  for (const pattern of ["*.txt", "a/*.{txt,md}", "[.]a"]) equal(mayMatchHidden(pattern), false, pattern);
});

Deno.test("splitGlob() finds the folder to search", () => {
  deepEqual(splitGlob("a/b/*.txt"), { base: "a/b", rest: "*.txt" });
  deepEqual(splitGlob("*.txt"), { base: ".", rest: "*.txt" });
  deepEqual(splitGlob("/*.txt"), { base: "/", rest: "*.txt" });
  deepEqual(splitGlob("/a/**/c"), { base: "/a", rest: "**/c" });
  deepEqual(splitGlob("a/\\[b/*.txt"), { base: "a", rest: "\\[b/*.txt" });
  equal(isGlob("a/b.txt"), false);
});
