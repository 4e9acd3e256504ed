import assert from "node:assert/strict";
import { type FloatFormat, fromFloat32, takeFloat32, toFloat32 } from "./float_formats.ts";

/** The bits of a format's values, one integer per value. */
function bits(format: FloatFormat, bytes: Uint8Array): number[] {
  const size = format === "F32" ? 4 : 2;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from(
    { length: bytes.length / size },
    (_, i) => size === 4 ? view.getUint32(4 * i, true) : view.getUint16(2 * i, true),
  );
}

function fromBits(words: number[]): Float32Array {
  return new Float32Array(Uint32Array.from(words).buffer);
}

Deno.test("every F16 and BF16 value survives widening and narrowing", () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const bytes = new Uint8Array(halves.buffer);
  for (const [format, exponent] of [["F16", 0x7c00], ["BF16", 0x7f80]] as const) {
    const widened = toFloat32(format, bytes);
    const back = bits(format, fromFloat32(format, widened));
    for (let i = 0; i < 65536; i++) {
      if ((i & 0x7fff) > exponent) {
        assert.ok(Number.isNaN(widened[i]), `${format} ${i} is a NaN`);
        assert.ok((back[i] & 0x7fff) > exponent, `${format} ${i} stays a NaN`);
      } else assert.equal(back[i], i, `${format} ${i.toString(16)}`);
    }
  }
});

Deno.test("toFloat32() widens known F16 and BF16 values exactly", () => {
  const f16 = new Uint8Array(Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7bff, 0x7c00, 0x8000).buffer);
  assert.deepEqual(toFloat32("F16", f16), Float32Array.of(1, -2, 2 ** -24, 65504, Infinity, -0));
  const bf16 = new Uint8Array(Uint16Array.of(0x3f80, 0xc000, 0x0001, 0x7f7f, 0xff80, 0x8000).buffer);
  assert.deepEqual(toFloat32("BF16", bf16), Float32Array.of(1, -2, 2 ** -133, 255 * 2 ** 120, -Infinity, -0));
});

Deno.test("fromFloat32() rounds BF16 to nearest, ties to even", () => {
  const cases = [
    [0x3f808000, 0x3f80], // halfway, even below
    [0x3f818000, 0x3f82], // halfway, even above
    [0x3f808001, 0x3f81], // just above halfway
    [0x3f807fff, 0x3f80], // just below
    [0x7f7fffff, 0x7f80], // the largest float rounds to infinity
    [0xff7fffff, 0xff80],
    [0x00008000, 0x0000], // subnormal ties
    [0x00018000, 0x0002],
    [0x7f800001, 0x7fc0], // a NaN whose payload is in the cut bits
    [0xffffffff, 0xffff],
  ];
  const values = fromBits(cases.map(([word]) => word));
  assert.deepEqual(bits("BF16", fromFloat32("BF16", values)), cases.map(([, half]) => half));
});

Deno.test("fromFloat32() rounds F16 to nearest, ties to even, with subnormals and overflow", () => {
  const values = Float32Array.of(
    2049,
    2051,
    65519.996,
    65520,
    -65520,
    2 ** -25,
    2 ** -25 * 1.5,
    2 ** -24,
    -0,
  );
  const halves = [0x6800, 0x6802, 0x7bff, 0x7c00, 0xfc00, 0x0000, 0x0001, 0x0001, 0x8000];
  assert.deepEqual(bits("F16", fromFloat32("F16", values)), halves);
});

Deno.test("F32 values keep their bits, at any alignment", () => {
  const words = [0x3f800000, 0x7fc00001, 0xff800000, 0x00000001, 0x80000000];
  const bytes = fromFloat32("F32", fromBits(words));
  assert.deepEqual(bits("F32", bytes), words);
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  assert.deepEqual(bits("F32", fromFloat32("F32", toFloat32("F32", shifted.subarray(1)))), words);
  const part = fromBits(words).subarray(1, 3);
  assert.deepEqual(bits("F32", fromFloat32("F32", part)), words.slice(1, 3));
  assert.equal(bits("BF16", fromFloat32("BF16", part)).length, 2);
});

Deno.test("toFloat32() copies and takeFloat32() does not", () => {
  const bytes = new Uint8Array(8);
  assert.notEqual(toFloat32("F32", bytes).buffer, bytes.buffer);
  assert.equal(takeFloat32("F32", bytes).buffer, bytes.buffer);
});

Deno.test("toFloat32() rejects bytes that are no whole number of values", () => {
  assert.throws(() => toFloat32("F32", new Uint8Array(6)), /RangeError: .*a multiple of 4, got 6/);
  assert.throws(() => toFloat32("BF16", new Uint8Array(3)), /RangeError: .*a multiple of 2, got 3/);
});
