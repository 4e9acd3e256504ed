import { deepEqual, equal, notDeepEqual, ok, rejects, throws } from "node:assert/strict";
import {
  Batches,
  type DataCursor,
  permute,
  sequentialBatchCount,
  sequentialBatches,
  type SequentialOptions,
  streamedBatches,
} from "./batches.ts";
import { StepBatches } from "./prefetch.ts";
import { tokenRange } from "./tokens/token_ids.ts";
import { TokenWindow } from "./tokens/window.ts";
import { IGNORED_TARGET } from "../ops/ignored_target.ts";
import { hash32, hashCombine } from "../ops/random.ts";

/** Ids that tell their place. */
const places = (length: number) => Uint32Array.from({ length }, (_, i) => i);

Deno.test("permute() is a permutation for every count and differs by key", () => {
  for (const count of [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000]) {
    for (const key of [0, 1, hash32(7)]) {
      const values = Array.from({ length: count }, (_, i) => permute(i, count, key));
      deepEqual(values.toSorted((a, b) => a - b), Array.from({ length: count }, (_, i) => i));
    }
  }
  const order = (key: number) => Array.from({ length: 100 }, (_, i) => permute(i, 100, key));
  notDeepEqual(order(1), order(2));
  ok(permute(3_999_999_999, 4_000_000_000, 5) < 4_000_000_000);
});

Deno.test("permute() sends every value to every place about equally often", () => {
  const count = 7, keys = 7000;
  const table = Array.from({ length: count }, () => new Array(count).fill(0));
  for (let key = 0; key < keys; key++) {
    for (let i = 0; i < count; i++) table[i][permute(i, count, hash32(key))]++;
  }
  for (const row of table) for (const n of row) ok(n > 700 && n < 1300, `${n} of about 1000`);
});

Deno.test("Batches gives each sequence once per epoch, with batches going on over epochs", () => {
  for (const [length, batchSize, seqLen] of [[101, 3, 10], [100, 4, 9], [12, 5, 11], [2, 3, 1], [50, 7, 3]]) {
    const batches = new Batches(places(length), { batchSize, seqLen, seed: 3 });
    const count = Math.floor((length - 1) / seqLen);
    equal(batches.sequencesPerEpoch, count);
    const starts: number[] = [];
    while (starts.length < 4 * count) {
      const { tokens, targets } = batches.next();
      equal(tokens.length, batchSize * seqLen);
      for (let i = 0; i < tokens.length; i++) {
        equal(targets[i], tokens[i] + 1);
        if (i % seqLen === 0) starts.push(tokens[i]);
        else equal(tokens[i], tokens[i - 1] + 1);
      }
    }
    for (let epoch = 0; epoch < 4; epoch++) {
      const used = starts.slice(epoch * count, (epoch + 1) * count).sort((a, b) => a - b);
      deepEqual(used, Array.from({ length: count }, (_, i) => i * seqLen));
    }
  }
});

Deno.test("Batches has another order in each epoch and for each seed, and the same for the same seed", () => {
  const epoch = (seed: number, skip: number) => {
    const batches = new Batches(places(1001), { batchSize: 100, seqLen: 10, seed });
    for (let i = 0; i < skip; i++) batches.next();
    return [...batches.next().tokens];
  };
  deepEqual(epoch(1, 0), epoch(1, 0));
  notDeepEqual(epoch(1, 0), epoch(1, 1));
  notDeepEqual(epoch(1, 0), epoch(2, 0));
});

Deno.test("Batches continued from a cursor equals Batches uninterrupted", () => {
  const options = { batchSize: 4, seqLen: 5, seed: 9 };
  const whole = new Batches(places(64), options);
  for (let step = 0; step < 20; step++) {
    const cursor = JSON.parse(JSON.stringify(whole.cursor));
    const resumed = new Batches(places(64), { ...options, cursor });
    const expected = whole.next();
    deepEqual(resumed.next(), expected);
    deepEqual(resumed.cursor, whole.cursor);
  }
  ok(whole.cursor.epoch > 5);
});

