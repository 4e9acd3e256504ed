/**
 * koala-lm trains transformer language models on Deno's native WebGPU.
 *
 * A model is an ordinary function over symbolic tensors: its ops record GPU kernels and how to differentiate
 * them. A {@linkcode Trainer} compiles the recording once, together with clipping and the optimizers, and
 * replays it for every step. Weights carry Hugging Face's names, so checkpoints need no conversion.
 *
 * This is all of the library. Its rooms can be imported by themselves: `./gpu`, `./ops`, `./optim`, `./models`,
 * `./data`, `./checkpoint` and `./training`. `./cli` has the commands.
 *
 * @example Train GPT-2 on random tokens
 * ```ts
 * import { ok } from "node:assert/strict";
 * import {
 *   adamw,
 *   gpt2,
 *   hiddenMatrices,
 *   koalaPlusPlus,
 *   languageModelLoss,
 *   partition,
 *   requestGpu,
 *   Trainer,
 * } from "@koala-lm/koala-lm";
 *
 * const gpu = await requestGpu();
 * const model = gpt2({ vocab_size: 64, n_positions: 16, n_embd: 32, n_layer: 1, n_head: 2 });
 * const trainer = await Trainer.create(gpu, {
 *   record: languageModelLoss(model, 4, 16),
 *   optimizer: partition([
 *     { owns: hiddenMatrices, optimizer: koalaPlusPlus({ lr: 0.02 }) },
 *     { optimizer: adamw({ lr: 0.006 }) },
 *   ]),
 * });
 * const tokens = Uint32Array.from({ length: 64 }, (_, i) => i % 64);
 * const targets = tokens.map((id) => (id + 1) % 64);
 * for (let step = 0; step < 5; step++) trainer.step([{ tokens, targets }]);
 * const metrics = await trainer.metrics();
 * ok(metrics[4].loss < metrics[0].loss);
 * trainer.destroy();
 * gpu.destroy();
 * ```
 *
 * @module
 */
export * from "./gpu/mod.ts";
export * from "./ops/mod.ts";
export * from "./optim/mod.ts";
export * from "./models/mod.ts";
export * from "./data/mod.ts";
export * from "./checkpoint/mod.ts";
export * from "./training/mod.ts";
