import { deepEqual, equal, ok } from "node:assert/strict";
import { Random } from "../../tests/random_text.ts";
import { textParts } from "./text_parts.ts";

/** A text in pieces of a few characters. */
function* pieces(text: string, random: Random): Generator<string> {
  for (let at = 0; at < text.length;) {
    const end = at + 1 + random.below(9);
    yield text.slice(at, end);
    at = end;
  }
}

Deno.test("textParts() cuts at blank lines, lines and characters, and loses nothing", async () => {
  const text = "one\r\n\r\ntwo two\r\nthree\r\n\r\n\r\n" + "日本語のテキスト".repeat(5) +
    "\nend 😀😀😀😀😀😀\r\n" + "x\r\ry\r";
  const whole = text.replaceAll("\r\n", "\n");
  for (let limit = 2; limit < 100; limit++) {
    const parts = await Array.fromAsync(textParts("a", pieces(text, new Random(limit)), limit));
    equal(parts.map((p) => p.text).join(""), whole, `parts of ${limit}`);
    deepEqual(parts.map((p) => p.part), parts.map((_, i) => i));
    for (const { text } of parts) {
      ok(text.length > 0 && text.length <= limit);
      ok(text.isWellFormed(), `a pair of surrogates was cut at ${limit}`);
    }
  }
  const [first, second] = await Array.fromAsync(textParts("a", [text], 24));
  deepEqual([first.text, second.text], ["one\n\ntwo two\nthree\n\n\n", "日本語のテキスト".repeat(3)]);
});

Deno.test("textParts() gives nothing for an empty text", async () => {
  deepEqual(await Array.fromAsync(textParts("a", ["", ""])), []);
});
