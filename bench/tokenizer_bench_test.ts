import { throws } from "node:assert/strict";
import { sameIds } from "./tokenizer_bench.ts";

Deno.test("sameIds() takes the first ids for right and refuses others, and none", () => {
  const check = sameIds();
  check({ ids: "ab" });
  check({ ids: "ab" });
  throws(() => check({ ids: "ac" }), /wrong ids/);
  throws(() => check({}), /wrong ids/);
  throws(() => sameIds()({}), /wrong ids/);
});
