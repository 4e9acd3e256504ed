import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import {
  BYTE_TO_CHAR,
  CHAR_TO_BYTE,
  flatCopy,
  lastSafeCut,
  toByteChars,
  utf8Length,
  wordPattern,
} from "./byte_level.ts";
import { hashCombine } from "../../ops/random.ts";

/** Texts of characters that the word pattern tells apart, and of contractions. */
function randomText(seed: number, length: number): string {
  const parts = [
    ..."ab\n\n  \t'.,7é日ßЖ٣½\u0085\u00a0\u3000\ufeff\u200d😀",
    "'s",
    "'ll",
    "\r\n",
    " the",
    "\n\n",
    "don't",
  ];
  return Array.from({ length }, (_, i) => parts[hashCombine(seed, i) % parts.length]).join("");
}

Deno.test("the byte alphabet has 256 different printable characters and an inverse", () => {
  equal(CHAR_TO_BYTE.size, 256);
  BYTE_TO_CHAR.forEach((char, byte) => equal(CHAR_TO_BYTE.get(char), byte));
  equal(toByteChars(" naïve\n"), "ĠnaÃ¯veĊ");
});

Deno.test("wordPattern() covers every text without a gap", () => {
  for (let seed = 0; seed < 200; seed++) {
    const text = randomText(seed, 40);
    equal((text.match(wordPattern()) ?? []).join(""), text);
  }
});

Deno.test("wordPattern() leaves one white space to the next word", () => {
  deepEqual("I don't  go\n\n x7".match(wordPattern()), ["I", " don", "'t", " ", " go", "\n\n", " x", "7"]);
});

Deno.test("lastSafeCut() cuts where the words of the parts are the words of the whole", () => {
  let cuts = 0;
  for (let seed = 0; seed < 2000; seed++) {
    const text = randomText(seed, 2 + seed % 30);
    const cut = lastSafeCut(text);
    if (cut === 0) continue;
    cuts++;
    const words = (part: string) => part.match(wordPattern()) ?? [];
    deepEqual([...words(text.slice(0, cut)), ...words(text.slice(cut))], [...words(text)]);
  }
  ok(cuts > 1000);
});

Deno.test("lastSafeCut() finds nothing in a text without an inner white space", () => {
  equal(lastSafeCut("abc"), 0);
  equal(lastSafeCut("  abc"), 0);
  equal(lastSafeCut(""), 0);
});

Deno.test("utf8Length() is the length of the encoded text", () => {
  for (let seed = 0; seed < 100; seed++) {
    const text = randomText(seed, 30);
    equal(utf8Length(text), new TextEncoder().encode(text).length);
  }
  equal(utf8Length("\ud800a"), 4);
});

Deno.test("flatCopy() keeps the text", () => {
  const text = "a rather long word 😀";
  equal(flatCopy(text), text);
  notEqual(flatCopy(text), text + "!");
});
