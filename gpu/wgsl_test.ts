import { deepEqual, equal, throws } from "node:assert/strict";
import { testGpu } from "../tests/check_op.ts";
import { Graph } from "./graph.ts";
import { compileProgram } from "./program.ts";
import { f32, flatWorkgroups, MAX_WORKGROUPS, opaque, perThread, perWorkgroup } from "./wgsl.ts";

/** Runs `main` over an output of `size` zeros. */
async function run(size: number, record: (g: Graph, out: ReturnType<Graph["output"]>) => void) {
  const gpu = await testGpu();
  const g = new Graph({ profile: gpu.profile });
  const out = g.output("out", [size]);
  record(g, out);
  const program = await compileProgram(gpu, g);
  program.run();
  const [values] = await program.read(out);
  program.destroy();
  return values;
}

Deno.test("flatWorkgroups() covers any count within the limit of a dimension", () => {
  for (const count of [1, MAX_WORKGROUPS, MAX_WORKGROUPS + 1, 10_000_019]) {
    const [x, y, z] = flatWorkgroups(count);
    equal(x <= MAX_WORKGROUPS && y <= MAX_WORKGROUPS && z === 1 && x * y >= count, true);
  }
});

Deno.test("perThread() reaches every index once and none past the count, in two dimensions of workgroups too", async () => {
  for (const count of [1, 15, 16, 17, MAX_WORKGROUPS * 2 + 3]) {
    const threads = count > MAX_WORKGROUPS ? 2 : 16;
    const values = await run(count + 40, (g, out) =>
      g.dispatch({
        label: "count",
        write: { out },
        ...perThread({ count, threads, statements: "out[i] += f32(i % 7u + 1u);" }),
      }));
    equal(values.findIndex((x, i) => x !== (i < count ? i % 7 + 1 : 0)), -1, `${count}`);
  }
});

Deno.test("perWorkgroup() gives every index to one workgroup, with a count from a buffer", async () => {
  const [count, threads] = [MAX_WORKGROUPS + 5, 4];
  const values = await run(4 * count, (g, out) =>
    g.dispatch({
      label: "groups",
      read: { sizes: g.sizes(count - 2) },
      write: { out },
      ...perWorkgroup({
        count,
        countWgsl: "sizes[0]",
        index: "n",
        threads,
        statements: `for (var k = 0u; k < ${opaque(3)}; k++) { out[n * 4u + lane] += f32(lane + 1u); }`,
      }),
    }));
  equal(values.findIndex((x, i) => x !== (i < 4 * (count - 2) ? 3 * (i % 4 + 1) : 0)), -1);
});

Deno.test("f32() writes what WGSL reads as the nearest f32", async () => {
  const numbers = [
    0,
    1,
    -1,
    2,
    0.1,
    -0.3,
    1e-9,
    1e38,
    -3.4e38,
    1e21,
    2 ** 24 + 1,
    1.17549435e-38,
    Math.PI,
    1 / 3,
  ];
  const values = await run(numbers.length, (g, out) =>
    g.dispatch({
      label: "numbers",
      write: { out },
      ...perThread({ count: 1, statements: numbers.map((x, i) => `out[${i}] = ${f32(x)};`).join("\n  ") }),
    }));
  deepEqual([...values], [...Float32Array.from(numbers)]);
  equal(f32(-0), "f32(-0.0)");
});

Deno.test("f32() refuses what no finite f32 is near", () => {
  for (const value of [NaN, Infinity, -Infinity, 1e39, -3.5e38]) {
    throws(() => f32(value), (e) => e instanceof RangeError && e.message.endsWith(`got ${value}`));
  }
});
