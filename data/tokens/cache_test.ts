import { equal, notEqual } from "node:assert/strict";
import { cacheKey, sha256 } from "./cache.ts";

Deno.test("cacheKey() differs by kind and by every input", () => {
  const keys = [cacheKey("a", { x: 1 }), cacheKey("b", { x: 1 }), cacheKey("a", { x: 2 })];
  equal(new Set(keys).size, 3);
  equal(cacheKey("a", { x: 1 }), keys[0]);
  notEqual(sha256("a"), sha256("b"));
});

Deno.test("sha256() is SHA-256 of UTF-8", () => {
  equal(
    sha256("é").slice(0, 16),
    "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c".slice(0, 16),
  );
});
