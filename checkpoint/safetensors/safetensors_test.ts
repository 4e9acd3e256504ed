import assert from "node:assert/strict";
import { join } from "node:path";
import independent from "npm:safetensors@0.0.1";
import { fromFloat32 } from "./float_formats.ts";
import {
  encodeSafetensors,
  parseSafetensors,
  readSafetensors,
  SAFETENSORS_DTYPES,
  tensorBytes,
  type TensorToWrite,
  writeSafetensors,
} from "./safetensors.ts";
import { inTempDir } from "../../tests/temporary_files.ts";

interface GoldenRow {
  name: string;
  base64: string;
  valid: boolean;
  tensors?: Record<string, { dtype: string; shape: number[]; bytes: string }>;
}

const GOLDEN = new URL("../../tests/golden/safetensors.json", import.meta.url);

/** A safetensors file with this header, as text or bytes, and data. */
function file(header: string | Uint8Array, data: Uint8Array = new Uint8Array()): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

const f32 = (name: string, shape: number[], values: number[]): TensorToWrite => ({
  name,
  dtype: "F32",
  shape,
  data: fromFloat32("F32", Float32Array.from(values)),
});

Deno.test("parseSafetensors() gives the Rust reference's verdict and contents on every golden file", async () => {
  const rows: GoldenRow[] = JSON.parse(await Deno.readTextFile(GOLDEN));
  assert.equal(rows.length, 33);
  for (const row of rows) {
    const bytes = Uint8Array.fromBase64(row.base64);
    if (!row.valid) {
      assert.throws(() => parseSafetensors(bytes), SyntaxError, row.name);
      continue;
    }
    const { tensors } = parseSafetensors(bytes);
    const expected = Object.entries(row.tensors!);
    assert.equal(tensors.size, expected.length, row.name);
    for (const [name, { dtype, shape, bytes }] of expected) {
      const tensor = tensors.get(name);
      assert.deepEqual(
        { dtype: tensor?.dtype, shape: tensor?.shape },
        { dtype, shape },
        `${row.name} ${name}`,
      );
      assert.equal(tensor?.data.toBase64(), bytes, `${row.name} ${name}`);
    }
  }
});

Deno.test("parseSafetensors() follows the reference on spellings that golden files do not have", () => {
  const one = Uint8Array.of(7);
  const info = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
  const valid: [string, Uint8Array?][] = [
    [`\n {"a":${info}}\r\n\t`, one],
    [`{"":${info}}`, one],
    [`{"\\u0000":${info}}`, one],
    ['{"a":["U8",[1],[0,1]]}', one],
    ['{"a":{"dtype":{"U8":null},"shape":[1],"data_offsets":[0,1]}}', one],
    ['{"a":{"dtype":"\\u00558","shape":[1],"data_offsets":[0,1],"more":[{"x":1e308}]}}', one],
    ['{"__metadata__":null}'],
    ['{"__metad\\u0061ta__":{"a":"b"}}'],
    ['{"a":{"dtype":"U8","shape":[0,1099511627776,1099511627776],"data_offsets":[0,0]}}'],
    [`{"a":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},"b":${info}}`, one],
    ['{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', one],
  ];
  for (const [header, data] of valid) parseSafetensors(file(header, data));
  const invalid: [string, Uint8Array?][] = [
    [""],
    ["null"],
    ["\ufeff{}"],
    ["{}\0"],
    ['{"__metadata__":{},"__metad\\u0061ta__":{}}'],
    ['{"__metadata__":[]}'],
    ['{"__metadata__":{"a":null}}'],
    ['{"a":null}'],
    ['{"a":["U8",[1],[0,1],1]}', one],
    ['{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}', one],
    ['{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'],
    ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}', one],
    ['{"a":{"dtype":"U8","shape":[1],"data_offsets":{"0":0,"1":1}}}', one],
    ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1e400}}', one],
    ['{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":"\\ud800"}}', one],
    ['{"a":{"dtype":4,"shape":[1],"data_offsets":[0,1]}}', one],
    ['{"a":{"dtype":"U8","shape":[1099511627776,1099511627776,0],"data_offsets":[0,0]}}'],
    ['{"a":{"dtype":"U8","shape":[18446744073709551616,0],"data_offsets":[0,0]}}'],
    ['{"a":{"dtype":"F64","shape":[9007199254740991],"data_offsets":[0,0]}}'],
    [`{"a":{"dtype":"U8","shape":[0],"data_offsets":[5,5]},"b":${info}}`, one],
    ['{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}', one],
    ['{"a":{"dtype":"toString","shape":[1],"data_offsets":[0,1]}}', one],
  ];
  for (const [header, data] of invalid) {
    assert.throws(() => parseSafetensors(file(header, data)), SyntaxError, header);
  }
  for (const bytes of [[0x7b, 0x22, 0xc0, 0x80, 0x22, 0x7d], [0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x7d]]) {
    assert.throws(() => parseSafetensors(file(Uint8Array.from(bytes))), /SyntaxError: .*must be UTF-8/);
  }
});