/** The sequences of so many batches, each by its first id divided by the sequence length. */
function sequencesOf(batches: Batches, steps: number, seqLen: number): number[] {
  return Array.from({ length: steps }, () => {
    const { tokens } = batches.next();
    return Array.from({ length: tokens.length / seqLen }, (_, row) => tokens[row * seqLen] / seqLen);
  }).flat();
}

Deno.test("StepBatches and Batches that seek an earlier cursor give what came there, read ahead or not", () => {
  const steps = new StepBatches(new Batches(places(101), { batchSize: 3, seqLen: 4, seed: 1 }), 2);
  steps.next();
  const { cursor } = steps;
  const tokens = () => steps.next().map((batch) => Array.from(batch.tokens));
  const first = [tokens(), tokens()];
  steps.prepare();
  steps.seek(cursor);
  deepEqual(steps.cursor, cursor);
  deepEqual([tokens(), tokens()], first);
  throws(() => steps.seek({ epoch: 0, position: 25 }), /RangeError: .*below the 25 sequences/);
});

Deno.test("over random corpora, ranks and seeds every sequence is seen by one rank once an epoch, in one order", () => {
  const seed = Date.now() % 2 ** 31;
  for (let trial = 0; trial < 200; trial++) {
    const random = (below: number, key: number) => hashCombine(seed, trial, key) % below;
    const [seqLen, batchSize, worldSize] = [1 + random(9, 0), 1 + random(5, 1), 1 + random(6, 2)];
    const ids = places(seqLen + 1 + random(400, 3));
    const options = { seqLen, seed: random(1000, 4) };
    const alone = new Batches(ids, { ...options, batchSize: 1 });
    const count = alone.sequencesPerEpoch;
    const steps = Math.ceil(3 * count / (batchSize * worldSize));
    const ranks = Array.from(
      { length: worldSize },
      (_, rank) => new Batches(ids, { ...options, batchSize, worldSize, rank }),
    );
    const shared = Array.from({ length: steps }, () => ranks.flatMap((r) => sequencesOf(r, 1, seqLen)))
      .flat();
    const where = `seed ${seed}, trial ${trial}`;
    deepEqual(shared, sequencesOf(alone, steps * batchSize * worldSize, seqLen), where);
    for (let epoch = 0; epoch < 3; epoch++) {
      const seen = shared.slice(epoch * count, (epoch + 1) * count).sort((a, b) => a - b);
      deepEqual(seen, Array.from({ length: count }, (_, i) => i), where);
    }
    for (const rank of ranks) deepEqual(rank.cursor, alone.cursor, where);
  }
});

Deno.test("an epoch stopped ten times at random, and gone on with by other numbers of ranks, is the same epoch", () => {
  const seed = Date.now() % 2 ** 31;
  const seqLen = 4;
  const options = { seqLen, seed: 5 };
  const ids = places(4 * 480 + 1);
  const whole = sequencesOf(new Batches(ids, { ...options, batchSize: 1 }), 480, seqLen);
  equal(new Set(whole).size, 480);
  const seen: number[] = [];
  let cursor: DataCursor | undefined;
  for (let life = 0; seen.length < 480; life++) {
    const worldSize = 1 + hashCombine(seed, life, 0) % 4;
    const ranks = Array.from({ length: worldSize }, (_, rank) => {
      return new StepBatches(new Batches(ids, { ...options, batchSize: 2, worldSize, rank, cursor }), 2);
    });
    const steps = life < 10 ? hashCombine(seed, life, 1) % 5 : Infinity;
    for (let step = 0; step < steps && seen.length < 480; step++) {
      const micro = ranks.map((rank) => rank.next().map(({ tokens }) => [tokens[0], tokens[seqLen]]));
      for (const i of [0, 1]) seen.push(...micro.flatMap((batches) => batches[i].map((id) => id / seqLen)));
      // Read ahead, and then killed: what was only prepared counts as not seen.
      for (const rank of ranks) rank.prepare();
    }
    const cursors = ranks.map((rank) => JSON.stringify(rank.cursor));
    equal(new Set(cursors).size, 1);
    cursor = JSON.parse(cursors[0]);
  }
  deepEqual(seen.slice(0, 480), whole, `seed ${seed}`);
});

