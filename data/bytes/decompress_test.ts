import { deepEqual, equal, rejects } from "node:assert/strict";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import { later, Random } from "../../tests/random_text.ts";
import { type Bytes, joined } from "./byte_source.ts";
import { type Compression, decompress, sniffCompression } from "./decompress.ts";

const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } };
const compressors: Record<Compression, (bytes: Bytes, random: Random) => Bytes> = {
  gz: (bytes) => new Uint8Array(gzipSync(bytes)),
  zst: (bytes, random) => new Uint8Array(zstdCompressSync(bytes, random.below(2) === 0 ? checked : {})),
};
const kinds = Object.keys(compressors) as Compression[];

async function expand(bytes: Bytes, kind: Compression, random: Random): Promise<Bytes> {
  const pieces = later(random.pieces(bytes, random.of([3, 100, 70000])));
  return joined(await Array.fromAsync(decompress(pieces, kind, "x")));
}

/** Bytes that compress a little: with repetitions, near and far. */
function someBytes(random: Random): Bytes {
  const words = Array.from({ length: 40 }, () => random.text(6));
  const length = random.of([0, 1, 300, 40000]);
  return new TextEncoder().encode(Array.from({ length }, () => random.of(words)).join(" "));
}

for (const kind of kinds) {
  Deno.test(`decompress() gives back what was compressed as .${kind}, also in several members`, async () => {
    for (let seed = 0; seed < 24; seed++) {
      const random = new Random(seed);
      const members = Array.from({ length: 1 + random.below(3) }, () => someBytes(random));
      const packed = members.map((bytes) => compressors[kind](bytes, random));
      deepEqual(await expand(joined(packed), kind, random), joined(members), `seed ${seed}`);
    }
  });

  Deno.test(`decompress() finds every cut and every damage to a checked .${kind}`, async () => {
    const text = new TextEncoder().encode(new Random(1).text(3000));
    const whole = kind === "gz"
      ? new Uint8Array(gzipSync(text))
      : new Uint8Array(zstdCompressSync(text, checked));
    for (let seed = 0; seed < 80; seed++) {
      const random = new Random(seed);
      const length = random.below(whole.length - 1) + 1;
      await rejects(expand(whole.slice(0, length), kind, random), {
        name: "SyntaxError",
        message: /^Cannot read "x" as (gzip|Zstandard): .*; fetch it again$/,
      });
      const damaged = whole.slice();
      // The header's time and system in gzip, and the window's size in Zstandard, may be anything.
      damaged[10 + random.below(whole.length - 10)] ^= 1 << random.below(8);
      await rejects(expand(damaged, kind, random), /^SyntaxError: Cannot read "x"/, `seed ${seed}`);
    }
    await rejects(expand(whole.slice(0, 100), kind, new Random(0)), /it is cut short: .* after 100 bytes/);
    await rejects(expand(text, kind, new Random(0)), /Cannot read "x" as/);
    await rejects(
      expand(joined([whole, text]), kind, new Random(0)),
      SyntaxError,
    );
  });
}

Deno.test("decompress() skips Zstandard's skippable frames, and refuses windows beyond 128 MiB", async () => {
  const random = new Random(0);
  const frame = new Uint8Array(zstdCompressSync(new TextEncoder().encode("hello")));
  const skippable = new Uint8Array([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  const all = joined([skippable, frame, skippable]);
  equal(new TextDecoder().decode(await expand(all, "zst", random)), "hello");
  const wide = new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0]);
  await rejects(expand(wide, "zst", random), { name: "RangeError", message: /at most 128 MiB, got 256 MiB/ });
});

Deno.test("decompress() passes on what its source throws", async () => {
  for (const kind of kinds) {
    const source = async function* () {
      yield compressors[kind](new TextEncoder().encode("hello"), new Random(0)).subarray(0, 8);
      await Promise.resolve();
      throw new Deno.errors.ConnectionReset("broke off");
    };
    await rejects(Array.fromAsync(decompress(source(), kind, "x")), Deno.errors.ConnectionReset);
  }
});

Deno.test("sniffCompression() tells compressions by their first bytes and loses none", async () => {
  for (const kind of [null, ...kinds]) {
    const random = new Random(3);
    const plain = new TextEncoder().encode("hello");
    const bytes = kind === null ? plain : compressors[kind](plain, random);
    const sniffed = await sniffCompression(later(random.pieces(bytes, 2)));
    equal(sniffed.compression, kind);
    deepEqual(joined(await Array.fromAsync(sniffed.bytes)), bytes);
  }
});
