import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { join } from "node:path";
import { TokenFiles } from "./files.ts";
import { bytesPerToken, readTokens, type TokenIds, tokenRange } from "./token_ids.ts";

/** Ids of both widths in three files of uneven lengths. */
async function withFiles(
  use: (paths: string[], width: 2 | 4, ids: number[]) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    for (const width of [2, 4] as const) {
      const ids = Array.from({ length: 2500 }, (_, i) => (i * 7919) % (width === 2 ? 65536 : 100_000));
      const paths = [];
      for (const [i, [start, end]] of [[0, 1], [1, 1200], [1200, 1200], [1200, 2500]].entries()) {
        const bytes = width === 2
          ? Uint16Array.from(ids.slice(start, end))
          : Uint32Array.from(ids.slice(start, end));
        paths.push(join(folder, `${width}-${i}.bin`));
        await Deno.writeFile(paths[i], new Uint8Array(bytes.buffer));
      }
      await use(paths, width, ids);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const read = (ids: TokenIds, start: number, count: number) => {
  const target = new Uint32Array(count);
  readTokens(ids, start, target);
  return [...target];
};

Deno.test("TokenFiles reads any stretch over all files, as an array and a range of it do", async () => {
  await withFiles(async (paths, width, ids) => {
    using files = await TokenFiles.open(paths, width);
    equal(files.length, 2500);
    const range = tokenRange(files, 3, 2400);
    for (
      const [start, count] of [[0, 2500], [0, 1], [1, 3], [1199, 2], [1200, 1], [2499, 1], [2500, 0], [
        7,
        2000,
      ]]
    ) {
      const expected = ids.slice(start, start + count);
      deepEqual(read(files, start, count), expected);
      deepEqual(read(Uint32Array.from(ids), start, count), expected);
      if (start >= 3 && start + count <= 2400) deepEqual(read(range, start - 3, count), expected);
    }
    for (const ids of [files, Uint16Array.of(1, 2)]) {
      throws(() => read(ids, ids.length - 1, 2), { name: "RangeError", message: /must be read from 0 to/ });
      throws(() => read(ids, -1, 1), RangeError);
    }
    throws(() => read(range, 2396, 2), RangeError);
    await Deno.truncate(paths[3], 100);
    throws(() => read(files, 2400, 50), { name: "RangeError", message: /become shorter/ });
  });
});

Deno.test("TokenFiles refuses a torn file and a missing one", async () => {
  await withFiles(async (paths, width) => {
    await rejects(TokenFiles.open([...paths, `${paths[0]}.none`], width), Deno.errors.NotFound);
    await Deno.writeFile(paths[1], new Uint8Array(width * 10 + 1));
    await rejects(TokenFiles.open(paths, width), { name: "RangeError", message: /-1\.bin" has \d+ bytes/ });
  });
});

Deno.test("bytesPerToken() is 2 up to a vocabulary of 65,536", () => {
  deepEqual([1, 65536, 65537].map(bytesPerToken), [2, 2, 4]);
});