Deno.test("StepBatches gives what Batches gives, prepared or not, and its cursor is the next step's", () => {
  const make = () => new Batches(places(64), { batchSize: 2, seqLen: 5, seed: 1 });
  const [plain, steps] = [make(), new StepBatches(make(), 3)];
  for (let step = 0; step < 8; step++) {
    if (step % 3 > 0) steps.prepare();
    deepEqual(steps.cursor, plain.cursor);
    const expected = Array.from({ length: 3 }, () => structuredClone(plain.next()));
    deepEqual(steps.next(), expected);
  }
  deepEqual(steps.cursor, plain.cursor);
  ok(steps.waited > 0);
});

Deno.test("Batches and sequentialBatches() read from a reader what they read from an array", () => {
  const ids = places(103);
  const reader = tokenRange(ids, 0, ids.length);
  const options = { batchSize: 3, seqLen: 4 };
  deepEqual([...sequentialBatches(reader, options)], [...sequentialBatches(ids, options)]);
  const [a, b] = [ids, reader].map((ids) => new Batches(ids, options));
  for (let i = 0; i < 20; i++) deepEqual(b.next(), a.next());
});

Deno.test("with an end-of-text id, batches tell where each token's document starts in its row", () => {
  const ids = Uint16Array.of(5, 9, 6, 7, 9, 9, 8, 1, 2, 3, 4, 9, 5);
  const [batch] = sequentialBatches(ids, { batchSize: 3, seqLen: 4, endId: 9 });
  deepEqual([...batch.tokens], [5, 9, 6, 7, 9, 9, 8, 1, 2, 3, 4, 9]);
  deepEqual([...batch.starts!], [0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 3]);
  const [none] = sequentialBatches(ids, { batchSize: 3, seqLen: 4 });
  equal(none.starts, undefined);
  const shuffled = new StepBatches(new Batches(ids, { batchSize: 3, seqLen: 4, endId: 9 }), 1);
  const [{ tokens, starts }] = shuffled.next();
  for (const [i, id] of tokens.entries()) if (id === 9) equal(starts![i], i % 4);
});

Deno.test("Batches fills the same arrays each time", () => {
  const batches = new Batches(places(64), { batchSize: 2, seqLen: 5 });
  equal(batches.next().tokens, batches.next().tokens);
});

Deno.test("Batches rejects too little data, bad shapes and cursors of other data", () => {
  const make = (length: number, options: object) =>
    new Batches(places(length), { batchSize: 2, seqLen: 5, ...options });
  make(6, {});
  throws(() => make(5, {}), { name: "RangeError", message: /at least one sequence of 6 tokens: got 5/ });
  throws(() => make(0, {}), RangeError);
  throws(() => make(9, { batchSize: 0 }), { name: "RangeError", message: /batch size/ });
  throws(() => make(9, { seqLen: 1.5 }), RangeError);
  throws(() => make(9, { seed: 0.5 }), RangeError);
  throws(() => make(9, { rank: 2, worldSize: 2 }), { name: "RangeError", message: /rank/ });
  throws(() => make(9, { rank: 0, worldSize: 0 }), RangeError);
  throws(() => make(11, { cursor: { epoch: 0, position: 2 } }), {
    name: "RangeError",
    message: /other data/,
  });
  throws(() => make(11, { cursor: { epoch: -1, position: 0 } }), RangeError);
  throws(() => make(11, { cursor: {} }), RangeError);
});

Deno.test("sequentialBatches() has every token but the first as a target once, and full batches", () => {
  for (let length = 2; length < 40; length++) {
    const targets: number[] = [];
    for (const batch of sequentialBatches(places(length), { batchSize: 3, seqLen: 4 })) {
      equal(batch.tokens.length, 12);
      batch.targets.forEach((target, i) => {
        if (target === IGNORED_TARGET) return equal(batch.tokens[i], 0);
        equal(target, batch.tokens[i] + 1);
        targets.push(target);
      });
    }
    deepEqual(targets, Array.from({ length: length - 1 }, (_, i) => i + 1));
  }
});

