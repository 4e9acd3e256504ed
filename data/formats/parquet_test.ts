import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { brotliCompressSync, gzipSync, zstdCompressSync } from "node:zlib";
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

/** Thrift's compact protocol: integers by their width, bytes, lists of one of these, and structures. */
type Thrift = { i32: number } | { i64: number } | string | Thrift[] | { [field: `${number}`]: Thrift };

function varint(value: number): number[] {
  return value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))];
}

function thrift(value: Thrift): { type: number; bytes: number[] } {
  if (typeof value === "string") return { type: 8, bytes: [...varint(value.length), ...Buffer.from(value)] };
  if ("i32" in value) return { type: 5, bytes: varint(2 * (value.i32 as number)) };
  if ("i64" in value) return { type: 6, bytes: varint(2 * (value.i64 as number)) };
  if (Array.isArray(value)) {
    const elements = value.map(thrift);
    return {
      type: 9,
      bytes: [elements.length << 4 | elements[0].type, ...elements.flatMap(({ bytes }) => bytes)],
    };
  }
  const fields = Object.entries(value).flatMap(([id, field]) => {
    const { type, bytes } = thrift(field);
    return [type, ...varint(2 * Number(id)), ...bytes];
  });
  return { type: 12, bytes: [...fields, 0] };
}

/** What a small file says of itself; whatever is not given is true. */
interface Claims {
  codec?: number;
  /** What is in the page, compressed. */
  data?: Uint8Array;
  /** The page's size decompressed and its number of values, in its header. */
  size?: number;
  values?: number;
  isDictionary?: boolean;
  /** The size of all pages decompressed and in the file and the number of rows, in the footer. */
  allSize?: number;
  compressedSize?: number;
  rows?: number;
  /** The bytes of another footer. */
  footer?: number[];
}

/** A file of one page with the texts "one" and "two". */
function claiming(claims: Claims): ByteRanges {
  const plain = new Uint8Array([3, 0, 0, 0, ...Buffer.from("one"), 3, 0, 0, 0, ...Buffer.from("two")]);
  const { codec = 0, data = plain, size = plain.length, values = 2, rows = 2, allSize = 100 } = claims;
  const page: Thrift = {
    1: { i32: claims.isDictionary ? 2 : 0 },
    2: { i32: size },
    3: { i32: data.length },
    [claims.isDictionary ? 7 : 5]: { 1: { i32: values }, 2: { i32: 0 }, 3: { i32: 3 }, 4: { i32: 3 } },
  };
  const chunk = [...thrift(page).bytes, ...data];
  const column: Thrift = {
    1: { i32: 6 },
    2: [{ i32: 0 }],
    3: ["text"],
    4: { i32: codec },
    5: { i64: rows },
    6: { i64: allSize },
    7: { i64: claims.compressedSize ?? chunk.length },
    9: { i64: 4 },
  };
  const metadata: Thrift = {
    1: { i32: 1 },
    2: [{ 4: "schema", 5: { i32: 1 } }, { 1: { i32: 6 }, 3: { i32: 0 }, 4: "text" }],
    3: { i64: rows },
    4: [{ 1: [{ 2: { i64: 4 }, 3: column }], 2: { i64: allSize }, 3: { i64: rows } }],
  };
  const footer = claims.footer ?? thrift(metadata).bytes;
  const length = new Uint8Array(Uint32Array.of(footer.length).buffer);
  const mark = Buffer.from("PAR1");
  return counted(new Uint8Array([...mark, ...chunk, ...footer, ...length, ...mark]).buffer).file;
}

Deno.test("readParquet() believes no header that asks for more than the footer says", async () => {
  deepEqual(await values(claiming({})), ["one", "two"]);
  const zeros = new Uint8Array(1 << 22);
  const most = 2 ** 31 - 1;
  const hostile: [Claims, RegExp][] = [
    [{ codec: 2, data: gzipSync(zeros.subarray(0, 99)), size: most }, /the 100 bytes that its footer says/],
    [{ codec: 1, size: most }, /the 100 bytes that its footer says/],
    [{ codec: 6, data: zstdCompressSync(zeros) }, /holds more than the 14 bytes that its header says/],
    [{ codec: 4, data: brotliCompressSync(zeros) }, /holds more than the 14 bytes that its header says/],
    [{ values: most }, /the 2 rows that its footer says/],
    [{ isDictionary: true, values: most }, /a dictionary has 2147483647 values in 14 bytes/],
    [{ compressedSize: 2 ** 45 }, /has no part from byte 4 to 35184372088836/],
    [{ rows: 2 ** 24, values: 2 }, /have 2 of the 16777216 rows that its footer says/],
    // A list of lists, each of 32 Mi elements.
    [
      { footer: [9, 4, ...Array(60).fill([0xf9, ...varint(1 << 25)]).flat()] },
      /a list of 33554432 elements in/,
    ],
    [{ footer: [12, 2, ...Array(60).fill([12, 2]).flat()] }, /nested too deeply/],
  ];
  for (const [claims, message] of hostile) {
    await rejects(
      values(claiming(claims)),
      { name: "SyntaxError", message },
      JSON.stringify(claims).slice(0, 80),
    );
  }
  await rejects(values(claiming({ rows: 2 ** 40 })), {
    name: "RangeError",
    message: /at most 33554432 rows/,
  });
});
