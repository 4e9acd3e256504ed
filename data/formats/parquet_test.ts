import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { join } from "node:path";
import { parquetWriteBuffer } from "npm:hyparquet-writer@0.17.0";
import { goldenPath } from "../../tests/golden.ts";
import { withFiles } from "../../tests/temporary_files.ts";
import { type ByteRanges, FileSource } from "../bytes/byte_source.ts";
import { readParquet } from "./parquet.ts";

const golden = goldenPath("parquet")!;

async function values(file: ByteRanges, textField = "text"): Promise<unknown[]> {
  const rows = await Array.fromAsync(readParquet(file, { name: "x", textField }));
  deepEqual(rows.map(({ position }) => position), rows.map((_, i) => i + 1));
  return rows.map(({ value }) => value);
}

/** A file in memory that counts how much of it is read at a time. */
function counted(buffer: ArrayBuffer): { file: ByteRanges; reads: number[] } {
  const reads: number[] = [];
  const slice = (start: number, end = buffer.byteLength) => {
    reads.push(end - start);
    return Promise.resolve(buffer.slice(start, end));
  };
  return { file: { byteLength: buffer.byteLength, slice, [Symbol.dispose]: () => {} }, reads };
}

Deno.test("readParquet() reads what pyarrow writes, in every compression and layout", async () => {
  const expected = JSON.parse(await Deno.readTextFile(join(golden, "expected.json")));
  const files = [...Deno.readDirSync(golden)].map(({ name }) => name).filter((name) =>
    name.endsWith(".parquet") && name !== "list.parquet"
  );
  equal(files.length, 11);
  for (const name of files) {
    using file = await new FileSource(join(golden, name)).openRanges();
    deepEqual(await values(file), expected, name);
  }
});

Deno.test("readParquet() reads one row group at a time, and pages where there is an index of them", async () => {
  const texts = Array.from({ length: 4000 }, (_, i) => `${i} `.repeat(2000).slice(0, 6000));
  const write = (offsetIndex: boolean, rowGroupSize: number) =>
    parquetWriteBuffer({
      columnData: [{ name: "text", data: texts, type: "STRING", offsetIndex }],
      codec: "UNCOMPRESSED",
      rowGroupSize,
    });
  const groups = counted(write(false, 400));
  deepEqual(await values(groups.file), texts);
  ok(Math.max(...groups.reads) < 3e6, `read ${Math.max(...groups.reads)} bytes at once`);
  const pages = counted(write(true, 4000));
  deepEqual(await values(pages.file), texts);
  ok(
    Math.max(...pages.reads) < 20e6,
    `read ${Math.max(...pages.reads)} of ${pages.file.byteLength} bytes at once`,
  );
  ok(pages.reads.reduce((a, b) => a + b) < 1.5 * pages.file.byteLength);
});

Deno.test("readParquet() refuses files without such a column, of another type, and damaged ones", async () => {
  const open = (name: string) => new FileSource(join(golden, name)).openRanges();
  using plain = await open("none.parquet");
  await rejects(values(plain, "body"), {
    name: "RangeError",
    message: 'The text must be in a column "body": "x" has "id", "text"; name the right one as text field',
  });
  await rejects(values(plain, "id"), /must be in a column of strings: "id" of "x" is INT64/);
  using list = await open("list.parquet");
  await rejects(values(list), /must be in a column of strings: "text" of "x" is nested/);

  const whole = await Deno.readFile(join(golden, "zstd.parquet"));
  const damaged = whole.slice();
  damaged.fill(0x55, 1200, 1500);
  const files = { "cut.parquet": whole.slice(0, 2000), "damaged.parquet": damaged, "tiny.parquet": "PAR1" };
  await withFiles(files, async (folder) => {
    for (const name of Object.keys(files)) {
      using file = await new FileSource(`${folder}/${name}`).openRanges();
      await rejects(values(file), {
        name: "SyntaxError",
        message: /^A \.parquet file must be well-formed: "x"/,
      });
    }
  });
});

Deno.test("readParquet() refuses texts that are not UTF-8", async () => {
  const data = [new Uint8Array([0x61]), new Uint8Array([0x61, 0xff])];
  const buffer = parquetWriteBuffer({ columnData: [{ name: "text", data, type: "BYTE_ARRAY" }] });
  await rejects(values(counted(buffer).file), SyntaxError);
});