Deno.test("sequentialBatches() with a stride has each token as a target once, with the context that is promised", () => {
  const seqLen = 5;
  for (let stride = 1; stride <= seqLen; stride++) {
    for (let length = 2; length < 30; length++) {
      const shape = { batchSize: 3, seqLen, stride };
      const targets: number[] = [];
      let batches = 0;
      for (const batch of sequentialBatches(places(length), shape)) {
        batches++;
        batch.targets.forEach((target, i) => {
          if (target === IGNORED_TARGET) return;
          const before = i % seqLen;
          deepEqual(
            [...batch.tokens.subarray(i - before, i + 1)],
            Array.from({ length: before + 1 }, (_, k) => target - 1 - before + k),
          );
          ok(target <= seqLen || before >= seqLen - stride, `${target} has ${before + 1} tokens before it`);
          targets.push(target);
        });
      }
      deepEqual(targets, Array.from({ length: length - 1 }, (_, i) => i + 1));
      equal(batches, sequentialBatchCount(length, shape));
    }
  }
});

Deno.test("sequentialBatches() stops after the batches asked for, and rejects bad numbers at once", () => {
  equal([...sequentialBatches(places(100), { batchSize: 2, seqLen: 4, maxBatches: 3 })].length, 3);
  throws(() => sequentialBatches(places(1), { batchSize: 2, seqLen: 4 }), RangeError);
  throws(() => sequentialBatches(places(9), { batchSize: 2, seqLen: 4, maxBatches: 0 }), RangeError);
  for (const stride of [0, 1.5, 5]) {
    throws(() => sequentialBatches(places(9), { batchSize: 2, seqLen: 4, stride }), {
      name: "RangeError",
      message: /stride must be an integer from 1 to the sequence length 4: got/,
    });
  }
});

/** Ids that tell their place, in pieces of 0 to 6. */
async function* pieces(length: number, taken: (count: number) => void = () => {}) {
  for (let start = 0, n = 0; start < length; n++) {
    const piece = places(length).subarray(start, start + hashCombine(length, n) % 7);
    start += piece.length;
    taken(start);
    yield await Promise.resolve(piece);
  }
}

Deno.test("streamedBatches() gives the batches of sequentialBatches(), however the ids come", async () => {
  const shapes: SequentialOptions[] = [
    { batchSize: 1, seqLen: 1 },
    { batchSize: 3, seqLen: 4 },
    { batchSize: 3, seqLen: 5, stride: 2 },
    { batchSize: 2, seqLen: 5, stride: 1, maxBatches: 3 },
    { batchSize: 2, seqLen: 3, endId: 7 },
  ];
  for (const shape of shapes) {
    for (let length = 2; length < 40; length++) {
      // Each is in the same arrays as the one before.
      const expected = sequentialBatches(places(length), shape).map((batch) => structuredClone(batch))
        .toArray();
      const window = new TokenWindow(pieces(length));
      const found = await Array.fromAsync(streamedBatches(window, shape), (batch) => structuredClone(batch));
      deepEqual(found, expected, `${length} ids, ${JSON.stringify(shape)}`);
    }
  }
  for (const [length, options] of [[1, {}], [9, { stride: 5 }], [9, { maxBatches: 0 }]] as const) {
    const batches = streamedBatches(new TokenWindow(pieces(length)), { batchSize: 2, seqLen: 4, ...options });
    await rejects(batches.next(), RangeError);
  }
});

Deno.test("streamedBatches() reads ahead no more than a piece, and keeps nothing that no later batch has", async () => {
  let taken = 0;
  const window = new TokenWindow(pieces(1000, (count) => taken = count));
  let n = 0;
  for await (const _ of streamedBatches(window, { batchSize: 3, seqLen: 5, stride: 4 })) {
    ok(taken <= n * 12 + 2 * 4 + 6 + 6, `batch ${n} needs few ids, but ${taken} were taken`);
    if (n > 0) throws(() => window.read(n * 12 - 6, new Uint32Array(1)), RangeError);
    n++;
  }
  equal(taken, 1000);
  throws(() => window.read(999, new Uint32Array(2)), { name: "RangeError", message: /to 1000: got 999 to/ });
});
