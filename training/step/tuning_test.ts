import { deepEqual, equal, ok } from "node:assert/strict";
import { requestGpu } from "../../gpu/device.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { matmulCandidates } from "../../ops/matmul/matmul.ts";
import { adamw } from "../../optim/adamw.ts";
import { recordStep } from "./recording.ts";
import { languageModelLoss, Trainer } from "./trainer.ts";
import { tuneKernels } from "./tuning.ts";

const model = gpt2({ vocab_size: 40, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 });
const options = { record: languageModelLoss(model, 2, 8), optimizer: adamw() };

Deno.test("tuneKernels() measures every product once, takes what is known, and a step uses what it found", async () => {
  const gpu = await requestGpu();
  try {
    const candidates = matmulCandidates(gpu.profile);
    const first = await tuneKernels(gpu, options);
    const products = Object.keys(first.kernels);
    ok(products.length > 5 && products.every((key) => key.startsWith("matmul ")));
    const few = matmulCandidates(gpu.profile, false, { m: 16, n: 16, k: 16 });
    ok(Object.values(first.kernels).every((name) => candidates.includes(name) || few.includes(name)));
    equal(first.measured, candidates.length > 1 ? products.length : 0);
    deepEqual(await tuneKernels(gpu, options, first.kernels), { ...first, measured: 0 });

    // Whatever was found, a step takes what it is given, and the same kernels give the same bits.
    const other = Object.fromEntries(products.map((key) => [key, candidates[candidates.length - 1]]));
    const { graph } = recordStep(gpu.profile, { ...options, kernels: other });
    ok([...graph.choices.values()].every(({ chosen }) => chosen === other[products[0]]));
    const losses = [];
    for (let run = 0; run < 2; run++) {
      const trainer = await Trainer.create(gpu, { ...options, kernels: other });
      const tokens = Uint32Array.from({ length: 16 }, (_, i) => i);
      for (let step = 0; step < 3; step++) trainer.step([{ tokens, targets: tokens }]);
      losses.push((await trainer.metrics()).map((m) => m.loss));
      trainer.destroy();
    }
    deepEqual(losses[0], losses[1]);
  } finally {
    gpu.destroy();
  }
});

Deno.test("kernels of another adapter are passed over", async () => {
  const gpu = await requestGpu();
  const { graph } = recordStep(gpu.profile, options);
  const [key] = graph.choices.keys();
  const again = recordStep(gpu.profile, { ...options, kernels: { [key]: "no such kernel" } });
  equal(again.graph.choices.get(key)!.chosen, graph.choices.get(key)!.chosen);
  gpu.destroy();
});
