import { deepEqual, equal } from "node:assert/strict";
import { join } from "node:path";
import { requestGpu } from "../../gpu/device.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { matmulCandidates } from "../../ops/matmul/matmul.ts";
import { adamw } from "../../optim/adamw.ts";
import { languageModelLoss } from "../step/trainer.ts";
import { tuneKernelsOnce } from "./kernels_file.ts";

Deno.test("tuneKernelsOnce() remembers what it measured, and measures again when its file is damaged", async () => {
  const model = gpt2({ vocab_size: 40, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2 });
  const options = { record: languageModelLoss(model, 2, 8), optimizer: adamw() };
  const gpu = await requestGpu();
  const dir = await Deno.makeTempDir();
  const cache = join(dir, "cache");
  try {
    const first = await tuneKernelsOnce(gpu, options, cache);
    equal(first.measured > 0, matmulCandidates(gpu.profile).length > 1);
    deepEqual(await tuneKernelsOnce(gpu, options, cache), { ...first, measured: 0 });
    await Deno.mkdir(cache, { recursive: true });
    await Deno.writeTextFile(join(cache, "kernels.json"), "{");
    equal((await tuneKernelsOnce(gpu, options, cache)).measured, first.measured);
  } finally {
    await Deno.remove(dir, { recursive: true });
    gpu.destroy();
  }
});