Deno.test("parseSafetensors() rejects repeated keys and sizes beyond 2^53 - 1, unlike the reference", () => {
  const info = '{"dtype":"U8","shape":[1],"data_offsets":[0,1]}';
  const one = Uint8Array.of(7);
  for (const header of [`{"a":${info},"a":${info}}`, '{"__metadata__":{"a":"1","a":"2"}}']) {
    assert.throws(() => parseSafetensors(file(header, one)), /SyntaxError: .*must not be repeated/);
  }
  const large = '{"a":{"dtype":"U8","shape":[9007199254740992,0],"data_offsets":[0,0]}}';
  assert.throws(
    () => parseSafetensors(file(large)),
    /SyntaxError: .*from 0 to 2\^53 - 1, got 9007199254740992/,
  );
});

Deno.test("parseSafetensors() keeps every cut of a file from passing for a whole one", async () => {
  const bytes = await encodeSafetensors([f32("a", [3], [1, 2, 3]), f32("b", [], [4])], { format: "pt" });
  parseSafetensors(bytes);
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => parseSafetensors(bytes.subarray(0, length)), SyntaxError, `cut to ${length}`);
  }
});

Deno.test("encodeSafetensors() orders by falling alignment and then by UTF-8 name, in a padded header", async () => {
  const tensors = SAFETENSORS_DTYPES.map((dtype): TensorToWrite => {
    return { name: `x${dtype}`, dtype, shape: [8], data: new Uint8Array(tensorBytes(dtype, [8])) };
  });
  for (const name of ["😀", "\uffff", "é", "a"]) {
    tensors.push({ name, dtype: "U64", shape: [0], data: new Uint8Array() });
  }
  const bytes = await encodeSafetensors(tensors, { b: "2", a: "1" });
  const { tensors: found, metadata } = parseSafetensors(bytes);
  const byName = ["a", "xU64", "é", "\uffff", "😀"];
  const text = new TextDecoder().decode(bytes);
  const positions = byName.map((name) => text.indexOf(`"${name}"`));
  assert.deepEqual(positions, [...positions].sort((a, b) => a - b));
  const rest = [...found.keys()].filter((name) => name.startsWith("x"));
  assert.deepEqual(rest, SAFETENSORS_DTYPES.map((dtype) => `x${dtype}`).reverse());
  assert.deepEqual([...metadata], [["a", "1"], ["b", "2"]]);
  assert.equal(new DataView(bytes.buffer).getBigUint64(0, true) % 8n, 0n);
});

Deno.test("encodeSafetensors() writes these exact bytes", async () => {
  const bytes = await encodeSafetensors([f32("b", [1], [2]), f32("a", [], [1])], { format: "pt" });
  const header = '{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},' +
    '"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}';
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
  assert.deepEqual(bytes, file(padded, new Uint8Array(Float32Array.of(1, 2).buffer)));
  assert.deepEqual(await encodeSafetensors([]), file("{}      "));
});

Deno.test("an independent reader finds what encodeSafetensors() wrote", async () => {
  const bytes = await encodeSafetensors([f32("wte.weight", [2, 2], [1, 2, 3, 4]), f32("__proto_", [1], [5])]);
  const other = new independent.SafeTensor(bytes);
  assert.deepEqual(other.metadata.get("wte.weight")?.shape, [2, 2]);
  for (const [name, { dtype, shape, data }] of parseSafetensors(bytes).tensors) {
    assert.deepEqual(other.getTensor(name), data);
    assert.equal(other.metadata.get(name)?.dtype, dtype);
    assert.deepEqual(other.metadata.get(name)?.shape, shape);
  }
});

Deno.test("a tensor named __proto__ is written and read like any other", async () => {
  const { tensors } = parseSafetensors(
    await encodeSafetensors([f32("__proto__", [1], [5]), f32("a", [1], [6])]),
  );
  assert.deepEqual([...tensors.keys()], ["__proto__", "a"]);
  assert.deepEqual(tensors.get("__proto__")?.data, new Uint8Array(Float32Array.of(5).buffer));
});

Deno.test("encodeSafetensors() rejects bad names, shapes, dtypes, metadata and data", async () => {
  const data = new Uint8Array(4);
  const attempt = (tensor: Partial<TensorToWrite>, metadata?: Record<string, string>) =>
    encodeSafetensors([{ name: "a", dtype: "F32", shape: [1], data, ...tensor }], metadata);
  await assert.rejects(
    encodeSafetensors([f32("a", [1], [1]), f32("a", [1], [1])]),
    /TypeError: .*name of its own/,
  );
  await assert.rejects(attempt({ name: "__metadata__" }), /TypeError: .*other than __metadata__/);
  await assert.rejects(attempt({ name: "\ud800" }), /TypeError: .*well-formed Unicode/);
  await assert.rejects(attempt({ shape: [-1] }), /RangeError: .*whole numbers from 0.*got \[-1\]/);
  await assert.rejects(attempt({ shape: [0.5] }), RangeError);
  await assert.rejects(attempt({ shape: [2 ** 40, 2 ** 40, 0] }), /RangeError: .*overflow/);
  await assert.rejects(attempt({ dtype: "F12" as "F32" }), /RangeError: .*must be one of BOOL.*got F12/);
  await assert.rejects(attempt({ shape: [2] }), /RangeError: .*"a" must have the 8 bytes.*got 4/);
  await assert.rejects(attempt({}, { n: 1 as unknown as string }), /TypeError: .*metadata "n" must be text/);
});

