import { fillNormal } from "../random.ts";
import { deepEqual, ok, throws } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { compileProgram } from "../../gpu/program.ts";
import { closeTo, testGpu } from "../../tests/check_op.ts";
import { matmulReference } from "../linear_reference.ts";
import { matmul, matmulCandidates, matmulVariants } from "./matmul.ts";
import { splitOf } from "./split_k.ts";

// [m, n, k]: whole tiles of every kernel, and sizes that leave some of a tile, of a vector of four, or both.
const shapes: [number, number, number][] = [[64, 128, 32], [1, 1, 1], [1, 37, 22], [7, 33, 5], [17, 36, 12], [
  100,
  130,
  250,
], [
  33,
  131,
  3,
]];

/** Those whose k is split: parts that end with the sum, or not. */
const splitShapes: typeof shapes = [[64, 128, 512], [1, 1, 256], [33, 131, 271]];

/** One with as many wide tiles as a card needs to take these. */
const wideShapes: typeof shapes = [[2047, 959, 5]];

/** Kernels that only graphics cards take unasked. */
const forCards = ["few_rows", "shared128", "shared128x96", "shared64", "split_k"];

/** A profile for which the variant is a candidate: all kernels run on every adapter that has what they use. */
const profileFor = (variant: string, { profile }: Awaited<ReturnType<typeof testGpu>>) => ({
  ...profile,
  isSoftware: !forCards.includes(variant),
});

/** Whether the adapter runs a variant; says so if it does not. */
function runs(variant: string, { profile }: Awaited<ReturnType<typeof testGpu>>): boolean {
  if (matmulVariants[variant].runs(profile)) return true;
  console.log(`skipped: matmul ${variant}, which this adapter does not run`);
  return false;
}

const filled = (size: number, seed: number) => {
  const values = new Float32Array(size);
  fillNormal(values, seed, 1);
  return values;
};

/** What a variant is tested at: the two kinds of tiles differ in a few numbers, so one has no vectors of results here. */
function shapesOf(variant: string): typeof shapes {
  if (variant === "split_k") return splitShapes;
  if (variant === "shared128x96") return wideShapes;
  if (variant === "texels") return shapes.filter(([m]) => m > 32);
  if (variant === "broadcast" || variant === "few_rows") return shapes.filter(([m]) => m <= 32);
  return variant === "shared128" ? shapes.filter(([, n]) => n % 4 !== 0) : shapes;
}

for (const variant of Object.keys(matmulVariants)) {
  for (const [m, n, k] of shapesOf(variant)) {
    Deno.test(`matmul() with ${variant} matches the reference at ${m} x ${n} x ${k} in every layout`, async (t) => {
      const gpu = await testGpu();
      if (!runs(variant, gpu)) return;
      const inputs = { a: m * k, b: k * n, bias: n, residual: m * n };
      const values = Object.fromEntries(Object.entries(inputs).map(([x, size], i) => [x, filled(size, i)]));
      const product = (ta: boolean, tb: boolean) =>
        matmulReference(Float64Array.from(values.a), Float64Array.from(values.b), [m, n, k], ta, tb);
      for (const transposedA of [false, true]) {
        for (const transposedB of [false, true]) {
          // Cards' kernels take seconds to compile here, and one text adds things to a product in whatever layout.
          const additions = forCards.includes(variant) && (transposedA || transposedB)
            ? ["nothing"]
            : ["nothing", "bias and residual", "accumulate"];
          for (const plus of additions) {
            await t.step(`${transposedA ? "A^T" : "A"} ${transposedB ? "B^T" : "B"} + ${plus}`, async () => {
              const profile = profileFor(variant, gpu);
              const key = `matmul ${m}x${n}x${k}${transposedA ? " A^T" : ""}${transposedB ? " B^T" : ""}`;
              const g = new Graph({ profile, choices: { [key]: variant } });
              const x = Object.fromEntries(
                Object.entries(inputs).map(([name, size]) => [name, g.input(name, [size], "f32")]),
              );
              const out = g.output("out", [m * n]);
              const extra = plus === "bias and residual" ? { bias: x.bias, residual: x.residual } : {};
              const runs = plus === "accumulate" ? 2 : 1;
              for (let run = 0; run < runs; run++) {
                const accumulate = run > 0;
                matmul(g, { m, n, k, a: x.a, b: x.b, transposedA, transposedB, out, ...extra, accumulate });
              }
              deepEqual(g.choices.get(key)?.chosen, variant);
              const program = await compileProgram(gpu, g);
              for (const [name, array] of Object.entries(values)) program.write(name, array);
              program.run();
              const [got] = await program.read(out);
              const expected = product(transposedA, transposedB).map((y, i) =>
                plus === "bias and residual" ? y + values.bias[i % n] + values.residual[i] : y * runs
              );
              closeTo(got, expected, 1e-5, "out"); // f32 sums of at most 512 terms
              program.destroy();
            });
          }
        }
      }
    });
  }
}

// All columns of A at once, and rows of it; tiles that the matrices fill in part.
const batchShapes: [number, number, number][] = [[36, 40, 12], [4, 4, 132], [128, 36, 8]];

