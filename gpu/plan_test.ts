import { deepEqual, equal, ok } from "node:assert/strict";
import { uniform } from "../ops/random.ts";
import { planBuffers } from "./plan.ts";
import { Storage } from "./tensor.ts";

const activation = (bytes: number, label = "x") => new Storage("activation", bytes, label);

Deno.test("planBuffers() reuses a buffer once its tensor is dead", () => {
  const [a, b, c] = [activation(1024), activation(1024), activation(512)];
  const { bufferBytes, assignment } = planBuffers([[a], [a, b], [b, c]]);
  deepEqual(bufferBytes, [1024, 1024]);
  equal(assignment.get(a), assignment.get(c));
});

Deno.test("planBuffers() gives the storages of one kernel different buffers", () => {
  const [a, b, c] = [activation(256), activation(256), activation(256)];
  const { assignment } = planBuffers([[a, b, c]]);
  equal(new Set(assignment.values()).size, 3);
});

Deno.test("planBuffers() keeps what is asked for until the end", () => {
  const [a, b, c] = [activation(256), activation(256), activation(256)];
  const { assignment } = planBuffers([[a], [b], [c]], [a]);
  equal(assignment.get(b), assignment.get(c));
  ok(assignment.get(a) !== assignment.get(c));
});

Deno.test("planBuffers() keeps small tensors out of buffers that large ones need later", () => {
  const [small, large, medium, larger] = [256, 1024, 512, 2048].map((bytes) => activation(bytes));
  const { bufferBytes } = planBuffers([[large], [small], [small, medium], [small, larger]]);
  deepEqual(bufferBytes, [2048, 256]);
});

Deno.test("planBuffers() plans the same for the same kernels", () => {
  const [a, b, c] = [activation(256), activation(256), activation(256)];
  const uses = [[a, b], [b, c], [c, a]];
  deepEqual(planBuffers(uses), planBuffers(uses));
  deepEqual([...planBuffers(uses).assignment.values()], [0, 1, 2]);
});

Deno.test("planBuffers() leaves persistent storages alone", () => {
  const state = new Storage("state", 256, "s");
  equal(planBuffers([[state]]).assignment.size, 0);
});

Deno.test("planBuffers() never lets two live tensors share a buffer, for random graphs", () => {
  for (let seed = 0; seed < 50; seed++) {
    let draw = 0;
    const random = (n: number) => Math.floor(uniform(seed, draw++) * n);
    const all = Array.from({ length: 12 }, (_, i) => activation(4 * (1 + random(3000)), `t${i}`));
    const uses = Array.from(
      { length: 30 },
      () => Array.from({ length: 1 + random(4) }, () => all[random(12)]),
    );
    const { assignment, bufferBytes } = planBuffers(uses);
    const life = (s: Storage) => {
      const at = uses.flatMap((u, i) => (u.includes(s) ? [i] : []));
      return [at[0], at[at.length - 1]];
    };
    for (const [a, bufferA] of assignment) {
      ok(bufferBytes[bufferA] >= a.byteLength);
      for (const [b, bufferB] of assignment) {
        if (a === b || bufferA !== bufferB) continue;
        const [[a0, a1], [b0, b1]] = [life(a), life(b)];
        ok(a1 < b0 || b1 < a0, `${a.label} and ${b.label} are live together`);
      }
    }
  }
});
