import { equal } from "node:assert/strict";
import { join } from "node:path";
import { findFiles } from "../../data/bytes/files.ts";

Deno.test("findFiles() finds 150,000 files in a subfolder, more than a call takes arguments", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const inner = join(dir, "inner");
    await Deno.mkdir(inner);
    for (let i = 0; i < 150_000; i++) {
      Deno.openSync(join(inner, `${String(i).padStart(6, "0")}.txt`), { write: true, createNew: true })
        .close();
    }
    const found = await findFiles(dir);
    equal(found.length, 150_000);
    equal(found.at(-1), join(inner, "149999.txt").replaceAll("\\", "/"));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