Deno.test("writeSafetensors() streams to a file that readSafetensors() reads tensor by tensor", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "model.safetensors");
    const order: string[] = [];
    const lazy = (tensor: TensorToWrite): TensorToWrite => ({
      ...tensor,
      data: async () => {
        order.push(tensor.name);
        return await tensor.data as Uint8Array;
      },
    });
    const half = fromFloat32("F16", Float32Array.of(0.5, -2));
    const brain = fromFloat32("BF16", Float32Array.of(3, 1));
    const tensors = async function* () {
      yield lazy({ name: "h", dtype: "F16", shape: [2], data: half });
      yield lazy(f32("b", [2, 1], [1, 2]));
      yield await Promise.resolve(lazy(f32("a", [0, 3], [])));
      yield lazy({ name: "i", dtype: "I64", shape: [1], data: new Uint8Array(8) });
      yield lazy({ name: "w", dtype: "BF16", shape: [2], data: brain });
    };
    await writeSafetensors(path, tensors(), { format: "pt" });
    assert.deepEqual(order, ["i", "a", "b", "w", "h"]);
    assert.deepEqual(
      await Deno.readFile(path),
      await encodeSafetensors(await Array.fromAsync(tensors()), { format: "pt" }),
    );

    using file = await readSafetensors(path);
    assert.equal(file.metadata.get("format"), "pt");
    assert.deepEqual(file.tensors.get("b"), { dtype: "F32", shape: [2, 1], byteOffset: 8, byteLength: 8 });
    const all = await Promise.all(["w", "h", "b", "a"].map((name) => file.readF32(name)));
    assert.deepEqual(all, [[3, 1], [0.5, -2], [1, 2], []].map((values) => Float32Array.from(values)));
    assert.deepEqual(await file.read("h"), half);
    await assert.rejects(file.readF32("i"), /TypeError: .*"i".*must be F32, F16 or BF16, got I64/);
    await assert.rejects(file.read("toString"), /RangeError: .*"toString".*one of the file's 5 tensors/);
    file.close();
    await assert.rejects(file.read("b"), /BadResource: .*closed/);
  }));

Deno.test("writeSafetensors() that fails leaves the old file and nothing else", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "a.safetensors");
    await writeSafetensors(path, [f32("a", [1], [1])]);
    const before = await Deno.readFile(path);
    const broken = { ...f32("b", [1], [1]), data: () => Promise.reject(new Error("the device is lost")) };
    await assert.rejects(writeSafetensors(path, [f32("a", [1], [2]), broken]), /the device is lost/);
    await assert.rejects(writeSafetensors(path, [{ ...f32("a", [2], [1, 2]), shape: [1] }]), RangeError);
    assert.deepEqual(await Deno.readFile(path), before);
    await assert.rejects(writeSafetensors(join(dir, "none", "a"), []), Deno.errors.NotFound);
    await assert.rejects(writeSafetensors(join(path, "a"), []), /Cannot write .*/);
    assert.deepEqual((await Array.fromAsync(Deno.readDir(dir))).map(({ name }) => name), ["a.safetensors"]);
  }));

Deno.test("readSafetensors() says which file is missing, cut short or no safetensors file", () =>
  inTempDir(async (dir) => {
    const path = join(dir, "a.safetensors");
    await assert.rejects(readSafetensors(path), (error: Error) => {
      assert.ok(error instanceof Deno.errors.NotFound);
      assert.ok(error.message.includes(path));
      return true;
    });
    await assert.rejects(readSafetensors(dir), /must be a file, got a folder/);
    const bytes = await encodeSafetensors([f32("a", [2], [1, 2])]);
    for (
      const [content, message] of [
        [
          bytes.subarray(0, bytes.length - 1),
          /SyntaxError: .*a\.safetensors: .*must take 8 bytes, got 7: it was cut short/,
        ],
        [bytes.subarray(0, 20), /SyntaxError: .*a\.safetensors: .*header must end within the file/],
        [new Uint8Array(), /SyntaxError: .*a\.safetensors: .*8-byte header length, got 0/],
        [
          new TextEncoder().encode("<!DOCTYPE html>"),
          /SyntaxError: .*a\.safetensors: .*must not exceed 100000000/,
        ],
      ] as const
    ) {
      await Deno.writeFile(path, content);
      await assert.rejects(readSafetensors(path), message);
    }
  }));
