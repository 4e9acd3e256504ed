import assert from "node:assert/strict";
import { parseByteSize } from "./byte_size.ts";

Deno.test("parseByteSize() reads decimal units in any case, with fractions", () => {
  const sizes = { "2GB": 2e9, "500MB": 5e8, "1KB": 1000, "1tb": 1e12, " 1.5 gb ": 1.5e9, "0.0015KB": 1 };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseByteSize(text), bytes, text);
});

Deno.test("parseByteSize() refuses what is no size", () => {
  for (const text of ["", "GB", "2", "2GiB", "2 B", "-1GB", "1e3MB", "0MB", "0.0001KB", "99999TB0", "2GBs"]) {
    assert.throws(() => parseByteSize(text), /RangeError: A size must be .*such as 500MB, got "/, text);
  }
});
