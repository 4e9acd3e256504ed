import { equal, match, ok, rejects, throws } from "node:assert/strict";
import { later, Random } from "../../tests/random_text.ts";
import { checkEncoding, decodeText, firstInvalidUtf8 } from "./decode.ts";

const encoder = new TextEncoder();
const bytes = (...values: number[]) => new Uint8Array(values);

async function decode(pieces: Iterable<Uint8Array<ArrayBuffer>>, encoding?: string): Promise<string> {
  return (await Array.fromAsync(decodeText(later(pieces), { name: "x", encoding }))).join("");
}

Deno.test("decodeText() gives the same text however the bytes are cut", async () => {
  for (let seed = 0; seed < 60; seed++) {
    const random = new Random(seed);
    const text = "a" + random.text(1 + random.below(400));
    equal(await decode(random.pieces(encoder.encode(text), 1 + random.below(9))), text, `seed ${seed}`);
    const units = Uint16Array.from({ length: text.length }, (_, i) => text.charCodeAt(i));
    const utf16 = new Uint8Array(units.buffer);
    equal(await decode(random.pieces(utf16, 1 + random.below(9)), "utf-16le"), text, `seed ${seed}`);
  }
});

Deno.test("decodeText() names the offset of the first bad byte of UTF-8, however the bytes are cut", async () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    const data = encoder.encode("a" + random.text(60));
    // A byte that is changed, or a cut at any place.
    const damaged = random.below(2) === 0 ? data.slice(0, 1 + random.below(data.length)) : data.slice();
    if (damaged.length === data.length) {
      damaged[random.below(data.length)] = random.of([0xff, 0xc0, 0x80, 0xe2, 0xf4]);
    }
    const bad = firstInvalidUtf8(damaged);
    const result = await decode(random.pieces(damaged, 1 + random.below(7))).then(() => -1, (error) => {
      ok(error instanceof SyntaxError);
      match(error.message, /"x" has an invalid byte at offset \d+;/);
      return Number(/offset (\d+);/.exec(error.message)![1]);
    });
    equal(result, bad, `seed ${seed}`);
  }
});

Deno.test("decodeText() removes a byte order mark at the beginning alone, and knows other encodings", async () => {
  equal(await decode([bytes(0xef, 0xbb), bytes(0xbf, 0x61, 0xef, 0xbb, 0xbf)]), "a\ufeff");
  equal(await decode([bytes(0xff), bytes(0xfe, 0x61, 0x00)], "utf-16le"), "a");
  equal(await decode([bytes(0xe9, 0x80)], "latin1"), "é€");
  equal(await decode([bytes(0x83), bytes(0x65)], "shift_jis"), "テ");
  equal(await decode([]), "");
});

Deno.test("decodeText() says what to do about other encodings", async () => {
  await rejects(decode([bytes(0xff, 0xfe, 0x61, 0x00)]), /name the encoding utf-16le/);
  await rejects(
    decode([bytes(0x61, 0xe9, 0x20)]),
    /offset 1; convert it, or name its encoding, for example latin1/,
  );
  await rejects(
    decode([bytes(0x61, 0x83, 0x65, 0xfd)], "shift_jis"),
    /near offset 3 that shift_jis does not allow/,
  );
  throws(() => checkEncoding("klingon"), /must be one that TextDecoder knows.*"klingon"/);
});

Deno.test("firstInvalidUtf8() agrees with the platform's decoder", () => {
  const sequences: number[][] = [
    [0xc0, 0x80],
    [0xe0, 0x80, 0x80],
    [0xed, 0xa0, 0x80],
    [0xf0, 0x80, 0x80, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xf5, 0x80, 0x80, 0x80],
    [0xe2, 0x82],
    [0x80],
    [0xf0, 0x9f, 0x98, 0x80],
    [0xed, 0x9f, 0xbf],
    [0xf4, 0x8f, 0xbf, 0xbf],
  ];
  for (const sequence of sequences) {
    const data = bytes(0x61, ...sequence);
    let valid = true;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(data);
    } catch {
      valid = false;
    }
    equal(firstInvalidUtf8(data), valid ? -1 : 1, sequence.join(" "));
  }
});
