import { throws } from "node:assert/strict";
import { Graph } from "../../gpu/graph.ts";
import { checkOp, testGpu } from "../../tests/check_op.ts";
import { swiglu } from "./swiglu.ts";
import { swigluReference } from "./swiglu_reference.ts";

for (const [shape, std] of [[[1], 1], [[7], 1], [[3, 5], 1], [[2, 3, 44], 1], [[65, 5], 3]] as const) {
  Deno.test(`swiglu() matches the reference at ${shape.join(" x ")} with deviation ${std}`, async () => {
    await checkOp({
      inputs: { gate: shape, up: shape },
      record: (g, { gate, up }) => swiglu(g, gate, up),
      reference: ({ gate, up }) => swigluReference(gate, up),
      std,
    });
  });
}

Deno.test("swiglu() stays finite where exp leaves f32", async () => {
  await checkOp({
    inputs: { gate: [300], up: [300] },
    record: (g, { gate, up }) => swiglu(g, gate, up),
    reference: ({ gate, up }) => swigluReference(gate, up),
    std: 80,
  });
});

Deno.test("swiglu() passes a gradient to the one of its inputs that needs it", async () => {
  for (const wanted of ["gate", "up"]) {
    const fixed = wanted === "gate" ? "up" : "gate";
    const values = Float32Array.from({ length: 10 }, (_, i) => i / 4 - 1);
    await checkOp({
      inputs: { [wanted]: [10] },
      record: (g, t) => {
        const all = { ...t, [fixed]: g.constant(fixed, values) };
        return swiglu(g, all.gate, all.up);
      },
      reference: (given) => {
        const all = { ...given, [fixed]: Float64Array.from(values) };
        return swigluReference(all.gate, all.up);
      },
    });
  }
});

Deno.test("swiglu() refuses inputs of different shapes", async () => {
  const g = new Graph({ profile: (await testGpu()).profile });
  throws(
    () => swiglu(g, g.input("gate", [2, 6], "f32"), g.input("up", [12], "f32")),
    /swiglu: up must be f32 of shape \[2, 6\], got f32 \[12\]/,
  );
});
