/**
 * koala-lm's training step: GPT-2 through the Trainer.
 *
 * @module
 */
import type { Gpu } from "../../gpu/device.ts";
import type { LanguageModel } from "../../models/model.ts";
import { gpt2 } from "../../models/gpt2.ts";
import { languageModelLoss, Trainer } from "../../training/step/trainer.ts";
import { batchOf, weights } from "../inputs.ts";
import type { ModelCase, ModelShape } from "../protocol.ts";
import type { Prepared } from "../serve.ts";
import { benchOptimizer } from "./optimizers.ts";

/** The library's model of a shape. */
export function benchModel(shape: ModelShape): LanguageModel {
  return gpt2({
    vocab_size: shape.vocab,
    n_positions: shape.seqLen,
    n_embd: shape.width,
    n_layer: shape.layers,
    n_head: shape.heads,
  });
}

/** Compiles a step and runs the steps that are checked. */
export async function prepareStep(gpu: Gpu, { model, optimizer, precision }: ModelCase): Promise<Prepared> {
  const start = weights(model);
  const losses: number[] = [];
  const began = performance.now();
  const trainer = await Trainer.create(gpu, {
    record: languageModelLoss(benchModel(model), model.batch, model.seqLen),
    optimizer: benchOptimizer(optimizer),
    precision,
  });
  for (const { name, values } of start) trainer.parameters.write(gpu, `transformer.${name}`, values);
  const run = async (count: number) => {
    for (let i = 0; i < count; i++) trainer.step([{ ...batchOf(model, trainer.nextStep) }]);
    for (const { loss } of await trainer.metrics()) losses.push(loss);
  };
  await run(1);
  const first = (performance.now() - began) / 1e3;
  await run(1);
  const warm = performance.now();
  await run(1);
  const once = (performance.now() - warm) / 1e3;
  return { ready: { first, once, losses: losses.slice() }, run, release: () => trainer.destroy() };
}
