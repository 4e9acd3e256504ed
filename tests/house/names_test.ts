import { deepEqual } from "node:assert/strict";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import * as names from "../../files/hugging_face_names.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The library's and the tasks' source files, with their texts but for comments. */
function* sources(folder: string): Generator<{ path: string; text: string }> {
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const path = join(folder, name);
    const isOther = /^(\.|node_modules$|runs$|golden$|bench$|tests$|docs$)/.test(name);
    if (isDirectory && !isOther) yield* sources(path);
    if (!/(?<!_test)\.ts$/.test(name)) continue;
    const text = Deno.readTextFileSync(path).replaceAll(/^\s*(\/\*\*|\*|\/\/).*/gm, "");
    yield { path: relative(root, path), text };
  }
}

Deno.test("Hugging Face's names are spelt in one file", () => {
  const spelt = [...sources(root)].flatMap(({ path, text }) =>
    Object.values(names).filter((name) => text.includes(`"${name}"`)).map((name) => `${path}: ${name}`)
  );
  deepEqual(spelt.filter((line) => !line.startsWith("files/hugging_face_names.ts: ")), []);
  deepEqual(spelt.length, Object.values(names).length);
});
