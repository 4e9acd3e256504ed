import { equal } from "node:assert/strict";
import { Random } from "../../tests/random_text.ts";
import { DigestSet } from "./digest_set.ts";

Deno.test("DigestSet holds what a Set of bigints holds", () => {
  const random = new Random(7);
  const [found, expected] = [new DigestSet(), new Set<bigint>()];
  for (let i = 0; i < 20_000; i++) {
    // Few high bits, so that many share a slot.
    const digest = BigInt(random.below(3)) << 40n | BigInt(random.below(6000) + 1);
    equal(found.add(digest), !expected.has(digest));
    expected.add(digest);
    equal(found.size, expected.size);
  }
});
