import { equal, match, ok, throws } from "node:assert/strict";
import { checkProduct, matmulInputs } from "./inputs.ts";
import { formatTable, rowsOf } from "./table.ts";

Deno.test("rowsOf() compares with the first contestant, best against best and round by round", () => {
  const [ours, peer] = rowsOf({
    title: "product",
    rate: { unit: "GFLOPS", scale: 1e9 },
    ceiling: "multiplyAddGflops",
    measured: [
      { name: "ours", samples: [1, 2, 4], work: 8e9 },
      { name: "peer", samples: [3, 4, 20], work: 8e9 },
    ],
  }, { multiplyAddGflops: 16e9 });
  equal(ours.ratio, undefined);
  equal(ours.rate, 8);
  equal(ours.ofCeiling, 0.5);
  equal(peer.ratio, 3);
  equal(peer.pairedRatio, 3);
  equal(peer.median, 4);
});

Deno.test("rowsOf() compares different amounts of work by the time for the same amount", () => {
  const measured = [{ name: "aligned", samples: [1], work: 4 }, { name: "ragged", samples: [1], work: 2 }];
  equal(rowsOf({ title: "", perWork: true, measured }, {})[1].ratio, 2);
});

Deno.test("a contestant that failed stands in the table with its reason and stops nobody else", () => {
  const rows = rowsOf({
    title: "step",
    measured: [{ name: "ours", samples: [0.5] }, { name: "peer", samples: [], failure: "no adapter" }],
  }, {});
  match(formatTable(rows), /ours +500 ms +500 ms\n +peer.* failed: no adapter/);
});

Deno.test("checkProduct() accepts a product in each layout and refuses one wrong value", () => {
  for (const layout of [{}, { transposedA: true }, { transposedB: true }]) {
    const what = { kind: "matmul", m: 20, k: 13, n: 17, ...layout } as const;
    const { a, b } = matmulInputs(what);
    const c = new Float32Array(20 * 17);
    for (let i = 0; i < 20; i++) {
      for (let j = 0; j < 17; j++) {
        for (let p = 0; p < 13; p++) {
          c[i * 17 + j] += a["transposedA" in layout ? p * 20 + i : i * 13 + p] *
            b["transposedB" in layout ? j * 13 + p : p * 17 + j];
        }
      }
    }
    ok(checkProduct(what, c) < 1e-6);
    c[7] += 0.01;
    throws(() => checkProduct(what, c), /wrong product/);
    c[7] = NaN;
    throws(() => checkProduct(what, c), /wrong product/);
  }
});
