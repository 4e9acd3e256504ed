import { deepEqual, ok } from "node:assert/strict";
import type { Profile } from "../gpu/device.ts";
import { Graph } from "../gpu/graph.ts";
import { compileProgram } from "../gpu/program.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { type Launch, opaque } from "../gpu/wgsl.ts";
import { closeTo, testGpu, testProfiles } from "../tests/check_op.ts";
import { fillNormal } from "./random.ts";
import { perColumn, perRow } from "./rows.ts";
import { vectorType } from "./vector_type.ts";

/** The tests' profiles, and a GPU with this adapter's subgroups where it has any. */
async function profiles(): Promise<Record<string, Profile>> {
  const { profile } = await testGpu();
  const withSubgroups = { "a GPU with subgroups": { ...profile, isSoftware: false } };
  return { ...await testProfiles(), ...(profile.subgroupSize > 0 ? withSubgroups : {}) };
}

/** Runs a kernel twice over x and gives what it wrote, which must be the same bits. */
async function twice(
  profile: Profile,
  x: { readonly shape: readonly number[]; readonly values: Float32Array },
  outputs: number,
  record: (x: Tensor, sums: Tensor, tops: Tensor, g: Graph) => {
    readonly read: Parameters<Graph["dispatch"]>[0]["read"];
    readonly write: Parameters<Graph["dispatch"]>[0]["write"];
    readonly launch: Launch;
  },
): Promise<Float32Array[]> {
  const gpu = await testGpu();
  const g = new Graph({ profile });
  const input = g.input("x", x.shape, "f32");
  const [sums, tops] = [g.activation("sums", [outputs]), g.activation("tops", [outputs])];
  const { read, write, launch } = record(input, sums, tops, g);
  g.dispatch({ label: "reduce", read, write, ...launch });
  const collected = [g.collect(sums), g.collect(tops)];
  const program = await compileProgram(gpu, g);
  program.write("x", x.values);
  program.run();
  const first = await program.read(...collected);
  program.run();
  deepEqual(await program.read(...collected), first);
  program.destroy();
  return first;
}

function normalValues(count: number): Float32Array {
  const values = new Float32Array(count);
  fillNormal(values, count, 1);
  // A row of negative values alone has a negative maximum.
  return values.map((value) => value - 4);
}

for (const [rows, columns] of [[1, 1], [3, 8], [5, 63], [2, 64], [7, 1000]]) {
  Deno.test(`perRow() sums rows of ${rows} x ${columns} and finds their largest on every kind of adapter`, async () => {
    const values = normalValues(rows * columns);
    const all = Array.from({ length: rows }, (_, r) => [...values.subarray(r * columns, (r + 1) * columns)]);
    for (const [name, profile] of Object.entries(await profiles())) {
      const [sums, tops] = await twice(
        profile,
        { shape: [rows, columns], values },
        rows,
        (x, sums, tops) => ({
          read: { x },
          write: { sums, tops },
          launch: perRow(profile, {
            rows,
            statements: `var part = 0.0;
  var most = -3.0e38;
  for (var c = lane; c < ${opaque(columns)}; c += LANES) {
    part += x[row * ${columns}u + c];
    most = max(most, x[row * ${columns}u + c]);
  }
  let sum = row_sum(part);
  let top = row_max(most);
  if (lane == 0u) { sums[row] = sum; tops[row] = top; }`,
          }),
        }),
      );
      // f32 sums of up to a thousand terms of one sign.
      closeTo(sums, all.map((row) => row.reduce((a, b) => a + b)), 1e-5, `${name}: sums`);
      deepEqual([...tops], all.map((row) => Math.max(...row)), name);
    }
  });
}

for (const [rows, columns] of [[1, 1], [3, 8], [64, 5], [65, 36], [300, 17]]) {
  Deno.test(`perColumn() sums columns of ${rows} x ${columns} and finds their largest on every kind of adapter`, async () => {
    const values = normalValues(rows * columns);
    const all = Array.from(
      { length: columns },
      (_, c) => Array.from({ length: rows }, (_, r) => values[r * columns + c]),
    );
    const { width, wgsl, wrap } = vectorType(columns);
    for (const [name, profile] of Object.entries(await profiles())) {
      for (const countWgsl of [undefined, "sizes[0]"]) {
        const [sums, tops] = await twice(
          profile,
          { shape: [rows, columns], values },
          columns,
          (x, sums, tops, g) => ({
            read: { x: wrap(x), ...(countWgsl ? { sizes: g.sizes(columns / width) } : {}) },
            write: { sums: wrap(sums), tops: wrap(tops) },
            launch: perColumn(profile, {
              columns: columns / width,
              countWgsl,
              index: "column",
              functions: wgsl,
              statements: (loop, reduce) =>
                `var sum = V();
  var most = V(-3.0e38);
  ${
                  loop("row", opaque(rows))
                } {
    sum += x[row * COUNT + column];
    most = max(most, x[row * COUNT + column]);
  }${reduce("sum", "sum")}${reduce("most", "max")}`,
              result: "sums[column] = sum; tops[column] = most;",
            }),
          }),
        );
        closeTo(sums, all.map((column) => column.reduce((a, b) => a + b)), 1e-5, `${name}: sums`);
        deepEqual([...tops], all.map((column) => Math.max(...column)), name);
      }
    }
  });
}

Deno.test("perRow() takes 64 threads of a GPU, and barriers only where a subgroup is smaller", () => {
  const profile = { isSoftware: false, maxBindingBytes: 1 << 27, maxBufferBytes: 1 << 28 };
  for (const subgroupSize of [0, 32, 64]) {
    const own = { ...profile, subgroupSize };
    const row = perRow(own, { rows: 3, statements: "let sum = row_sum(0.0);" });
    deepEqual(row.workgroups, [3, 1, 1]);
    ok(row.body.includes("@workgroup_size(64)"));
    deepEqual(row.body.includes("subgroupAdd"), subgroupSize > 0);
    // One subgroup of 64 needs no memory to share.
    deepEqual(row.body.includes("workgroupBarrier"), subgroupSize < 64);
  }
});