for (const variant of Object.keys(matmulVariants)) {
  Deno.test(`matmul() with ${variant} multiplies batches, with factors`, async () => {
    const gpu = await testGpu();
    const profile = profileFor(variant, gpu);
    const batch = 3;
    for (const [m, n, k] of variant === "split_k" ? [[36, 40, 264]] : batchShapes) {
      for (const transposedA of [false, true]) {
        const key = `matmul ${batch} of ${m}x${n}x${k}${transposedA ? " A^T" : ""}`;
        const g = new Graph({ profile, choices: { [key]: variant } });
        const sizes = { a: m * k, b: k * n, residual: m * n };
        const x = Object.fromEntries(
          Object.entries(sizes).map(([name, size]) => [name, g.input(name, [batch, size], "f32")]),
        );
        const out = g.output("out", [batch, m, n]);
        const factors = [2.5, -0.5] as const;
        matmul(g, { m, n, k, a: x.a, b: x.b, transposedA, residual: x.residual, factors, batch, out });
        // Where the layout is one that the variant does not read, another one is taken.
        const reads = matmulCandidates(profile, !transposedA, { batch, m, n, k }).includes(variant);
        deepEqual(g.choices.get(key)?.chosen === variant, reads);
        const program = await compileProgram(gpu, g);
        const values = Object.fromEntries(
          Object.entries(sizes).map(([name, size], i) => [name, filled(batch * size, i)]),
        );
        for (const [name, array] of Object.entries(values)) program.write(name, array);
        program.run();
        const [got] = await program.read(out);
        for (let i = 0; i < batch; i++) {
          const own = (name: "a" | "b" | "residual") =>
            values[name].subarray(i * sizes[name], (i + 1) * sizes[name]);
          const product = matmulReference(own("a"), own("b"), [m, n, k], transposedA);
          const expected = product.map((y, j) => factors[0] * y + factors[1] * own("residual")[j]);
          closeTo(got.subarray(i * m * n, (i + 1) * m * n), expected, 1e-5, `product ${i}`);
        }
        program.destroy();
      }
    }
  });
}

Deno.test("matmul() refuses batches of what it could not read", () => {
  const profile = { maxBindingBytes: 1 << 20, isSoftware: false } as Graph["profile"];
  const g = new Graph({ profile });
  const x = g.input("x", [2, 6, 6], "f32");
  throws(() => matmul(g, { m: 6, n: 6, k: 6, a: x, b: x, out: x, batch: 2 }), /multiples of 4/);
});

for (const variant of Object.keys(matmulVariants)) {
  Deno.test(`matmul() with ${variant} leaves a product out when it is told to`, async () => {
    const gpu = await testGpu();
    if (!runs(variant, gpu)) return;
    const profile = profileFor(variant, gpu);
    const n = { texels: 36, shared128x96: 1536 }[variant] ?? 8;
    const k = variant === "split_k" ? 256 : 8;
    const key = `matmul ${n}x${n}x${k} A^T`;
    const g = new Graph({ profile, choices: { [key]: variant } });
    const [x, flags] = [g.input("x", [k, n], "f32"), g.input("flags", [2], "f32")];
    const out = g.output("out", [n, n]);
    matmul(g, { m: n, n, k, a: x, transposedA: true, b: x, out, when: { tensor: flags, index: 1 } });
    deepEqual(g.choices.get(key)?.chosen, variant);
    const program = await compileProgram(gpu, g);
    program.write("x", new Float32Array(n * k).fill(1));
    for (const [flag, value] of [[0, 0], [1, k], [0, k]]) {
      program.write("flags", Float32Array.of(1 - flag, flag));
      program.run();
      deepEqual((await program.read(out))[0], new Float32Array(n * n).fill(value));
      program.write("x", new Float32Array(n * k).fill(flag === 0 ? 1 : 2));
    }
    program.destroy();
  });
}

for (const variant of Object.keys(matmulVariants)) {
  Deno.test(`matmul() with ${variant} gives the same bits where it computes one side of a symmetric product`, async () => {
    const gpu = await testGpu();
    if (!runs(variant, gpu)) return;
    const profile = profileFor(variant, gpu);
    // Tiles that lie on the diagonal, beside it, and end in the middle.
    const n = { broadcast: 28, few_rows: 28, shared128x96: 1540 }[variant] ?? 292;
    const [batch, k] = [2, variant === "split_k" ? 260 : 20];
    const half = filled(batch * n * n, 1);
    // The residual must be symmetric too.
    for (let i = 0; i < half.length; i++) {
      const [product, row, column] = [Math.floor(i / n / n), Math.floor(i / n) % n, i % n];
      if (column > row) half[i] = half[product * n * n + column * n + row];
    }
    const results: Float32Array[] = [];
    for (const symmetric of [false, true]) {
      const key = `matmul ${batch} of ${n}x${n}x${k} A^T${symmetric ? " symmetric" : ""}`;
      const g = new Graph({ profile, choices: { [key]: variant } });
      const [x, residual] = [g.input("x", [batch, k, n], "f32"), g.input("residual", [batch, n, n], "f32")];
      const out = g.output("out", [batch, n, n]);
      const factors = [2, 0.5] as const;
      matmul(g, { m: n, n, k, a: x, transposedA: true, b: x, residual, factors, batch, symmetric, out });
      deepEqual(g.choices.get(key)?.chosen, variant);
      const program = await compileProgram(gpu, g);
      program.write("x", filled(batch * k * n, 2));
      program.write("residual", half);
      program.run();
      results.push((await program.read(out))[0].slice());
      program.destroy();
    }
    deepEqual(results[1], results[0]);
  });
}

