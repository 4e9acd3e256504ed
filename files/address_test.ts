import { equal } from "node:assert/strict";
import { withoutSecrets } from "./address.ts";

Deno.test("withoutSecrets() takes what may be secret out of addresses, and nothing else", () => {
  const cases: Record<string, string> = {
    "https://me:pass@host:8080/a/b.txt": "https://host:8080/a/b.txt",
    "HTTPS://me@host/x?sig=1&t=a/b@c#d": "HTTPS://host/x",
    "https://host/x#access_token=1": "https://host/x",
    "https://me:p@ss@host/x": "https://host/x",
    "https://me:p/ss@host/x": "https://host/x",
    "https://host/@scope/a@1.0/b.txt": "https://host/@scope/a@1.0/b.txt",
    "https://host/x?t=1:0.25": "https://host/x:0.25",
    "https://host/x:.5": "https://host/x:.5",
    "https://host:80": "https://host:80",
    "hf://datasets/me/texts/a.jsonl": "hf://datasets/me/texts/a.jsonl",
    "texts/what?.txt:2": "texts/what?.txt:2",
    '"https://a:b@h/x?t=1" (https://h/y?t=2): no "https://c:d@h".':
      '"https://h/x" (https://h/y): no "https://h".',
  };
  for (const [text, expected] of Object.entries(cases)) equal(withoutSecrets(text), expected);
});
