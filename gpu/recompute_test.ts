import { deepEqual, equal, ok } from "node:assert/strict";
import { add } from "../ops/add.ts";
import { linearCrossEntropy, MICRO_WEIGHT } from "../ops/cross_entropy/cross_entropy.ts";
import { dropout, RANDOM_SEED } from "../ops/dropout.ts";
import { embedding } from "../ops/embedding.ts";
import { gelu } from "../ops/activation/gelu.ts";
import { layerNorm } from "../ops/norm/layer_norm.ts";
import { linear } from "../ops/linear.ts";
import { constant, normal } from "../models/model.ts";
import { testGpu } from "../tests/check_op.ts";
import { Graph } from "./graph.ts";
import { compileProgram } from "./program.ts";
import type { Tensor } from "./tensor.ts";

const C = 8;
const profile = { subgroupSize: 0, isSoftware: true, maxBindingBytes: 1 << 30, maxBufferBytes: 2 ** 32 };

function feedForward(g: Graph, x: Tensor, name: string): Tensor {
  const weight = (n: string, rows: number, columns: number) =>
    g.parameter(`${name}.${n}`, [rows, columns], { init: normal(0.3) });
  const gain = g.parameter(`${name}.gain`, [C], { init: constant(1) });
  const y = layerNorm(g, x, gain, g.parameter(`${name}.shift`, [C], { init: constant(0.1) }));
  const inner = dropout(g, gelu(g, linear(g, y, weight("up", C, 3 * C))), 0.3);
  return linear(g, dropout(g, inner, 0.2), weight("down", 3 * C, C));
}

/** Inputs used inside and outside of blocks, shared weights, a block in a block, and an unused block. */
function recordLoss(g: Graph): Tensor {
  const tokens = g.input("tokens", [2, 4], "u32");
  const table = g.parameter("table", [16, C], { init: normal(1) });
  let x = dropout(g, embedding(g, tokens, table), 0.1);
  x = add(g, x, g.recompute(x, (x) => feedForward(g, x, "a")));
  x = add(g, g.recompute(x, (x) => feedForward(g, x, "b")), x);
  g.recompute(x, (x) => feedForward(g, x, "unused"));
  x = g.recompute(x, (x) => {
    const y = feedForward(g, x, "a");
    return add(g, g.recompute(y, (y) => feedForward(g, y, "c")), x);
  });
  x = g.recompute(x, (x) => x);
  x = dropout(g, x, 0.1);
  return linearCrossEntropy(g, x, table, g.input("targets", [2, 4], "u32")).loss;
}

async function lossAndGradients(recompute: boolean) {
  const gpu = await testGpu();
  const g = new Graph({ profile: gpu.profile, training: true, microBatches: 2, recompute });
  const loss = g.collect(recordLoss(g));
  g.backward();
  const [segments] = g.beginUpdate([g.parameters.all]);
  await g.parameters.allocate(gpu, 5);
  const program = await compileProgram(gpu, g);
  for (const micro of [0, 1]) {
    const tokens = Uint32Array.from({ length: 8 }, (_, i) => (i * 5 + micro) % 16);
    program.write("tokens", tokens, micro);
    program.write("targets", tokens.map((id) => (id + 1) % 16), micro);
    program.write(RANDOM_SEED, Uint32Array.of(11 + micro), micro);
    program.write(MICRO_WEIGHT, Float32Array.of(1), micro);
  }
  program.run();
  const values = await program.read(loss, ...segments.map((s) => s.gradients));
  const names = segments.flatMap((s) => s.items.map(({ item }) => item.name));
  program.destroy();
  g.parameters.destroy();
  return { values, names };
}

Deno.test("recompute() gives the same loss and gradients bit for bit, dropout included", async () => {
  const kept = await lossAndGradients(false);
  ok(kept.values.every((v) => v.every(Number.isFinite)) && kept.values[1].some((v) => v !== 0));
  ok(kept.names.includes("c.up") && !kept.names.includes("unused.up"));
  deepEqual(await lossAndGradients(true), kept);
});

Deno.test("recompute() only calls the block where the graph does not train or does not ask for it", () => {
  const labels = (options: { training: boolean; recompute?: boolean }) => {
    const g = new Graph({ profile, ...options });
    recordLoss(g);
    g.backward();
    return g.microKernels.map((k) => k.label);
  };
  const count = (all: string[]) => all.filter((l) => l === "gelu_forward").length;
  deepEqual(labels({ training: false, recompute: true }), labels({ training: false }));
  equal(count(labels({ training: true })), 5);
  // The four used ones again, the one inside a block not a third time.
  equal(count(labels({ training: true, recompute: true })), 9);
});

Deno.test("recompute() numbers later randomness as without it, and leaves a block's last product out", () => {
  const record = (recompute: boolean) => {
    const g = new Graph({ profile, training: true, recompute });
    const x = embedding(g, g.input("ids", [1, 4], "u32"), g.parameter("t", [8, C], { init: normal(1) }));
    const y = g.recompute(x, (x) => feedForward(g, x, "a"));
    linearCrossEntropy(g, y, g.parameter("head", [8, C], { init: normal(1) }), g.input("y", [1, 4], "u32"));
    g.backward();
    const matmuls = g.microKernels.filter((k) => k.label === "matmul_tile").length;
    return { matmuls, next: g.randomStream() };
  };
  const [kept, again] = [record(false), record(true)];
  equal(again.next, kept.next);
  equal(again.matmuls, kept.matmuls + 1);
});
