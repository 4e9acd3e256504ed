import { deepEqual, ok } from "node:assert/strict";
import { later, Random } from "../../tests/random_text.ts";
import type { Document } from "../document.ts";
import { mixDocuments, type MixedSource, type SourceShare } from "./mix.ts";

/** Documents of random lengths, some in parts. */
function documents(name: string, count: number, random: Random): Document[] {
  return Array.from({ length: count }, (_, i) => {
    const parts = random.below(4) === 0 ? 3 : 1;
    return Array.from({ length: parts }, (_, part) => {
      return { name: `${name}:${i}`, text: "é".repeat(1 + random.below(50)), part };
    });
  }).flat();
}

async function mix(sources: MixedSource[]): Promise<{ documents: Document[]; shares: SourceShare[] }> {
  const mixed = mixDocuments(sources);
  const documents: Document[] = [];
  for (;;) {
    const { done, value } = await mixed.next();
    if (done) return { documents, shares: value };
    documents.push(value);
  }
}

Deno.test("mixDocuments() keeps the shares at every moment, and documents and their order whole", async () => {
  for (let seed = 0; seed < 40; seed++) {
    const random = new Random(seed);
    const inputs = Array.from({ length: 2 + random.below(3) }, (_, i) => {
      const name = "abcd"[i];
      return { name, weight: 1 + random.below(9), all: documents(name, 20 + random.below(60), random) };
    });
    const sources = () => inputs.map(({ name, weight, all }) => ({ name, weight, documents: later(all) }));
    const { documents: mixed, shares } = await mix(sources());
    deepEqual((await mix(sources())).documents, mixed);
    const total = inputs.reduce((sum, { weight }) => sum + weight, 0);
    const taken = new Map(inputs.map(({ name }) => [name, 0]));
    let last: Document | undefined;
    for (const document of mixed) {
      ok(document.part === 0 || (last?.name === document.name && last.part === document.part - 1));
      last = document;
      const name = document.name[0];
      taken.set(name, taken.get(name)! + 2 * document.text.length);
      const sum = [...taken.values()].reduce((a, b) => a + b);
      for (const { name, weight } of inputs) {
        // No source is off by more than one document of at most 3 parts of 100 bytes for each source.
        ok(Math.abs(taken.get(name)! - sum * weight / total) <= 300 * inputs.length, `seed ${seed}`);
      }
    }
    ok(shares.some(({ exhausted }) => exhausted));
    for (const { name, documents, bytes, exhausted } of shares) {
      const own = mixed.filter((d) => d.name[0] === name);
      const all = inputs.find((input) => input.name === name)!.all;
      deepEqual(own, all.slice(0, own.length));
      deepEqual(exhausted, own.length === all.length);
      deepEqual([documents, bytes], [own.filter((d) => d.part === 0).length, taken.get(name)]);
    }
  }
});

Deno.test("mixDocuments() closes what it reads when no more is wanted", async () => {
  const closed: string[] = [];
  const endless = async function* (name: string) {
    try {
      for (;;) yield await Promise.resolve({ name, text: "x", part: 0 });
    } finally {
      closed.push(name);
    }
  };
  const sources = ["a", "b"].map((name) => ({ name, weight: 1, documents: endless(name) }));
  let count = 0;
  for await (const _ of mixDocuments(sources)) if (++count === 5) break;
  deepEqual(closed, ["a", "b"]);
});
