import { equal, ok } from "node:assert/strict";
import { paragraphs } from "../../tests/random_text.ts";
import { cutBlocks } from "./blocks.ts";

Deno.test("cutBlocks() loses nothing and keeps to its sizes", () => {
  const long = "x".repeat(20000), lines = "a line of verse \n".repeat(2000), wide = "😀".repeat(10001);
  for (const text of [paragraphs(1, 300), long, lines, wide, "a\n \n\tb", "\n\n\n", `${long}\n\n${lines}`]) {
    const blocks = [...cutBlocks(text)];
    equal(blocks.join(""), text);
    for (const block of blocks) {
      ok(block.length > 0 && block.length <= 8192);
      ok(block.isWellFormed());
    }
    for (const block of blocks.slice(0, -1)) ok(block.length >= 1024);
    const small = [...cutBlocks(text, 1024)];
    equal(small.join(""), text);
    ok(small.every((block) => block.length <= 1024 && block.isWellFormed()));
    ok(small.slice(0, -1).every((block) => block.length >= 128));
  }
});

Deno.test("cutBlocks() ends blocks at paragraphs", () => {
  const blocks = [...cutBlocks(paragraphs(2, 300))];
  ok(blocks.length > 20);
  for (const block of blocks) ok(block.endsWith("\n\n") && !block.startsWith("\n"));
});

Deno.test("cutBlocks() finds its boundaries again after an insertion", () => {
  const text = paragraphs(3, 400);
  const before = new Set(cutBlocks(text));
  const after = [...cutBlocks("A new first paragraph.\n\n" + text)];
  ok(after.filter((block) => !before.has(block)).length <= 3);
});