Deno.test("matmul() refuses to mirror what is not symmetric", () => {
  const profile = { maxBindingBytes: 1 << 20, isSoftware: false } as Graph["profile"];
  const g = new Graph({ profile });
  const x = g.input("x", [8, 8], "f32");
  const sizes = { m: 8, n: 8, k: 8, a: x, b: x, out: x, symmetric: true };
  throws(() => matmul(g, { ...sizes, m: 4 }), /as many rows as columns.*got 4x8/);
  throws(() => matmul(g, { ...sizes, accumulate: true }), /nothing to be added to, got 8x8, accumulate/);
});

Deno.test("split_k gives the same bits in every run", async () => {
  const gpu = await testGpu();
  const [m, n, k] = [36, 68, 1000];
  const key = `matmul ${m}x${n}x${k} A^T`;
  const g = new Graph({ profile: profileFor("split_k", gpu), choices: { [key]: "split_k" } });
  const [a, b] = [g.input("a", [k, m], "f32"), g.input("b", [k, n], "f32")];
  const out = g.output("out", [m, n]);
  matmul(g, { m, n, k, a, transposedA: true, b, out });
  const program = await compileProgram(gpu, g);
  program.write("a", filled(k * m, 1));
  program.write("b", filled(k * n, 2));
  const results: Float32Array[] = [];
  for (let run = 0; run < 3; run++) {
    program.run();
    results.push((await program.read(out))[0].slice());
  }
  deepEqual(results.slice(1), [results[0], results[0]]);
  program.destroy();
});

Deno.test("a card gives a row the same bits whatever rows stand beside it, in either layout of B", async () => {
  const gpu = await testGpu();
  const [n, k] = [36, 772]; // slices of k of different lengths, and a part of a tile
  for (const transposedB of [false, true]) {
    const rows = async (m: number) => {
      const g = new Graph({ profile: { ...gpu.profile, subgroupSize: 0, isSoftware: false } });
      const [a, b, bias] = [
        g.input("a", [m, k], "f32"),
        g.input("b", [k, n], "f32"),
        g.input("bias", [n], "f32"),
      ];
      const out = g.output("out", [m, n]);
      matmul(g, { m, n, k, a, b, bias, transposedB, out });
      deepEqual(g.microKernels.map(({ label }) => label), ["matmul_few_rows"]);
      const program = await compileProgram(gpu, g);
      program.write("a", filled(32 * k, 1).subarray(0, m * k));
      program.write("b", filled(k * n, 2));
      program.write("bias", filled(n, 3));
      program.run();
      const [values] = await program.read(out);
      program.destroy();
      return values.slice();
    };
    const all = await rows(32);
    ok(all.some((value) => value !== 0));
    for (const m of [1, 2, 5, 8, 9]) deepEqual(await rows(m), all.subarray(0, m * n));
  }
});

Deno.test("a card gets large tiles where there are enough, else small ones, else parts of k", () => {
  const profile = { maxBindingBytes: 1 << 30, isSoftware: false } as Graph["profile"];
  const first = (m: number, n: number, k: number, batch = 1, symmetric = false) =>
    matmulCandidates(profile, false, { batch, m, n, k, symmetric })[0];
  deepEqual(first(8192, 3072, 768), "shared128");
  deepEqual(first(8192, 768, 768), "shared64"); // 384 tiles of 128 x 128
  deepEqual(first(768, 768, 8192), "split_k");
  deepEqual(first(64, 64, 64), "shared64"); // nothing to split
  deepEqual(first(32, 768, 3072), "few_rows");
  deepEqual(matmulCandidates(profile, false, { m: 8, n: 768, k: 8192, transposedA: true })[0], "split_k");
  deepEqual(first(768, 768, 768, 15), "shared128"); // 36 tiles in each of a batch
  deepEqual(first(768, 768, 768, 15, true), "shared64"); // 21
});

Deno.test("k is split into parts that fill it, each a multiple of a tile's eight values but the last", () => {
  for (const k of [256, 257, 1000, 8192, 100_000]) {
    for (const m of [1, 64, 700, 1400]) {
      const { count, depth } = splitOf({ m, n: 700, k })!;
      ok(count >= 2 && depth % 8 === 0 && (count - 1) * depth < k && count * depth >= k);
    }
  }
  deepEqual(splitOf({ m: 64, n: 64, k: 255 }), undefined);
  // Where two parts are enough, k must be long.
  deepEqual(splitOf({ m: 64 * 264, n: 64, k: 8192 }), { count: 2, depth: 4096 });
  deepEqual(splitOf({ m: 64 * 264, n: 64, k: 2048 }), undefined);
});
